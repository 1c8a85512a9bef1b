"""`lower`: trace, fold, quantise; write the .spk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import arguments as a
from .output import emit_json, percent, print_table, say

if TYPE_CHECKING:
    from ..export.ir import Graph
    from ..hw_targets.fit import FitReport
    from ..trainer.data import Dataset


@a.with_groups
def command(
    request: a.Request,
    out: a.Out,
    samples: a.Samples,
    force: a.Force = False,
    json: a.Json = False,
) -> None:
    """Lower a network to one integer graph and write it as .spk.

    The file is written before anything is measured. The accuracies are those on --data; without it
    on the first 512 samples, or --limit, of the calibration data's test split, or of
    the tenth held out of data without one. With --target the
    result is checked against the chip, too; what does not fit is said, with remedies.
    """
    from ..export.formats.atomic import refuse_overwrite
    from ..export.formats.writers import write
    from ..hw_targets.event_calibration import KEY
    from ..trainer.data import packaged

    refuse_overwrite(out, force=force)
    request = replace(request, level=request.level or "integer")
    judging = _judging(samples, request)
    read = request.read(judging)
    graph = request.lowered(read, judging)
    trained = graph.metadata.get("data")
    data = judging.of(graph) if judging.data or (trained and packaged(str(trained))) else None
    if data is None:
        _refuse_unmeasured(samples)
    written = write(graph, out, force=force)
    found: dict[str, float | None] = {"float_accuracy": None, "integer_accuracy": None}
    if data is not None:
        if judging.limit != samples.limit and len(data) == judging.limit:
            say(f"wrote {out}; measuring on {len(data)} samples of {data.name} (--limit for more)")
        measured = accuracies(read, graph, data, judging.seed, request.time_steps, judging.batch)
        found = {f"{k}_accuracy": v for k, v in measured.items()}
        graph = graph.replace(metadata={**graph.metadata, "accuracies": card(found, data)})
        found |= event_accuracies(graph, data, judging.seed, request.time_steps, judging.batch)
        written = write(graph, out, force=True)
    fit = fit_of(graph, request.target)
    if json:
        told = {
            "time_steps": graph.metadata.get("time_steps"),
            "samples": None if data is None else len(data),
            "fit": fit and fit.to_json(),
            "event_calibration": graph.metadata.get(KEY),
            **{name: graph.metadata.get(name) for name in ("took", "returns")},
        }
        emit_json(
            "lower", {"out": str(out), "level": graph.level, **layers(graph), **found, **told}
        )
        return
    show(graph)
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {percent(value)}")
    show_events(graph)
    if fit is not None:
        print(fit)
    print(written)


JUDGED = 512
"""Samples that the accuracies are measured on where nobody asked for others."""


def _judging(samples: a.Samples, request: a.Request) -> a.Samples:
    """Return the samples to measure on: those asked for, else a few of the calibration data."""
    if samples.data is not None:
        return samples
    limit = samples.limit or JUDGED
    return a.HeldOut(request.calibrate, samples.split, limit, samples.batch, samples.seed)


def _refuse_unmeasured(samples: a.Samples) -> None:
    """Refuse options of the measurement where there is nothing to measure on."""
    from ..export.ir.errors import InputError

    usual = a.Samples()
    for name in ("split", "limit", "batch", "seed"):
        if getattr(samples, name) != getattr(usual, name):
            reason = f"--{name} cannot act here, nothing is measured without data"
            raise InputError(reason, remedy="give --data DATA, or leave it out")


def fit_of(graph: Graph, target: str | None) -> FitReport | None:
    """Return whether an integer graph fits the chip it was lowered for; None for a mere format."""
    from ..hw_targets.fit import check
    from ..hw_targets.target import chip_for

    chip = chip_for(target)
    return None if chip is None or graph.level != "integer" else check(graph, chip)


def layers(graph: Graph) -> dict[str, Any]:
    """Return the layer table for JSON, with the share of spikes that differ from float."""
    from ..export.ir import rows

    differ = graph.metadata.get("spikes_that_differ", {})
    table = [{**row, "spikes_that_differ": differ.get(row["name"])} for row in rows(graph)]
    return {"layers": table}


def show(graph: Graph) -> None:
    """Print the layer table, and the share of spikes that differ from the float graph."""
    print(graph)
    if "took" in graph.metadata:
        print(f"output: {graph.metadata['took']}")
    differ = graph.metadata.get("spikes_that_differ", {})
    rows = [{"neuron": name, "spikes unlike float": percent(v)} for name, v in differ.items()]
    if rows:
        print()
        print_table(rows, ("neuron", "spikes unlike float"))


def accuracies(
    read: Graph,
    graph: Graph,
    data: Dataset,
    seed: int = 0,
    time_steps: int | None = None,
    batch: int = 64,
) -> dict[str, float | None]:
    """Return the accuracy on `data` of the float graph and of the integers, None without."""
    from .. import api
    from ..sim.run import run

    steps = api.steps_for(graph, data.x, time_steps)

    def measured(one: Graph) -> float | None:
        return run(one, data.x, steps, seed=seed, batch=batch).accuracy(data.y)

    return {
        "float": measured(read) if read.level != "integer" else None,
        "integer": measured(graph) if graph.level == "integer" else None,
    }


def event_accuracies(
    graph: Graph,
    data: Dataset,
    seed: int = 0,
    time_steps: int | None = None,
    batch: int = 64,
) -> dict[str, float | None]:
    """Return, of a graph calibrated for events, the accuracy at event timing, and that before."""
    from .. import api
    from ..hw_targets.event_calibration import factors_of, uncalibrated
    from ..sim.event import EventDriven
    from ..sim.run import run

    if not factors_of(graph):
        return {}
    steps, events = api.steps_for(graph, data.x, time_steps), EventDriven()
    before, after = (
        run(one, data.x, steps, executor_name=events, seed=seed, batch=batch).accuracy(data.y)
        for one in (uncalibrated(graph), graph)
    )
    return {"event_accuracy": after, "event_accuracy_uncalibrated": before}


def show_events(graph: Graph) -> None:
    """Print what calibration for events changed, a layer a line."""
    from ..hw_targets.event_calibration import KEY

    note = graph.metadata.get(KEY)
    if note is None or not note["threshold_factors"]:
        return
    print(f"calibrated for thresholds tested after every event, on {note['samples']} samples:")
    print(f"longest queue of events: {note['longest_queue']}")
    columns = ("neuron", "thresholds times", "spikes unlike step timing", "before")
    rows = [
        {
            "neuron": name,
            "thresholds times": f"{note['threshold_factors'][name]:g}",
            "spikes unlike step timing": percent(note["spikes_that_differ"][name]),
            "before": percent(note["before"][name]),
        }
        for name in note["threshold_factors"]
    ]
    print_table(rows, columns)


def card(found: dict[str, float | None], data: Dataset) -> dict[str, Any]:
    """Return accuracies as an archive keeps them, with what they were measured on."""
    return {**found, "data": data.name, "split": data.split, "samples": len(data)}
