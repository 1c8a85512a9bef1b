"""`run`: a network on data, on one executor, with exact counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, print_table, progress

ExecutorName = Annotated[str, typer.Option("--executor", help="native, reference or onnxruntime.")]
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


def command(
    source: a.Source,
    data: a.MaybeData = None,
    executor: ExecutorName = "native",
    split: a.Split = "test",
    limit: a.Limit = None,
    batch: a.Batch = 64,
    seed: a.Seed = 0,
    time_steps: a.TimeSteps = None,
    encode: a.Encode = None,
    threads: a.Threads = 1,
    trace: TraceFile = None,
    bits: a.Bits = None,
    target: a.TargetName = None,
    calibrate: a.Calibrate = None,
    level: a.LevelName = None,
    weights: a.Weights = None,
    input_shape: a.InputShape = None,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Run a network on data: accuracy, spikes, synaptic operations and updates per layer."""
    from .. import api
    from ..export.formats.atomic import refuse_overwrite
    from ..sim.run import run

    if trace is not None:
        refuse_overwrite(trace, force=force)
    request = a.Request(
        source, bits, target, calibrate, "max", level, weights, input_shape, time_steps, encode
    )
    graph = request.graph()
    samples = a.data_of(graph, data, split, limit)
    steps = api.steps_for(graph, samples.x, time_steps)
    with progress("run", len(samples)) as done:
        found = run(
            graph,
            samples.x,
            steps,
            executor_name=executor_of(executor, threads, graph.level),
            encoding=encode,
            seed=seed,
            batch=batch,
            keep="states" if trace is not None else None,
            progress=done,
        )
    if trace is not None:
        from ..sim.trace_file import write_trace

        assert found.trace is not None
        write_trace(found.trace, trace, force=force)
    show(found, samples.y, json)


def executor_of(name: str, threads: int, level: str) -> Any:
    """Return the executor of this name with its threads; floats run on the reference."""
    from ..export.ir.errors import UnknownNameError
    from ..sim.executor import NAMES, executor

    if name not in NAMES:
        raise UnknownNameError.of("executor", name, NAMES)
    if name == "native" and level != "integer":
        name = "reference"
    return executor(name, threads)


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
