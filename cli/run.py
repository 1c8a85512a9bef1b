"""`run`: a network on data, on one executor, with exact counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, print_table, progress

ExecutorName = Annotated[
    str | None,
    typer.Option("--executor", help="native (the usual one), reference, onnxruntime or lava."),
]
TraceFile = Annotated[
    Path | None, typer.Option("--trace", help="Write spikes and states to this .npz.")
]
COLUMNS = (
    "name",
    "kind",
    "neurons",
    "spikes",
    "spike_rate",
    "sops",
    "sops_effective",
    "macs",
    "neuron_updates",
)


@a.with_groups
def command(
    request: a.Request,
    samples: a.Samples,
    executor: ExecutorName = None,
    threads: a.Threads = 1,
    trace: TraceFile = None,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Run a network on data: accuracy, spikes, synaptic operations and updates per layer."""
    from .. import api
    from ..export.formats.atomic import refuse_overwrite
    from ..sim.executor import executor as named
    from ..sim.executor import usual
    from ..sim.run import run

    if trace is not None:
        refuse_overwrite(trace, force=force)
    if executor is not None:
        named(executor, threads)
    graph = request.on([executor or ""]).graph(samples)
    data = samples.of(graph)
    steps = api.steps_for(graph, data.x, request.time_steps)
    with progress("run", len(data)) as done:
        found = run(
            graph,
            data.x,
            steps,
            executor_name=named(executor or usual(graph), threads),
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            keep="states" if trace is not None else None,
            progress=done,
        )
    if trace is not None:
        from ..sim.trace_file import write_trace

        assert found.trace is not None
        write_trace(found.trace, trace, force=force)
    show(found, data.y, json)


def show(found: Any, labels: Any, json: bool) -> None:
    """Print a run."""
    rows, totals = found.counters.rows(), found.counters.totals()
    accuracy = found.accuracy(labels)
    if json:
        fields = {
            "executor": found.executor,
            "samples": len(found.predictions),
            "time_steps": found.counters.time_steps,
            "accuracy": accuracy,
            "predictions": found.predictions,
            "layers": rows,
            "totals": totals,
            "samples_per_s": found.samples_per_s,
        }
        emit_json("run", fields)
        return
    print_table([*rows, {"name": "total", "kind": "", **totals}], COLUMNS)
    print(
        f"{found.executor}: {len(found.predictions)} samples, {found.counters.time_steps} steps, "
        f"accuracy {percent(accuracy)}, {found.samples_per_s:,.0f} samples/s"
    )
