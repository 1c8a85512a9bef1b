"""`train`: pretrain without labels, probe, compare by nearest neighbours."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, say

if TYPE_CHECKING:
    from ..trainer.loop import LoopOptions, LoopRecord
    from ..trainer.resume import StateFile

app = typer.Typer(help="Train spiking networks.", no_args_is_help=True, rich_markup_mode=None)

Model = Annotated[
    str | None, typer.Option("--model", help="An architecture; default: one that fits the data.")
]
Checkpoint = Annotated[
    str, typer.Argument(help="A shipped name or a .safetensors checkpoint.", show_default=False)
]
Loss = Annotated[str, typer.Option("--loss", help="ctl, btl or non_cross.")]
Pair = Annotated[str, typer.Option("--pair", help="ntxent, barlow or vicreg.")]
Paths = Annotated[str, typer.Option("--paths", help="dual or single (the baseline).")]
Projector = Annotated[int, typer.Option("--projector", min=1, help="Width of the projection head.")]
Neighbours = Annotated[int, typer.Option("-k", "--neighbours", min=1, help="How many vote.")]
Views = Annotated[str, typer.Option("--views", help="Distortion: auto, none, grey, shift, colour.")]
Jitter = Annotated[
    str, typer.Option("--time-augmentation", help="A picture over time: repeat or jitter.")
]


@dataclass(frozen=True, slots=True)
class Fitting:
    """How long and how a network is fitted, and whether a broken run goes on."""

    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")] = 15
    batch: Annotated[int, typer.Option("--batch", min=2, help="Samples a step.")] = 128
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate of AdamW.")] = 5e-3
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Of AdamW.")] = 1e-4
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

    def loop(self) -> LoopOptions:
        """Return the loop's options."""
        from ..trainer.loop import LoopOptions

        return LoopOptions(
            epochs=self.epochs,
            batch=self.batch,
            lr=self.lr,
            weight_decay=self.weight_decay,
            precision=self.precision,  # type: ignore[arg-type]
            channels_last=self.channels_last,
            seed=self.seed,
        )

    def state(self, out: Path, *, force: bool) -> StateFile:
        """Return where the state is kept beside `out`; refuse one that would be lost."""
        from ..export.formats.atomic import refuse_overwrite
        from ..export.ir.errors import FormatError
        from ..trainer.resume import StateFile

        refuse_overwrite(out, force=force)
        path = out.with_name(f"{out.name}.state")
        if path.exists() and not (self.resume or force):
            raise FormatError(
                "is left of a training that was cut off",
                node=str(path),
                remedy="give --resume to go on, or --force to begin anew",
            )
        return StateFile(path, self.save_every, self.resume)

    def words(self) -> dict[str, Any]:
        """Return the options that change the result, for the command that trains it again."""
        kept = asdict(self)
        del kept["resume"], kept["save_every"]
        return kept


@app.command()
@a.with_groups
def pretrain(
    data: a.Data,
    out: a.Out,
    fitting: Fitting,
    model: Model = None,
    loss: Loss = "ctl",
    pair: Pair = "ntxent",
    paths: Paths = "dual",
    projector: Projector = 128,
    views: Views = "auto",
    time_augmentation: Jitter = "repeat",
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Pretrain a backbone without labels: two paths, a cross-temporal loss; write a checkpoint."""
    from ..trainer import checkpoint
    from ..trainer.models import create_for
    from ..trainer.tasks import PretrainOptions
    from ..trainer.tasks import pretrain as run_pretraining

    state = fitting.state(out, force=force)
    train = a.load_data(data, "train", fitting.limit)
    classes = None if train.y is None else train.classes
    steps = {} if fitting.time_steps is None else {"time_steps": fitting.time_steps}
    network = create_for(train.sample_shape, classes, model, seed=fitting.seed, **steps)
    options = PretrainOptions(
        loss=loss,
        pair=pair,
        paths=paths,  # type: ignore[arg-type]
        projector=projector,
        views=views,
        time_augmentation=time_augmentation,  # type: ignore[arg-type]
        time_steps=fitting.time_steps,
        loop=fitting.loop(),
    )
    result = run_pretraining(network, train, options, state=state)
    again = _again(
        "pretrain", data=data, model=model, loss=loss, pair=pair, paths=paths,
        projector=projector, views=views, time_augmentation=time_augmentation, **fitting.words(),
    )  # fmt: skip
    card = checkpoint.describe(
        network, train, recipe=asdict(options), command=again, seed=fitting.seed, accuracies={}
    )
    checkpoint.save(out, network, card, force=force)
    state.remove()
    _show_fit("train pretrain", result.record, out, {"loss": result.loss}, json)
    if not json:
        say("next: spikewright train probe (the head is not trained yet)")


@app.command()
@a.with_groups
def finetune(
    source: Checkpoint,
    out: a.Out,
    fitting: Fitting,
    data: a.MaybeData = None,
    views: Views = "none",
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Train a checkpoint with labels, all of it, as it will run: spikes alone; write it again."""
    from dataclasses import replace

    from ..trainer import checkpoint
    from ..trainer.evaluate import spike_rates
    from ..trainer.tasks import train_supervised

    state = fitting.state(out, force=force)
    model, card, train, test = _loaded(source, data, fitting.limit)
    steps = fitting.time_steps or model.time_steps
    result = train_supervised(
        model, train, test, fitting.loop(), views=views, time_steps=steps, state=state
    )
    again = _again("finetune", Path(source).name, data=data, views=views, **fitting.words())
    recipe = {"before": dict(card.recipe), "finetune": {"views": views, **asdict(fitting.loop())}}
    tuned = replace(
        card,
        data=train.name,
        data_licence=train.licence,
        recipe=recipe,
        command=f"{card.command} && {again}" if card.command else again,
        seed=fitting.seed,
        accuracies={**card.accuracies, "finetuned": result.accuracy},
        spike_rates=spike_rates(model, test, steps),
    )
    checkpoint.save(out, model, tuned, force=force)
    state.remove()
    _show_fit("train finetune", result.record, out, {"accuracy": result.accuracy}, json)


def _show_fit(
    schema: str, record: LoopRecord, out: Path, result: dict[str, float], json: bool
) -> None:
    """Print a fit: its loss or accuracy, its length and its speed."""
    epochs = len(record.losses)
    if json:
        fields = {"epochs": epochs, "images_per_s": record.images_per_s, "checkpoint": str(out)}
        emit_json(schema, {**result, **fields})
        return
    said = " ".join(
        f"{k} {percent(v) if k == 'accuracy' else f'{v:.4f}'}" for k, v in result.items()
    )
    print(f"{said} after {epochs} epochs, {record.images_per_s:,.0f} images/s")
    print(f"wrote {out}")


def _again(task: str, *sources: str, **options: Any) -> str:
    """Return the command that trains the same again; options left at None are left out."""
    words = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in options.items()
        if value is not None and value is not False
    ]
    return shlex.join(["spikewright", "train", task, *sources, *words, "-o", "OUT"])


@app.command()
def probe(
    source: Checkpoint,
    data: a.MaybeData = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the network with its fitted head.")
    ] = None,
    time_steps: a.TimeSteps = None,
    limit: a.Limit = None,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Fit a linear head on frozen Path A features, BatchNorm re-estimated; print the accuracy."""
    from dataclasses import replace

    from ..export.formats.atomic import refuse_overwrite
    from ..trainer import checkpoint
    from ..trainer.tasks import linear_probe

    if out is not None:
        refuse_overwrite(out, force=force)
    model, card, train, test = _loaded(source, data, limit)
    result = linear_probe(model, train, test, time_steps=time_steps)
    found: dict[str, Any] = {
        "accuracy": result.accuracy,
        "accuracy_before_batchnorm": result.accuracy_before,
        "train_accuracy": result.train_accuracy,
        "checkpoint": None if out is None else str(out),
    }
    if out is not None:
        accuracies = {**card.accuracies, "probe": result.accuracy}
        checkpoint.save(out, model, replace(card, accuracies=accuracies), force=force)
    if json:
        emit_json("train probe", found)
        return
    print(
        f"linear probe {percent(result.accuracy)} of {len(test)} test samples "
        f"({percent(result.accuracy_before)} before BatchNorm was re-estimated on Path A)"
    )
    if out is not None:
        print(f"wrote {out}")


@app.command()
def knn(
    source: Checkpoint,
    data: a.MaybeData = None,
    neighbours: Neighbours = 20,
    time_steps: a.TimeSteps = None,
    limit: a.Limit = None,
    json: a.Json = False,
) -> None:
    """Classify by the nearest training features of Path A; print the accuracy."""
    from ..trainer.tasks import knn_accuracy

    model, _, train, test = _loaded(source, data, limit)
    accuracy = knn_accuracy(model, train, test, neighbours=neighbours, time_steps=time_steps)
    if json:
        emit_json("train knn", {"accuracy": accuracy, "neighbours": neighbours})
        return
    print(f"{neighbours} nearest neighbours: {percent(accuracy)} of {len(test)} test samples")


def _loaded(source: str, data: str | None, limit: int | None) -> tuple[Any, Any, Any, Any]:
    """Return the model, its card and both splits of the data."""
    from ..trainer import checkpoint

    model, card = checkpoint.load(source)
    spec = data or card.data
    return model, card, a.load_data(spec, "train", limit), a.load_data(spec, "test", limit)
