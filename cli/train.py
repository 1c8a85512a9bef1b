"""`train`: pretrain without labels, train with them, judge features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import arguments as a
from . import train_evaluate
from . import train_options as t
from .output import emit_json, percent, say, say_written

if TYPE_CHECKING:
    from ..trainer.checkpoint import Card
    from ..trainer.data import Dataset
    from ..trainer.loop import LoopRecord
    from ..trainer.models import Classifier
app = typer.Typer(help="Train spiking networks.", no_args_is_help=True, rich_markup_mode=None)
app.command()(train_evaluate.probe)
app.command()(train_evaluate.knn)

Loss = Annotated[str, typer.Option("--loss", help="ctl, btl or non_cross.")]
Pair = Annotated[str, typer.Option("--pair", help="ntxent, barlow or vicreg.")]
Pairs = Annotated[str, typer.Option("--pairs", help="all, or cross: none within a view.")]
Paths = Annotated[str, typer.Option("--paths", help="dual or single (the baseline).")]
Projector = Annotated[int, typer.Option("--projector", min=1, help="Width of the projection head.")]
Jitter = Annotated[
    str, typer.Option("--time-augmentation", help="A picture over time: repeat or jitter.")
]
Held = Annotated[
    int | None,
    typer.Option("--validation", min=1, help="Leave out N samples, as the other commands do."),
]


@app.command()
@a.with_groups
def pretrain(
    data: a.Data,
    out: a.Out,
    fitting: t.Fitting,
    model: t.Model = None,
    input_shape: a.InputShape = None,
    loss: Loss = "ctl",
    pair: Pair = "ntxent",
    pairs: Pairs = "all",
    paths: Paths = "dual",
    projector: Projector = 128,
    views: t.Views = "auto",
    time_augmentation: Jitter = "repeat",
    validation: Held = None,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Pretrain a backbone without labels: two paths, a cross-temporal loss; write a checkpoint."""
    from dataclasses import asdict

    from ..trainer import checkpoint
    from ..trainer.tasks import PretrainOptions
    from ..trainer.tasks import pretrain as run_pretraining

    state, journal = fitting.state(out, force=force), fitting.journal(force=force)
    options = PretrainOptions(
        loss=loss,
        pair=pair,
        pairs=pairs,  # type: ignore[arg-type]
        paths=paths,  # type: ignore[arg-type]
        projector=projector,
        views=views,
        time_augmentation=time_augmentation,  # type: ignore[arg-type]
        time_steps=fitting.time_steps,
        loop=fitting.loop(),
    )
    train = t.training_split(data, fitting.limit)
    network = _network(train, model, input_shape, fitting)
    if validation is not None:
        train, _ = train.split_off(validation)
    result = run_pretraining(network, train, options, state=state, journal=journal)
    again = t.command_line(
        "pretrain", data=data, model=model, loss=loss, pair=pair, pairs=pairs, paths=paths,
        projector=projector, views=views, time_augmentation=time_augmentation,
        validation=validation, **fitting.words(),
    )  # fmt: skip
    card = checkpoint.describe(
        network, train, recipe=asdict(options), command=again, seed=fitting.seed, accuracies={}
    )
    checkpoint.save(out, network, card, force=force)
    state.remove()
    _show_fit("train pretrain", result.record, out, {"loss": result.loss}, json)
    if not json:
        say("next: spikewright train probe (the head is not trained yet)")


def _network(
    train: Dataset, model: str | None, input_shape: str | None, fitting: t.Fitting
) -> Classifier:
    from ..trainer.models import create_for

    if model is not None and ".py:" in model:
        return t.own_model(model, None, input_shape)
    t.refuse_idle_input(model or "train pretrain", input_shape)
    classes = None if train.y is None else train.classes
    steps = {} if fitting.time_steps is None else {"time_steps": fitting.time_steps}
    return create_for(train.sample_shape, classes, model, seed=fitting.seed, **steps)


@app.command()
@a.with_groups
def finetune(
    source: t.Start,
    out: a.Out,
    fitting: t.Fitting,
    given: t.Given,
    views: t.Views = "none",
    label_smoothing: Annotated[
        float, typer.Option("--label-smoothing", help="Share of the target over all classes.")
    ] = 0.0,
    labels: t.Labels = 1.0,
    reestimate: Annotated[
        bool, typer.Option("--reestimate", help="Estimate BatchNorm anew at the end.")
    ] = False,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits", min=2, max=8, help="Train for these integer weights; accuracy is theirs."
        ),
    ] = None,
    scale: a.Scale = "max",
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Train a network with labels, all of it, as it will run: spikes alone; write a checkpoint.

    With --bits it trains as the integer network computes (quantisation-aware): the accuracy is that
    of `run` on the checkpoint lowered with the same --bits and --scale.
    """
    from dataclasses import asdict

    from ..trainer import checkpoint
    from ..trainer.evaluate import spike_rates
    from ..trainer.tasks import SupervisedOptions, train_supervised

    state, journal = fitting.state(out, force=force), fitting.journal(force=force)
    options = SupervisedOptions(
        views=views,
        label_smoothing=label_smoothing,
        time_steps=fitting.time_steps,
        reestimate=reestimate,
        loop=fitting.loop(),
    )
    _refuse_idle_scale(bits, scale)
    model, card, train, test = given.load(
        source, fitting.limit, seed=fitting.seed, time_steps=fitting.time_steps
    )
    labelled = train.labelled_share(labels)
    trained = model if bits is None else _quantised(model, train, bits, scale)
    result = train_supervised(trained, labelled, test, options, state=state, journal=journal)
    again = t.command_line(
        "finetune", Path(source).name, data=given.data, validation=given.validation, views=views,
        label_smoothing=label_smoothing, labels=labels, reestimate=reestimate,
        bits=bits, scale=None if bits is None else scale, **fitting.words(),
    )  # fmt: skip
    name = "finetuned" if bits is None else f"integer_{bits}_bits"
    if given.validation is not None:
        name += "_validation"
    tuned = checkpoint.continued(
        _with_steps(card, options.time_steps),
        train,
        command=again,
        seed=fitting.seed,
        accuracies={name: result.accuracy},
        spike_rates=spike_rates(trained, test, fitting.time_steps or model.time_steps),
        finetune={"labels": labels, "bits": bits, "scale": scale, **asdict(options)},
    )
    checkpoint.save(out, model, tuned, force=force)
    state.remove()
    _show_fit("train finetune", result.record, out, {"accuracy": result.accuracy}, json)


def _refuse_idle_scale(bits: int | None, scale: str) -> None:
    from ..export.ir.errors import InputError

    if bits is None and scale != "max":
        raise InputError(f"--scale {scale} cannot act", node="train finetune", remedy="give --bits")


def _with_steps(card: Card, time_steps: int | None) -> Card:
    """Return the card with the time steps that its network was trained on with."""
    from dataclasses import replace

    if time_steps is None or not card.options:
        return card
    return replace(card, options={**card.options, "time_steps": time_steps})


def _quantised(model: Classifier, train: Dataset, bits: int, scale: str) -> Classifier:
    from .. import api
    from ..trainer.quantised import Quantised

    lowering = api.lowering(bits=bits, calibrate=train.x, scale=scale)  # type: ignore[arg-type]
    return Quantised(model, lowering)


def _show_fit(
    schema: str, record: LoopRecord, out: Path, result: dict[str, float], json: bool
) -> None:
    """Print a fit: its loss or accuracy, its length and its speed."""
    epochs = len(record.losses)
    if json:
        fields = {
            "epochs": epochs,
            "losses": record.losses,
            "images_per_s": record.images_per_s,
            "seconds": record.seconds,
            "seconds_in_all": record.seconds_in_all,
            "checkpoint": str(out),
        }
        emit_json(schema, {**result, **fields})
        return
    said = " ".join(
        f"{k} {percent(v) if k == 'accuracy' else f'{v:.4f}'}" for k, v in result.items()
    )
    print(f"{said} after {epochs} epochs, {record.images_per_s:,.0f} images/s")
    say_written(out)
