"""`compare`: the spiking network beside the same network as a quantised ANN."""

from __future__ import annotations

from typing import Annotated

import typer

from . import arguments as a
from .estimate import FirstLayer, IntegerInputs
from .output import emit_json, percent, print_table, progress

Prices = Annotated[str, typer.Option("--target", help="Whose cost tables price operations.")]
MethodName = Annotated[
    str, typer.Option("--method", help="The one that the verdict is by; all are shown.")
]


@a.with_groups
def command(
    request: a.Request,
    samples: a.Samples,
    target: Prices = "generic-45nm",
    method: MethodName = "int8-memory/layer",
    first_layer: FirstLayer = "once",
    integer_inputs: IntegerInputs = "ac",
    json: a.Json = False,
) -> None:
    """Compare with a quantised ANN of ceil(log2(T + 1)) bits, memory traffic included."""
    from .. import api
    from ..hw_targets.estimate import Conventions
    from ..hw_targets.target import load_target

    chip = load_target(target)
    conventions = Conventions(first_layer, integer_inputs)  # type: ignore[arg-type]
    graph = request.graph(samples)
    data = samples.of(graph)
    with progress("count", len(data)) as done:
        result = api.compare(
            graph,
            data.x,
            chip,
            method=method,
            time_steps=request.time_steps,
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            conventions=conventions,
            progress=done,
        )
    if json:
        emit_json("compare", result.to_json())
        return
    rows = [
        {
            "method": m.name,
            "SNN uJ": m.snn_uj,
            "ANN uJ": m.ann_uj,
            "break-even spike rate": percent(m.break_even_spike_rate),
            "about": m.about,
        }
        for m in result.methods
    ]
    print_table(rows, list(rows[0]))
    for convention in result.conventions:
        print(convention)
    print(result.verdict)
