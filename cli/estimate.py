"""`estimate`: energy and latency of one inference, with every constant used."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .output import emit_json, progress

Cost = Annotated[str | None, typer.Option("--cost", help="One of the target's cost tables.")]


@a.with_groups
def command(
    request: a.Request,
    target: a.Chip,
    samples: a.Samples,
    cost: Cost = None,
    json: a.Json = False,
) -> None:
    """Estimate energy and latency per inference (mean over samples) from exact counts.

    A network that is not integer yet is lowered to the chip's number format first.
    """
    from .. import api
    from ..hw_targets.target import load_target
    from ..sim.run import run

    load_target(target).cost(cost)
    graph = request.graph_for(target, samples)
    data = samples.of(graph)
    steps = api.steps_for(graph, data.x, request.time_steps)
    with progress("count", len(data)) as done:
        found = run(
            graph,
            data.x,
            steps,
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            progress=done,
        )
    result = api.estimate(graph, found.counters, target, cost=cost)
    if json:
        emit_json("estimate", result.to_json())
        return
    print(result)
