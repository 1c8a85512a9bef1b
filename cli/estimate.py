"""`estimate`: energy and latency of one inference, with every constant used."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .output import emit_json, progress

FirstLayer = Annotated[
    str,
    typer.Option("--first-layer", help="MACs of a frame that repeats: once, or each_step."),
]
IntegerInputs = Annotated[
    str, typer.Option("--integer-inputs", help="Operations on sums of spikes: ac, or mac.")
]
NeuroBenchMetrics = Annotated[
    bool, typer.Option("--neurobench", help="Report NeuroBench's algorithm metrics too.")
]
Cost = Annotated[str | None, typer.Option("--cost", help="One of the target's cost tables.")]


@a.with_groups
def command(
    request: a.Request,
    target: a.Chip,
    samples: a.Samples,
    cost: Cost = None,
    first_layer: FirstLayer = "once",
    integer_inputs: IntegerInputs = "ac",
    neurobench: NeuroBenchMetrics = False,
    json: a.Json = False,
) -> None:
    """Estimate energy and latency per inference (mean over samples) from exact counts.

    A network that is not integer yet is lowered to the chip's number format first.
    """
    from .. import api
    from ..hw_targets.estimate import Conventions
    from ..hw_targets.neurobench import NeuroBench
    from ..hw_targets.target import load_target

    chip = load_target(target)
    chip.cost(cost)
    conventions = Conventions(first_layer, integer_inputs)  # type: ignore[arg-type]
    graph = request.graph_for(target, samples)
    data = samples.of(graph)
    bench = NeuroBench(graph) if neurobench else None
    with progress("count", len(data)) as done:
        result = api.estimate(
            graph,
            data.x,
            chip,
            cost=cost,
            time_steps=request.time_steps,
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            conventions=conventions,
            progress=done,
            watch=bench,
        )
    metrics = {"neurobench": bench.metrics()} if bench else {}
    if json:
        emit_json("estimate", {**result.to_json(), **metrics})
        return
    print(result)
    for name, value in metrics.get("neurobench", {}).items():
        print(f"  neurobench {name}: {value}")
