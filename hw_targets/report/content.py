"""What a report says, as JSON-able data; the page shows this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...export.ir import Array, Graph, LoweringError, rows
from ...export.ir.digest import digest
from ...sim.counters import Counters
from ...sim.trace import Trace
from ...sim.verify import Verification
from ..activity import Activity
from ..estimate import estimate
from ..fit import check, refused
from ..target import Target

SCHEMA = "spikewright/report/1"
RASTER_NEURONS = 256
"""At most so many neurons of a layer are drawn, evenly spread."""


@dataclass(frozen=True, slots=True)
class OnTarget:
    """A target, the network in its number format, and the counters and accuracy of that.

    activity: of its cores, where the target's costs ask for it.
    """

    target: Target
    graph: Graph
    counters: Counters
    accuracy: float | None = None
    activity: Activity | None = None


@dataclass(frozen=True, slots=True)
class NotOnTarget:
    """A target whose number format cannot express the network, and why."""

    target: Target
    error: LoweringError

    def fit(self) -> dict[str, Any]:
        """Return the reason as a fit report does, as one violation."""
        return {
            **refused(self.target, [self.error]).to_json(),
            "profile": self.target.profile,
            "digest": None,
            "accuracy": None,
        }


def content(
    graph: Graph,
    counters: Counters,
    trace: Trace,
    verification: Verification,
    targets: Sequence[OnTarget | NotOnTarget],
    accuracies: Mapping[str, float | None],
) -> dict[str, Any]:
    """Return the whole report as data; the same inputs give the same content."""
    return {
        "schema": SCHEMA,
        "network": _network(graph),
        "verification": verification.to_json(),
        "accuracies": {name: value for name, value in accuracies.items() if value is not None},
        "samples": counters.samples,
        "time_steps": counters.time_steps,
        "layers": _layers(graph, counters),
        "totals": counters.totals(),
        "steps": _steps(counters),
        "raster": _raster(trace),
        "fits": [_fit(on) for on in targets],
        "estimates": [
            estimate(on.graph, on.counters, on.target, cost=cost, activity=on.activity).to_json()
            for on in targets
            if isinstance(on, OnTarget)
            for cost in _tables(on.target)
        ],
    }


def _fit(on: OnTarget | NotOnTarget) -> dict[str, Any]:
    limited = {"limited": bool(on.target.limits), "lowered": isinstance(on, OnTarget)}
    if isinstance(on, NotOnTarget):
        return {**on.fit(), **limited}
    profile = on.graph.profile.name if on.graph.profile else None
    found = check(on.graph, on.target).to_json()
    extra = {"profile": profile, "digest": digest(on.graph), "accuracy": on.accuracy}
    return {**found, **extra, **limited}


def _tables(target: Target) -> tuple[str | None, ...]:
    """The names of the cost tables; None alone for a target without one."""
    return tuple(target.costs) or (None,)


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
    extra = (
        "spikes",
        "events",
        "spike_rate",
        "spikes_per_neuron_step",
        "sops",
        "sops_effective",
        "sops_per_spike",
        "macs",
        "neuron_updates",
    )
    return [
        {
            **row,
            **{key: counted.get(row["name"], {}).get(key) for key in extra},
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
