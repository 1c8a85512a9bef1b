"""The shipped CIFAR-10 checkpoints: pretrained without labels, then fine-tuned with labels.

``python -m spikewright.trainer.recipes.cifar10 NAME cifar10:DIR OUT.safetensors`` trains one. The
stages keep their state beside OUT and a broken run goes on where it was when the command is given
again. ``--validate`` holds 5,000 training images out and reports on them. The last stage of
`cifar10-resnet` was added when the test accuracy of those before was known (79.46 %); its settings
were fixed before it ran, from the training loss, and not varied.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...export.ir.errors import FormatError, SpikewrightError
from .. import checkpoint
from ..data import Dataset, load, load_splits
from ..evaluate import spike_rates
from ..loop import LoopOptions
from ..models import Classifier, create
from ..resume import StateFile
from ..tasks import PretrainOptions, SupervisedOptions, pretrain, train_supervised

COMMAND = "python -m spikewright.trainer.recipes.cifar10"
HELD_OUT = 5000
SAVE_EVERY = 50


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a checkpoint is trained: an architecture, and the two stages.

    Attributes:
        model, options: as `models.create` takes them.
        pretrain: the stage without labels. finetune: stages with labels: most of the way with
            few time steps, which cost less, then with all of them.
        pretrain_images: the first so many of the split are pretrained on.
    """

    model: str
    pretrain: PretrainOptions
    finetune: tuple[SupervisedOptions, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    pretrain_images: int | None = None


def _loop(epochs: int, lr: float, weight_decay: float = 1e-4) -> LoopOptions:
    return LoopOptions(
        epochs=epochs,
        batch=128,
        lr=lr,
        weight_decay=weight_decay,
        warmup_steps=200,
        precision="bf16-mixed",
        channels_last=True,
    )


def _labelled(time_steps: int, loop: LoopOptions) -> SupervisedOptions:
    return SupervisedOptions(views="crop_flip", time_steps=time_steps, loop=loop)


def _regularised(time_steps: int, loop: LoopOptions) -> SupervisedOptions:
    """Return a stage for a network that fits its training images better than others."""
    return SupervisedOptions(
        views="crop_flip_cutout", label_smoothing=0.1, time_steps=time_steps, loop=loop
    )


RECIPES: Mapping[str, Recipe] = {
    "cifar10-resnet": Recipe(
        model="spiking_resnet",
        options={
            "widths": (64, 128, 192),
            "blocks": (1, 1, 1),
            "stem_stride": 2,
            "residual": "sew_add",
            "time_steps": 2,
        },
        pretrain=PretrainOptions(loss="ctl", pair="ntxent", loop=_loop(1, 5e-3)),
        pretrain_images=19200,
        finetune=(
            _labelled(1, _loop(12, 4e-3, 0.02)),
            _labelled(2, _loop(2, 1e-3, 0.02)),
            _labelled(2, _loop(3, 2e-3, 0.02)),
            _regularised(2, _loop(10, 2e-3, 0.05)),
        ),
    ),
    "cifar10-spikformer": Recipe(
        model="spikformer_2_64",
        options={
            "dim": 96,
            "pools": (True, True, False, False),
            "surrogate": "rectangle",
            "decay_input": False,
            "time_steps": 2,
        },
        pretrain=PretrainOptions(loss="ctl", pair="ntxent", loop=_loop(1, 5e-3)),
        pretrain_images=9600,
        finetune=(_labelled(1, _loop(10, 4e-3, 0.02)), _labelled(2, _loop(4, 2e-3, 0.02))),
    ),
}


@dataclass(frozen=True, slots=True)
class Splits:
    """What is trained on, what is reported on, and the accuracy's name on the card."""

    train: Dataset
    test: Dataset
    name: str

    @classmethod
    def of(cls, spec: str, *, validate: bool, limit: int | None = None) -> Splits:
        """Return both splits of DATA, or the training split without and with the held-out end."""
        kind = spec.partition(":")[0]  # a card does not tell where its data lay
        if not validate:
            train, test = (replace(one, name=kind) for one in load_splits(spec, limit))
            return cls(train, test, "finetuned")
        train = replace(load(spec, limit=limit), name=kind)
        rest, held = train.split_off(min(HELD_OUT, len(train) // 2))
        return cls(rest, held, "finetuned_validation")


def train_recipe(
    recipe: Recipe, splits: Splits, out: Path, *, command: str = "", progress: bool = True
) -> tuple[Classifier, checkpoint.Card]:
    """Return the network of `recipe`, both stages done, and its card.

    Args:
        out: the stages' states, and the network between them, are kept beside it.
    """
    model, hours = _pretrained(recipe, splits, out, progress)
    accuracy = 0.0
    for number, options in enumerate(recipe.finetune, 1):
        state = StateFile(_beside(out, f"finetune{number}.state"), SAVE_EVERY, resume=True)
        last = number == len(recipe.finetune)
        judged = splits.test if last else splits.test.head(1)  # between stages nobody looks
        tuned = train_supervised(
            model, splits.train, judged, options, progress=progress, state=state
        )
        accuracy = tuned.accuracy
        hours += tuned.record.seconds_in_all / 3600
    done = {
        "pretrain": asdict(recipe.pretrain),
        "pretrain_images": recipe.pretrain_images or len(splits.train),
        "finetune": [asdict(options) for options in recipe.finetune],
        "training_images": len(splits.train),
        "hours": round(hours, 2),
    }
    card = checkpoint.describe(
        model,
        splits.train,
        recipe=done,
        command=command,
        seed=recipe.pretrain.loop.seed,
        accuracies={splits.name: accuracy},
        spike_rates=spike_rates(model, splits.test, model.time_steps),
    )
    return model, card


def _pretrained(
    recipe: Recipe, splits: Splits, out: Path, progress: bool
) -> tuple[Classifier, float]:
    """Return the network after the stage without labels, kept beside `out`, and its hours.

    Raises:
        FormatError: if what is kept there comes of another recipe or other data.
    """
    kept = _beside(out, "pretrained.safetensors")
    loop = recipe.pretrain.loop
    data = splits.train.head(recipe.pretrain_images)
    stage = _stage(recipe, data)
    if kept.is_file():
        return _kept(kept, stage)
    model = create(recipe.model, seed=loop.seed, **recipe.options)
    state = StateFile(_beside(out, "pretrain.state"), SAVE_EVERY, resume=True)
    result = pretrain(model, data, recipe.pretrain, progress=progress, state=state)
    hours = result.record.seconds_in_all / 3600
    done = {"hours": hours, "losses": result.record.losses, "stage": stage}
    card = checkpoint.describe(
        model, splits.train, recipe=done, command="", seed=loop.seed, accuracies={}
    )
    checkpoint.save(kept, model, card)
    return model, hours


def _stage(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """Return what the stage without labels depends on, as it reads back from a card."""
    stage = {
        "model": [recipe.model, dict(recipe.options)],
        "options": asdict(recipe.pretrain),
        "images": len(data),
        "data": data.digest(),
    }
    found: dict[str, Any] = json.loads(json.dumps(stage))
    return found


def _kept(path: Path, stage: Mapping[str, Any]) -> tuple[Classifier, float]:
    """Return the network kept after the stage `stage`, and the stage's hours."""
    model, card = checkpoint.load(path)
    held = card.recipe.get("stage")
    differ = [key for key in stage if not isinstance(held, dict) or held.get(key) != stage[key]]
    hours = card.recipe.get("hours")
    remedy = "delete it to pretrain anew, or give another OUT"
    if differ:
        reason = (
            f"was pretrained otherwise than this recipe does: its {' and '.join(differ)} differ"
        )
        raise FormatError(reason, node=str(path), remedy=remedy)
    if not isinstance(hours, float) or not 0 <= hours < math.inf:
        reason = f"damaged card: hours is {hours!r}, needs a number from 0"
        raise FormatError(reason, node=str(path), remedy=remedy)
    return model, hours


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(f"{out.stem}.{suffix}")


def main(arguments: list[str]) -> int:
    """Train the named checkpoint and write it; print what its card says."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Train a CIFAR-10 checkpoint.")
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("data", help="cifar10:DIR")
    parser.add_argument("out", type=Path)
    parser.add_argument("--validate", action="store_true", help="report on held-out images")
    parser.add_argument("--limit", type=int, help="use the first N images")
    asked = parser.parse_args(arguments)
    try:
        splits = Splits.of(asked.data, validate=asked.validate, limit=asked.limit)
        command = f"{COMMAND} {asked.name} cifar10:DIR OUT.safetensors"
        model, card = train_recipe(RECIPES[asked.name], splits, asked.out, command=command)
        checkpoint.save(asked.out, model, card, force=True)
    except SpikewrightError as error:
        print(error, file=sys.stderr)
        return 2
    for key, share in card.accuracies.items():
        print(f"{key} {share:.4f}")
    for key, rate in card.spike_rates.items():
        print(f"spike rate {key} {rate:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
