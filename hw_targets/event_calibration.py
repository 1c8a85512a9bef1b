"""Calibration for chips that test the threshold after every event.

There a transient that later events of the same step would have cancelled fires already, so a
network lowered for steps spikes too often. Raising the thresholds of each layer by a factor brings
it nearer to what was trained; the factors are searched layer by layer on calibration samples, and
kept in the metadata beside the thresholds before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..export.ir import Array, Graph, Neuron, Node, analog_nodes
from ..sim.encode import encode
from ..sim.event import EventDriven
from ..sim.reference import Reference
from ..sim.trace import spikes_that_differ
from .target import Target
from .target import takes_events as takes_events

KEY = "event_calibration"
"""Of the metadata."""
FACTORS = (1.0, 0.875, 1.125, 1.25, 1.5, 1.75, 2.0, 2.5)
SAMPLES = 16


def calibrate_events(graph: Graph, x: Array, time_steps: int, target: Target) -> Graph:
    """Return the graph with the thresholds under which event timing is nearest to step timing.

    Nearest: the least share of spike counts that differ, mean over the layers.

    Args:
        x: raw samples, of which the first few are used.
    """
    layers = [name for name in graph.neurons if name not in analog_nodes(graph)]
    if not layers:
        return _noted(graph, NOTHING)
    values = encode(graph, x[:SAMPLES], time_steps)
    wanted = Reference().prepare(graph).run(values, "spikes")
    session, bits = EventDriven().prepare(graph), target.limit("threshold_bits")

    def apart(factors: Mapping[str, float]) -> dict[str, float]:
        tried = session.with_neurons(raised(graph, factors, bits))
        return spikes_that_differ(wanted, tried.run(values, "spikes"))

    factors = dict.fromkeys(layers, 1.0)
    before = least = apart(factors)
    for name in layers:
        for factor in FACTORS[1:]:
            found = apart({**factors, name: factor})
            if _mean(found) < _mean(least):
                factors[name], least = factor, found
    best = raised(graph, factors, bits)
    last = session.with_neurons(best)
    last.run(values, "output")
    note = {
        "threshold_factors": factors,
        "spikes_that_differ": least,
        "before": before,
        "samples": int(values.shape[1]),
        "longest_queue": last.longest_queue,
        "thresholds_before": {n: graph.neurons[n].v_threshold.tolist() for n in layers},
    }
    return _noted(best, note)


NOTHING: Mapping[str, Any] = {
    "threshold_factors": {},
    "spikes_that_differ": {},
    "before": {},
    "samples": 0,
    "longest_queue": 0,
    "thresholds_before": {},
}
"""Of a network without neurons on the chip: nothing fires there, so nothing waits."""


def _noted(graph: Graph, note: Mapping[str, Any]) -> Graph:
    return graph.replace(metadata={**graph.metadata, KEY: dict(note)})


def _mean(shares: Mapping[str, float]) -> float:
    return float(np.mean(list(shares.values()))) if shares else 0.0


def uncalibrated(graph: Graph) -> Graph:
    """Return a calibrated graph with the thresholds it had before."""
    known: Mapping[str, Any] = graph.metadata[KEY]["thresholds_before"]

    def change(name: str, node: Node) -> Node:
        if not isinstance(node, Neuron) or name not in known:
            return node
        return replace(node, v_threshold=np.asarray(known[name], np.int32))

    return graph.map_nodes(change)


def factors_of(graph: Graph) -> Mapping[str, float]:
    """Return by what the thresholds of a calibrated graph were multiplied; nothing for others."""
    factors: Mapping[str, float] = graph.metadata.get(KEY, {}).get("threshold_factors", {})
    return factors


def as_trained(graph: Graph) -> Graph:
    """Return what a calibrated graph was calibrated to equal; any other as it is."""
    return uncalibrated(graph) if "thresholds_before" in graph.metadata.get(KEY, {}) else graph


def raised(graph: Graph, factors: Mapping[str, float], bits: int | None) -> Graph:
    """Return the graph with the thresholds of neuron nodes times factors, within their width."""

    def change(name: str, node: Node) -> Node:
        if not isinstance(node, Neuron) or factors.get(name, 1.0) == 1:
            return node
        step = 1 << node.state_shift
        steps = np.rint(node.v_threshold / step * factors[name]).astype(np.int64)
        top = (1 << bits) - 1 if bits is not None else 2**31 // step - 1
        return replace(node, v_threshold=(np.clip(steps, 1, top) * step).astype(np.int32))

    return graph.map_nodes(change)
