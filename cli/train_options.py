"""What the training commands share: options, and the networks and data they are given."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as a
from .output import say

if TYPE_CHECKING:
    from ..trainer.checkpoint import Card
    from ..trainer.data import Dataset
    from ..trainer.journal import Journal
    from ..trainer.loop import LoopOptions
    from ..trainer.models import Classifier
    from ..trainer.resume import StateFile

Model = Annotated[
    str | None,
    typer.Option(
        "--model", help="An architecture or file.py:factory; default: one that fits the data."
    ),
]
Start = Annotated[
    str,
    typer.Argument(
        help="A shipped name, a .safetensors checkpoint, an architecture or file.py:factory.",
        show_default=False,
    ),
]
Labels = Annotated[
    float, typer.Option("--labels", help="Share of the training labels, e.g. 0.01 or 0.1.")
]
Views = Annotated[
    str,
    typer.Option("--views", help="Distortion: none, crop_flip, crop_flip_cutout, colour, grey …"),
]


@dataclass(frozen=True, slots=True)
class Fitting:
    """How long and how a network is fitted, and whether a broken run goes on."""

    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")] = 15
    batch: Annotated[int, typer.Option("--batch", min=1, help="Samples a forward pass.")] = 128
    accumulate: Annotated[
        int, typer.Option("--accumulate", min=1, help="Forward passes a step.")
    ] = 1
    optimizer: Annotated[str, typer.Option("--optimizer", help="adamw, sgd or lars.")] = "adamw"
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate.")] = 5e-3
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Not of BatchNorm.")] = 1e-4
    warmup_steps: Annotated[
        int, typer.Option("--warmup-steps", min=0, help="At most a tenth of all.")
    ] = 40
    clip: Annotated[
        float | None, typer.Option("--clip", help="Largest gradient norm; default: any.")
    ] = None
    ema: Annotated[float | None, typer.Option("--ema", help="Average the weights, e.g. 0.999.")] = (
        None
    )
    precision: Annotated[
        str, typer.Option("--precision", help="32-true, or bf16-mixed: faster where CPUs have it.")
    ] = "32-true"
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Lay pictures out so: faster on CPUs.")
    ] = False
    time_steps: a.TimeSteps = None
    limit: a.Limit = None
    seed: a.Seed = 0
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from OUT.state, kept while training.")
    ] = False
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps between two savings of OUT.state.")
    ] = 200

    metrics: Annotated[
        Path | None, typer.Option("--metrics", help="Write a .jsonl line every so many steps.")
    ] = None
    log_every: Annotated[int, typer.Option("--log-every", min=1, help="Steps between lines.")] = 50
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="Folder for TensorBoard's event files.")
    ] = None

    def journal(self, *, force: bool) -> Journal:
        """Return where the numbers go; refuse a file that would be lost."""
        from ..export.formats.atomic import refuse_overwrite
        from ..trainer.journal import Journal

        if self.metrics is not None:
            refuse_overwrite(self.metrics, force=force or self.resume)
        return Journal(self.metrics, self.log_every, self.tensorboard)

    def loop(self) -> LoopOptions:
        """Return the loop's options."""
        from ..trainer.loop import LoopOptions

        return LoopOptions(**{k: v for k, v in asdict(self).items() if k not in _NOT_OF_LOOP})

    def state(self, out: Path, *, force: bool) -> StateFile:
        """Return where the state is kept beside `out`; refuse one that would be lost."""
        from ..export.formats.atomic import refuse_overwrite, refuse_suffix
        from ..export.ir.errors import FormatError
        from ..trainer.resume import StateFile

        refuse_suffix(out, "a checkpoint", (".safetensors",))
        refuse_overwrite(out, force=force)
        path = out.with_name(f"{out.name}.state")
        if path.exists() and not (self.resume or force):
            raise FormatError(
                "is left of a training that was cut off",
                node=str(path),
                remedy="give --resume to go on, or --force to begin anew",
            )
        if self.resume and not path.exists():
            say(f"note: no {path} to go on from; the training begins anew")
        return StateFile(path, self.save_every, self.resume)

    def words(self) -> dict[str, Any]:
        """Return the options that change the result, for the command that trains it again."""
        return {k: v for k, v in asdict(self).items() if k not in _HOW_IT_RUNS}


_HOW_IT_RUNS = ("resume", "save_every", "metrics", "log_every", "tensorboard")
_NOT_OF_LOOP = (*_HOW_IT_RUNS, "time_steps", "limit")


@dataclass(frozen=True, slots=True)
class Given:
    """A network to start from, and the data it is trained and judged on."""

    data: a.MaybeData = None
    weights: a.Weights = None
    input_shape: a.InputShape = None
    validation: Annotated[
        int | None,
        typer.Option(
            "--validation",
            min=1,
            help="Judge on N samples held out of the training split, not on the test split.",
        ),
    ] = None

    def load(
        self, source: str, limit: int | None, *, seed: int = 0, time_steps: int | None = None
    ) -> tuple[Classifier, Card, Dataset, Dataset]:
        """Return the network, its card, the samples to train on and those to judge by."""
        model, card = self._start(source)
        train, test = self._splits(self.data or _packaged_data(card), limit)
        if model is None:
            model = _new_model(source, train, seed, time_steps)
        if card is None:
            card = _blank_card(model, train)
        return model, card, train, test

    def _start(self, source: str) -> tuple[Classifier | None, Card | None]:
        from ..export.ir.errors import InputError
        from ..trainer import checkpoint
        from ..trainer.models import MODELS

        if ".py:" in source:
            return own_model(source, self.weights, self.input_shape), None
        refuse_idle_input(source, self.input_shape)
        if self.weights is not None:
            remedy = "name the checkpoint in place of the architecture"
            raise InputError("--weights cannot act here", node=source, remedy=remedy)
        if source in MODELS:
            return None, None
        return checkpoint.load(source)

    def _splits(self, spec: str | None, limit: int | None) -> tuple[Dataset, Dataset]:
        from ..export.ir.errors import InputError
        from ..trainer.data import load_splits

        if spec is None:
            raise InputError("no data", node="--data", remedy="give --data DATA, e.g. digits")
        if self.validation is not None:
            return training_split(spec, limit).split_off(self.validation)
        train, test = load_splits(spec, limit)
        say_what_is_held_out(test)
        return train, test


def refuse_idle_input(source: str, input_shape: str | None) -> None:
    """Refuse the shape of a sample where the network is not one's own code."""
    if input_shape is not None:
        raise _idle(f"--input {input_shape}", "it is for file.py:factory", source)


def refuse_idle_force(out: Path | None, force: bool) -> None:
    """Refuse to overwrite where nothing is written."""
    if force and out is None:
        raise _idle("--force", "nothing is written without -o", "--force")


def refuse_idle_seed(source: str, seed: int) -> None:
    """Refuse a seed of judging where weights are read, not drawn: all but architectures."""
    from ..trainer.models import MODELS

    if seed and source not in MODELS:
        raise _idle(f"--seed {seed}", "nothing is drawn", source)


def _idle(option: str, reason: str, node: str) -> Exception:
    from ..export.ir.errors import InputError

    return InputError(f"{option} cannot act here, {reason}", node=node, remedy="leave it out")


def _packaged_data(card: Card | None) -> str | None:
    """Return the data of a card where they are packaged; a path in it is the user's to name.

    Raises:
        InputError: for others, with the option that names them.
    """
    from ..export.ir.errors import InputError
    from ..trainer.data import packaged

    if card is None or packaged(card.data):
        return None if card is None else card.data
    place = "" if ":" in card.data else ":PATH"
    remedy = f"give --data {card.data}{place}"
    raise InputError(f"trained on {card.data}, which is not packaged", node="--data", remedy=remedy)


def training_split(spec: str, limit: int | None) -> Dataset:
    """Return what of DATA is trained on; the test split is not read, a tenth held out is left."""
    from ..trainer.data import load, load_splits, undivided

    if not undivided(spec):
        return load(spec, "train", limit)
    train, test = load_splits(spec, limit)
    say_what_is_held_out(test)
    return train


def say_what_is_held_out(test: Dataset) -> None:
    """Tell of data without a test split what stands for it."""
    if test.split == "held-out":
        say(f"note: {test.name} has no test split; a tenth, {len(test)} samples, is held out as it")


def _new_model(name: str, train: Dataset, seed: int, time_steps: int | None) -> Classifier:
    from ..trainer.models import create_for

    steps = {} if time_steps is None else {"time_steps": time_steps}
    return create_for(train.sample_shape, train.classes, name, seed=seed, **steps).eval()


def own_model(spec: str, weights: Path | None, input_shape: str | None) -> Classifier:
    """Return the module of a ``file.py:factory`` as the trainer sees it."""
    from ..export.ir.errors import InputError
    from ..sources import own_object
    from ..trainer.models import OwnModel

    module = own_object(spec, None if weights is None else str(weights))
    if not hasattr(module, "named_modules"):
        raise InputError("returned a Graph, which cannot be trained", node=spec)
    return OwnModel(module, spec, a.shape_of(input_shape))


def _blank_card(model: Classifier, data: Dataset) -> Card:
    from ..trainer import checkpoint

    return checkpoint.describe(model, data, recipe={}, command="", seed=0, accuracies={})


def command_line(task: str, *sources: str, **options: Any) -> str:
    """Return the command that trains the same again; options left at None are left out."""
    words = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in options.items()
        if value is not None and value is not False
    ]
    return shlex.join(["spikewright", "train", task, *sources, *words, "-o", "OUT"])
