"""`train probe` and `train knn`: how good frozen features are."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from . import arguments as a
from . import train_options as t
from .output import emit_json, percent, say_written

Neighbours = Annotated[int, typer.Option("-k", "--neighbours", min=1, help="How many vote.")]


@a.with_groups
def probe(
    source: t.Start,
    given: t.Given,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the network with its fitted head.")
    ] = None,
    labels: t.Labels = 1.0,
    time_steps: a.TimeSteps = None,
    limit: a.Limit = None,
    seed: a.Seed = 0,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Fit a linear head on frozen Path A features, BatchNorm re-estimated; print the accuracy."""
    from ..export.formats.atomic import refuse_overwrite, refuse_suffix
    from ..trainer import checkpoint
    from ..trainer.evaluate import spike_rates
    from ..trainer.tasks import linear_probe

    t.refuse_idle_force(out, force)
    t.refuse_idle_seed(source, seed)
    if out is not None:
        refuse_suffix(out, "a checkpoint", (".safetensors",))
        refuse_overwrite(out, force=force)
    model, card, train, test = given.load(source, limit, seed=seed, time_steps=time_steps)
    labelled = train.labelled_share(labels)
    began = perf_counter()
    result = linear_probe(model, labelled, test, unlabelled=train, time_steps=time_steps)
    found: dict[str, Any] = {
        "accuracy": result.accuracy,
        "accuracy_before_batchnorm": result.accuracy_before,
        "train_accuracy": result.train_accuracy,
        "labelled": len(labelled),
        "samples": len(test),
        **_judging(len(train) + len(test), began, out),
    }
    if out is not None:
        name = "probe" if given.validation is None else "probe_validation"
        again = t.command_line(
            "probe", Path(source).name, data=given.data, validation=given.validation,
            labels=labels, time_steps=time_steps, limit=limit, seed=seed,
        )  # fmt: skip
        probed = checkpoint.continued(
            card,
            train,
            command=again,
            seed=seed,
            accuracies={name: result.accuracy},
            spike_rates=spike_rates(model, test, time_steps or model.time_steps),
            probe={"labels": labels, "time_steps": time_steps},
        )
        checkpoint.save(out, model, probed, force=force)
    if json:
        emit_json("train probe", found)
        return
    print(
        f"linear probe {percent(result.accuracy)} of {len(test)} {test.split} samples "
        f"({percent(result.accuracy_before)} before BatchNorm was re-estimated on Path A)"
    )
    if out is not None:
        say_written(out)


@a.with_groups
def knn(
    source: t.Start,
    given: t.Given,
    neighbours: Neighbours = 20,
    labels: t.Labels = 1.0,
    time_steps: a.TimeSteps = None,
    limit: a.Limit = None,
    seed: a.Seed = 0,
    json: a.Json = False,
) -> None:
    """Classify by the nearest training features of Path A; print the accuracy."""
    from ..trainer.tasks import knn_accuracy

    t.refuse_idle_seed(source, seed)
    model, _, train, test = given.load(source, limit, seed=seed, time_steps=time_steps)
    train = train.labelled_share(labels)
    began = perf_counter()
    accuracy = knn_accuracy(model, train, test, neighbours=neighbours, time_steps=time_steps)
    if json:
        judging = _judging(len(train) + len(test), began, None)
        emit_json("train knn", {"accuracy": accuracy, "neighbours": neighbours, **judging})
        return
    print(
        f"{neighbours} nearest neighbours: {percent(accuracy)} of {len(test)} {test.split} samples"
    )


def _judging(images: int, began: float, out: Path | None) -> dict[str, Any]:
    """Return what every training command tells: no epoch was trained, each image seen once."""
    return {
        "epochs": 0,
        "images_per_s": images / (perf_counter() - began),
        "checkpoint": None if out is None else str(out),
    }
