"""`train`: pretrain without labels, probe, compare by nearest neighbours."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, say

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
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")]
TrainBatch = Annotated[int, typer.Option("--batch", min=2, help="Samples a step.")]
Lr = Annotated[float, typer.Option("--lr", help="Peak learning rate of AdamW.")]
Projector = Annotated[int, typer.Option("--projector", min=1, help="Width of the projection head.")]
Neighbours = Annotated[int, typer.Option("-k", "--neighbours", min=1, help="How many vote.")]


@app.command()
def pretrain(
    data: a.Data,
    out: a.Out,
    model: Model = None,
    loss: Loss = "ctl",
    pair: Pair = "ntxent",
    paths: Paths = "dual",
    epochs: Epochs = 15,
    batch: TrainBatch = 128,
    lr: Lr = 5e-3,
    projector: Projector = 128,
    time_steps: a.TimeSteps = None,
    limit: a.Limit = None,
    seed: a.Seed = 0,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Pretrain a backbone without labels: two paths, a cross-temporal loss; write a checkpoint."""
    from ..export.formats.atomic import refuse_overwrite
    from ..trainer import checkpoint
    from ..trainer.loop import LoopOptions
    from ..trainer.models import create_for
    from ..trainer.tasks import PretrainOptions
    from ..trainer.tasks import pretrain as run_pretraining

    refuse_overwrite(out, force=force)
    train = a.load_data(data, "train", limit)
    classes = None if train.y is None else train.classes
    steps = {} if time_steps is None else {"time_steps": time_steps}
    network = create_for(train.sample_shape, classes, model, seed=seed, **steps)
    options = PretrainOptions(
        loss=loss,
        pair=pair,
        paths=paths,  # type: ignore[arg-type]
        projector=projector,
        time_steps=time_steps,
        loop=LoopOptions(epochs=epochs, batch=batch, lr=lr, seed=seed),
    )
    result = run_pretraining(network, train, options)
    again = _again(
        "pretrain", data=data, model=model, loss=loss, pair=pair, paths=paths, epochs=epochs,
        batch=batch, lr=lr, projector=projector, time_steps=time_steps, limit=limit, seed=seed,
    )  # fmt: skip
    card = checkpoint.describe(
        network, train, recipe=asdict(options), command=again, seed=seed, accuracies={}
    )
    checkpoint.save(out, network, card, force=force)
    fields = {
        "loss": result.loss,
        "epochs": epochs,
        "images_per_s": result.record.images_per_s,
        "checkpoint": str(out),
    }
    if json:
        emit_json("train pretrain", fields)
        return
    print(
        f"loss {result.loss:.4f} after {epochs} epochs, {result.record.images_per_s:,.0f} images/s"
    )
    print(f"wrote {out}")
    say("next: spikewright train probe (the head is not trained yet)")


def _again(task: str, **options: Any) -> str:
    """Return the command that trains the same again; options left at None are left out."""
    words = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in options.items()
        if value is not None
    ]
    return shlex.join(["spikewright", "train", task, *words, "-o", "OUT"])


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
