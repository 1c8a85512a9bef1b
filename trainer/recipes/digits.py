"""The shipped checkpoint `digits`, and the demo's training: pretrained without labels, then probed.

``python -m spikewright.trainer.recipes.digits OUT.safetensors`` writes the checkpoint again; the
bytes are the same for the same torch, instruction set and number of threads.
Hyper-parameters were chosen on 300 images held out of the training split, not on the test split.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from .. import checkpoint
from ..data import load
from ..evaluate import spike_rates
from ..loop import LoopOptions
from ..tasks import Controls, PretrainOptions, compare_controls

MODEL = "spiking_resnet_digits"
PRETRAIN = PretrainOptions(
    loss="ctl", pair="ntxent", projector=128, loop=LoopOptions(epochs=15, batch=128, lr=5e-3)
)
SUPERVISED_EPOCHS = 15
COMMAND = "python -m spikewright.trainer.recipes.digits"


def train_digits(
    options: PretrainOptions = PRETRAIN, *, progress: bool = True
) -> tuple[Controls, checkpoint.Card]:
    """Return the pretrained, random and supervised networks on the digits, and the first's card."""
    train, test = load("digits"), load("digits", "test")
    controls = compare_controls(
        MODEL,
        train,
        test,
        options,
        supervised_epochs=SUPERVISED_EPOCHS,
        progress=progress,
    )
    card = checkpoint.describe(
        controls.pretrained.model,
        train,
        recipe=asdict(options),
        command=COMMAND,
        seed=options.loop.seed,
        accuracies={
            "probe": controls.pretrained.accuracy,
            "probe_before_batchnorm": controls.pretrained.accuracy_before,
            "random_weights": controls.random.accuracy,
            "supervised": controls.supervised.accuracy,
        },
        spike_rates=spike_rates(controls.pretrained.model, test, controls.pretraining.time_steps),
    )
    return controls, card


def main(arguments: list[str]) -> int:
    """Write the checkpoint to the one path in `arguments`, and the accuracies to stdout."""
    if len(arguments) != 1:
        print(f"usage: {COMMAND} OUT.safetensors", file=sys.stderr)
        return 2
    controls, card = train_digits()
    checkpoint.save(Path(arguments[0]), controls.pretrained.model, card, force=True)
    for name, share in card.accuracies.items():
        print(f"{name} {share:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
