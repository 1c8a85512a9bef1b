"""`estimate`: energy and latency of one inference, with every constant used."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .output import emit_json, progress

Target = Annotated[
    str, typer.Option("--target", help="A chip by name or .yaml file.", show_default=False)
]
Cost = Annotated[str | None, typer.Option("--cost", help="One of the target's cost tables.")]


def command(
    source: a.Source,
    target: Target,
    data: a.MaybeData = None,
    cost: Cost = None,
    split: a.Split = "test",
    limit: a.Limit = None,
    batch: a.Batch = 64,
    seed: a.Seed = 0,
    time_steps: a.TimeSteps = None,
    encode: a.Encode = None,
    bits: a.Bits = None,
    calibrate: a.Calibrate = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    json: a.Json = False,
) -> None:
    """Estimate energy and latency per inference (mean over samples) from exact counts."""
    from .. import api
    from ..sim.run import run

    graph = a.for_chip(
        target, source, bits, calibrate, weights, input_shape, time_steps, encode
    ).graph()
    samples = a.data_of(graph, data, split, limit)
    steps = api.steps_for(graph, samples.x, time_steps)
    with progress("count", len(samples)) as done:
        found = run(graph, samples.x, steps, encoding=encode, seed=seed, batch=batch, progress=done)
    result = api.estimate(graph, found.counters, target, cost=cost)
    if json:
        emit_json("estimate", result.to_json())
        return
    print(result)
