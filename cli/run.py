"""`run`: a network on data, on one executor, with exact counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, print_table, progress

if TYPE_CHECKING:
    from ..sim.run import Run

ExecutorName = Annotated[
    str | None,
    typer.Option("--executor", help="native (the usual one), reference, onnxruntime or lava."),
]
TraceFile = Annotated[
    Path | None, typer.Option("--trace", help="Write spikes and states to this .npz.")
]
Timing = Annotated[
    str,
    typer.Option("--timing", help="step, or event: the threshold is tested after every event."),
]
EventOrder = Annotated[
    str,
    typer.Option("--event-order", help="Of a step's events: raster, reversed or random."),
]
COLUMNS = (
    "name",
    "kind",
    "neurons",
    "spikes",
    "events",
    "spike_rate",
    "sops",
    "sops_effective",
    "sops_per_spike",
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
    timing: Timing = "step",
    event_order: EventOrder = "raster",
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Run a network on data: accuracy, spikes, synaptic operations and updates per layer."""
    from .. import api
    from ..export.formats.atomic import refuse_overwrite, refuse_suffix
    from ..export.ir.errors import InputError
    from ..sim.encoding import entered
    from ..sim.event import EventDriven
    from ..sim.executor import executor as named
    from ..sim.executor import usual
    from ..sim.run import run

    if trace is not None:
        refuse_suffix(trace, "a trace", (".npz",))
        refuse_overwrite(trace, force=force)
    if executor is not None:
        named(executor, threads)
    _check_timing(timing, event_order, executor, threads)
    if force and trace is None:
        raise InputError("--force cannot act here", remedy="it is for --trace FILE")
    graph = request.graph(samples, [executor or ""])
    drawn = timing == "event" and event_order == "random"
    data = samples.of(graph, seeded=drawn)
    steps = api.steps_for(graph, data.x, request.time_steps)
    with progress("run", len(data)) as done:
        found = run(
            graph,
            data.x,
            steps,
            executor_name=(
                EventDriven(event_order, samples.seed)  # type: ignore[arg-type]
                if timing == "event"
                else named(executor or usual(graph), threads)
            ),
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            keep="states" if trace is not None else "spikes" if timing == "event" else None,
            progress=done,
        )
    if trace is not None:
        from ..sim.trace_file import write_trace

        assert found.trace is not None
        write_trace(found.trace, trace, force=force)
    beside = None
    if timing == "event":
        from ..hw_targets.event_calibration import as_trained

        as_steps = run(
            as_trained(graph),
            data.x,
            steps,
            encoding=request.encode,
            seed=samples.seed,
            batch=samples.batch,
            keep="spikes",
        )
        beside = _beside(found, as_steps, data.y, event_order)
    encoding = entered(graph, data.x, request.encode).input.encoding
    show(found, data.y, json, {"encoding": encoding, **(beside or {})})


def _beside(found: Run, as_steps: Run, labels: Any, order: str) -> dict[str, Any]:
    """Return how a run at event timing differs from what was lowered, at step timing."""
    from ..sim.trace import spikes_that_differ

    assert found.trace is not None and as_steps.trace is not None
    apart = (as_steps.predictions != found.predictions).mean()
    return {
        "timing": "event",
        "event_order": order,
        "step_accuracy": as_steps.accuracy(labels),
        "spikes_that_differ": spikes_that_differ(as_steps.trace, found.trace),
        "predictions_that_differ": float(apart),
    }


def _check_timing(timing: str, event_order: str, executor: str | None, threads: int) -> None:
    from ..export.ir.errors import InputError, UnknownNameError

    if timing not in ("step", "event"):
        raise UnknownNameError.of("timing", timing, ("step", "event"))
    if timing == "step" and event_order != "raster":
        remedy = "give --timing event"
        raise InputError(f"--event-order {event_order} cannot act", remedy=remedy)
    if timing == "event" and executor is not None:
        remedy = "leave --executor out: event timing has one of its own"
        raise InputError(f"--executor {executor} with --timing event", remedy=remedy)
    if timing == "event" and threads != 1:
        raise InputError("--threads cannot act with --timing event", remedy="leave it out")


def show(found: Any, labels: Any, json: bool, beside: dict[str, Any] | None = None) -> None:
    """Print a run; `beside`: how event timing differs from step timing."""
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
            **(beside or {}),
        }
        emit_json("run", fields)
        return
    print_table([*rows, {"name": "total", "kind": "", **totals}], COLUMNS)
    print(
        f"{found.executor}: {len(found.predictions)} samples, {found.counters.time_steps} steps, "
        f"accuracy {percent(accuracy)}, {found.samples_per_s:,.0f} samples/s"
    )
    if beside and "timing" in beside:
        rows = [
            {"neuron": name, "spikes unlike step timing": percent(share)}
            for name, share in beside["spikes_that_differ"].items()
        ]
        print_table(rows, ("neuron", "spikes unlike step timing"))
        print(
            f"events in {beside['event_order']} order: accuracy {percent(accuracy)}, "
            f"at step timing {percent(beside['step_accuracy'])}; "
            f"{percent(beside['predictions_that_differ'])} of the predictions differ"
        )
