"""`report`: the page, and the same as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .lower import accuracies_of
from .output import emit_json

Targets = Annotated[str, typer.Option("--targets", help="Comma-separated chips.")]


def command(
    source: a.Source,
    out: a.Out,
    data: a.MaybeData = None,
    targets: Targets = "loihi1,generic-45nm",
    split: a.Split = "test",
    limit: a.Limit = None,
    time_steps: a.TimeSteps = None,
    bits: a.Bits = None,
    calibrate: a.Calibrate = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Write one self-contained HTML page (and .json): proof, counts, fit, energy, sources."""
    from .. import api

    request = a.Request(
        source, bits, None, calibrate, "max", None, weights, input_shape, time_steps
    )
    read = request.read()
    graph = request.lowered(read)
    samples = a.data_of(graph, data, split, limit)
    accuracies = accuracies_of(read, graph, data, limit, time_steps)
    page = api.report(
        graph,
        samples.x,
        out,
        labels=samples.y,
        targets=[name.strip() for name in targets.split(",") if name.strip()],
        time_steps=time_steps,
        accuracies={"float": accuracies["float_accuracy"]},
        source=read if read.level != "integer" else None,
        force=force,
    )
    if json:
        emit_json("report", {"path": str(page), "json": str(page.with_suffix(".json"))})
        return
    print(f"wrote {page} and {page.with_suffix('.json').name}")
