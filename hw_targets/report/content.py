"""What a report says, as JSON-able data; the page shows this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...export.ir import Array, Graph, rows
from ...export.ir.digest import digest
from ...sim.counters import Counters
from ...sim.trace import Trace
from ...sim.verify import Verification
from ..compare import Comparison
from ..estimate import Estimate
from ..event_calibration import as_trained
from ..fit import FitReport
from ..target import Target

SCHEMA = "spikewright/report/1"
RASTER_NEURONS = 256
"""At most so many neurons of a layer are drawn, evenly spread."""


@dataclass(frozen=True, slots=True)
class OnTarget:
    """A target, the network in its number format, and what `check` and `estimate` say of it.

    Attributes:
        fit: None for a network that is not integer. graph: None where the format cannot express it.
        estimates: one a cost table. accuracy: of a run at `timing`, step or event.
    """

    target: Target
    fit: FitReport | None
    graph: Graph | None = None
    estimates: tuple[Estimate, ...] = ()
    accuracy: float | None = None
    timing: str | None = None


def content(
    graph: Graph,
    counters: Counters,
    trace: Trace,
    verification: Verification,
    targets: Sequence[OnTarget],
    accuracies: Mapping[str, float | None],
    comparison: Comparison | None = None,
) -> dict[str, Any]:
    """Return the whole report as data; the same inputs give the same content."""
    return {
        "schema": SCHEMA,
        "network": _network(graph),
        "verification": verification.to_json(),
        "accuracies": {name: value for name, value in accuracies.items() if value is not None},
        "timing": "step",
        "calibrated_for_events": as_trained(graph) is not graph,
        "samples": counters.samples,
        "time_steps": counters.time_steps,
        "layers": _layers(graph, counters),
        "totals": counters.totals(),
        "steps": _steps(counters),
        "raster": _raster(trace),
        "fits": [_fit(on) for on in targets],
        "estimates": [found.to_json() for on in targets for found in on.estimates],
        "comparison": None if comparison is None else comparison.to_json(),
    }


def _fit(on: OnTarget) -> dict[str, Any]:
    fit = on.fit or FitReport(on.target.name, 0, {}, (), (), unknown=(NOT_CHECKED,))
    profile = on.graph.profile if on.graph is not None else None
    return {
        **fit.to_json(),
        "profile": profile.name if profile else on.target.profile,
        "digest": digest(on.graph) if on.graph is not None else None,
        "accuracy": on.accuracy,
        "timing": on.timing,
        "limited": bool(on.target.limits),
        "lowered": on.graph is not None,
    }


NOT_CHECKED = "every limit: a network that is not integer is not checked"


def _network(graph: Graph) -> dict[str, Any]:
    table = rows(graph)
    known = ("source", "model", "data", "training", "calibration", "scale_rule")
    return {
        "level": graph.level,
        "profile": graph.profile.name if graph.profile else None,
        "digest": digest(graph),
        "parameters": sum(row["parameters"] for row in table),
        "dense_macs_per_step": sum(row["dense_macs"] for row in table),
        "input_shape": list(graph.input.shape),
        "encoding": graph.input.encoding,
        **{key: graph.metadata[key] for key in known if key in graph.metadata},
    }


def _layers(graph: Graph, counters: Counters) -> list[dict[str, Any]]:
    counted = {row["name"]: row for row in counters.rows()}
    differ = graph.metadata.get("spikes_that_differ", {})
    counts = {"neurons", *counters.totals()}  # of a network without layers, too
    return [
        {
            **dict.fromkeys(sorted(counts)),
            **counted.get(row["name"], {}),
            **row,
            "spikes_that_differ": differ.get(row["name"]),
        }
        for row in rows(graph)
    ]


def _steps(counters: Counters) -> dict[str, dict[str, list[float]]]:
    """Return, per layer, the spike rate of each step and the mean SOPs of each step."""
    neurons = {n: c for n, c in counters.layers.items() if c.kind == "Neuron"}
    weights = {n: c for n, c in counters.layers.items() if c.kind != "Neuron"}
    return {
        "spike_rate": {
            name: (layer.events.mean(axis=1) / max(1, layer.neurons)).tolist()
            for name, layer in neurons.items()
        },
        "sops": {name: layer.sops.mean(axis=1).tolist() for name, layer in weights.items()},
    }


def _raster(trace: Trace) -> dict[str, Any]:
    """Return the spikes of the first sample, per layer, as neuron numbers by step."""
    layers: dict[str, Any] = {}
    for name, neuron in trace.neurons.items():
        spikes = (neuron.spikes[:, 0] != 0).reshape(trace.time_steps, -1)
        chosen = drawn(spikes.shape[1])
        layers[name] = {
            "neurons": len(chosen),
            "of": spikes.shape[1],
            "spikes": [np.flatnonzero(step[chosen]).tolist() for step in spikes],
        }
    return {"sample": 0, "layers": layers}


def drawn(neurons: int) -> Array:
    """Return the neurons that a raster shows."""
    return np.unique(np.linspace(0, neurons - 1, min(neurons, RASTER_NEURONS)).astype(int))
