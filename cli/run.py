"""`run`: a network on data, on one executor, with exact counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as a
from .output import emit_json, percent, print_table, progress

if TYPE_CHECKING:
    from ..export.ir import Graph
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
        how = {"encoding": request.encode, "seed": samples.seed, "batch": samples.batch}
        beside = _beside(found, graph, data, steps, event_order, how)
    encoding = entered(graph, data.x, request.encode).input.encoding
    show(found, data.y, json, {"encoding": encoding, **(beside or {})})


def _beside(
    found: Run, graph: Graph, data: Any, steps: int | None, order: str, how: dict[str, Any]
) -> dict[str, Any]:
    """Return how a run at event timing differs from step timing.

    `step_accuracy` is of the graph itself; `step_accuracy_uncalibrated` of the thresholds that it
    had before a calibration for events, which the shares of spikes and predictions compare with.
    """
    from ..hw_targets.event_calibration import as_trained
    from ..sim.run import run
    from ..sim.trace import spikes_that_differ

    trained = as_trained(graph)
    before = run(trained, data.x, steps, keep="spikes", **how)
    itself = before if trained is graph else run(graph, data.x, steps, **how)
    assert found.trace is not None and before.trace is not None
    return {
        "timing": "event",
        "event_order": order,
        "calibrated_for_events": trained is not graph,
        "step_accuracy": itself.accuracy(data.y),
        "step_accuracy_uncalibrated": before.accuracy(data.y),
        "spikes_that_differ": spikes_that_differ(before.trace, found.trace),
        "predictions_that_differ": float((before.predictions != found.predictions).mean()),
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
        print(_timings(beside, accuracy))


def _timings(beside: dict[str, Any], accuracy: float | None) -> str:
    """Return the accuracies of both timings, each with the thresholds that it is of."""
    step = f"at step timing {percent(beside['step_accuracy'])}"
    if beside["calibrated_for_events"]:
        share = percent(beside["step_accuracy_uncalibrated"])
        step += f", {share} with the thresholds before their calibration for events"
    return (
        f"events in {beside['event_order']} order: accuracy {percent(accuracy)}, {step}; "
        f"{percent(beside['predictions_that_differ'])} of the predictions differ from it"
    )
