"""Exact counters: spikes, neuron updates, SOPs and MACs per layer, time step and sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..export.ir import (
    WEIGHTS,
    Array,
    Delay,
    Graph,
    Input,
    InputError,
    MatMul,
    Neuron,
    dense_macs,
    value_kinds,
)
from ..export.ir.arith import Ints
from ..export.ir.digest import digest
from .fan_out import FanOuts
from .ops import OPS
from .trace import EVENT, Trace


@dataclass(frozen=True, slots=True)
class LayerCounters:
    """What one node did; arrays are int64 [time, sample], zero where a count does not apply.

    Attributes:
        name, kind: the node. neurons: values it emits per step.
        spikes: non-zero outputs of a Neuron (a multi-spike is one event). At event timing each
            spike of a step is an event of its own, here and in `sops`.
        sops: non-zero inputs of a weight node times the fan-out that exists. A MatMul's: non-zeros
            of the left operand times the columns of the right one.
        sops_effective: without zero weights; for a MatMul, coinciding non-zeros.
        macs: dense multiply-accumulates of a weight node that receives analog values.
        dense_macs: what dense arithmetic would compute, whatever enters.
        neuron_updates: membranes updated.
    """

    name: str
    kind: str
    neurons: int
    spikes: Ints
    sops: Ints
    sops_effective: Ints
    macs: Ints
    dense_macs: Ints
    neuron_updates: Ints


COUNTS = ("spikes", "sops", "sops_effective", "macs", "dense_macs", "neuron_updates")


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of a run, by layer; `a + b` joins the samples of two runs of one graph.

    Attributes:
        graph: the digest of what ran; empty where that is not known.
    """

    layers: Mapping[str, LayerCounters]
    time_steps: int
    samples: int
    graph: str = ""

    def __add__(self, other: Counters) -> Counters:
        same = list(self.layers) == list(other.layers) and self.graph == other.graph
        if not same or self.time_steps != other.time_steps:
            raise InputError("counters of different graphs or time steps cannot be joined")
        joined = {
            name: LayerCounters(
                layer.name,
                layer.kind,
                layer.neurons,
                *(
                    np.concatenate([getattr(layer, c), getattr(other.layers[name], c)], axis=1)
                    for c in COUNTS
                ),
            )
            for name, layer in self.layers.items()
        }
        return Counters(joined, self.time_steps, self.samples + other.samples, self.graph)

    def total(self, count: str) -> int:
        """Return the sum of one count over layers, steps and samples."""
        return sum(int(getattr(layer, count).sum()) for layer in self.layers.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a layer: sums over steps and samples, and the mean spike rate."""
        return [self._row(layer) for layer in self.layers.values()]

    def _row(self, layer: LayerCounters) -> dict[str, Any]:
        row: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "neurons": layer.neurons}
        row |= {count: int(getattr(layer, count).sum()) for count in COUNTS}
        slots = layer.neurons * self.time_steps * self.samples
        row["spike_rate"] = row["spikes"] / slots if layer.kind == "Neuron" and slots else None
        return row

    def totals(self) -> dict[str, Any]:
        """Return the sums over all layers, and the spike rate over all neurons."""
        found: dict[str, Any] = {count: self.total(count) for count in COUNTS}
        updates = found["neuron_updates"]
        found["spike_rate"] = found["spikes"] / updates if updates else None
        return found


def count(trace: Trace, fan_outs: FanOuts | None = None) -> Counters:
    """Return the counters of a trace that recorded spikes.

    Args:
        fan_outs: the maps of the trace's graph, to share among the batches of a run.

    Raises:
        InputError: if the trace recorded the output only.
    """
    if set(trace.neurons) != set(trace.graph.neurons):
        raise InputError("the trace holds no spikes", remedy='record "spikes" or "states"')
    values, maps = _Values(trace), fan_outs or FanOuts(trace.graph)
    layers = {}
    for name, node in trace.graph.nodes.items():
        if isinstance(node, (*WEIGHTS, MatMul, Neuron)):
            layers[name] = _count_node(name, node, trace, values, maps)
    return Counters(layers, trace.time_steps, trace.samples, maps.digest)


def of_counters(graph: Graph, counters: Counters) -> bool:
    """Whether counters are those of a run of `graph`, as far as they tell."""
    if counters.graph:
        return counters.graph == digest(graph)
    neurons, counted = set(graph.neurons), set(counters.layers)
    return counted <= set(graph.nodes) and neurons <= counted


def events_of(values: Array, trace: Trace) -> Array:
    """Return how many events values stand for: one each, at event timing one a spike."""
    return np.abs(values) if trace.executor == EVENT else values != 0


def values_of(trace: Trace, name: str) -> Array:
    """Return what node `name` emitted, [time * batch, *shape], derived from the recorded spikes."""
    return _Values(trace).of(name)


class _Values:
    """The values that travelled, [time * batch, *shape], derived from the recorded spikes."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.graph = trace, trace.graph
        self.kinds = value_kinds(trace.graph)
        self._known: dict[str, Array] = {}

    def of(self, name: str) -> Array:
        if name not in self._known:
            self._known[name] = self._derive(name)
        return self._known[name]

    def _derive(self, name: str) -> Array:
        node, graph = self.graph.nodes[name], self.graph
        if isinstance(node, Input):
            return self._folded(self.trace.input)
        if isinstance(node, Neuron):
            return self._folded(self.trace.neurons[name].spikes)
        sources = [self.of(source) for source in graph.inputs(name)]
        if isinstance(node, Delay):
            steps = sources[0].reshape(self.trace.time_steps, -1, *graph.shapes[name])
            late = np.zeros_like(steps)
            late[node.steps :] = steps[: max(0, len(steps) - node.steps)]
            return late.reshape(-1, *graph.shapes[name])
        return OPS[type(node)](node, *sources)

    def _folded(self, x: Array) -> Array:
        return x.reshape(-1, *x.shape[2:])


def _count_node(
    name: str, node: Any, trace: Trace, values: _Values, fan_outs: FanOuts
) -> LayerCounters:
    graph, shape = trace.graph, (trace.time_steps, trace.samples)
    counts: dict[str, Ints] = {c: np.zeros(shape, np.int64) for c in COUNTS}
    neurons = prod(graph.shapes[name])
    if isinstance(node, Neuron):
        fired = events_of(values.of(name), trace)
        counts["spikes"] = fired.reshape(*shape, -1).sum(axis=2, dtype=np.int64)
        counts["neuron_updates"] += neurons
        return LayerCounters(name, node.kind, neurons, *counts.values())
    counts["dense_macs"] += dense_macs(graph, name)
    sources = graph.inputs(name)
    if any(values.kinds[source] == "analog" for source in sources):
        counts["macs"] = counts["dense_macs"].copy()
    else:
        received = [events_of(values.of(source), trace) for source in sources]
        if isinstance(node, MatMul):
            both = _matmul_sops(node, *received)
        else:
            both = _weight_sops(fan_outs, name, received[0])
        counts["sops"], counts["sops_effective"] = (one.reshape(shape) for one in both)
    return LayerCounters(name, node.kind, neurons, *counts.values())


def _weight_sops(fan_outs: FanOuts, name: str, events: Array) -> tuple[Ints, Ints]:
    # In float64, where sums of synapse counts below 2^53 are exact and BLAS multiplies.
    flat = events.reshape(len(events), -1).astype(np.float64)
    maps = (fan_outs.of(name, effective=e).reshape(-1) for e in (False, True))
    real, effective = ((flat @ fan.astype(np.float64)).astype(np.int64) for fan in maps)
    return real, effective


def _matmul_sops(node: MatMul, a: Array, b: Array) -> tuple[Ints, Ints]:
    right = np.swapaxes(b, -1, -2) if node.transpose_b else b
    axes = tuple(range(1, a.ndim))
    driven = a.sum(axis=axes, dtype=np.int64) * right.shape[-1]
    # Coincidences: sum over k of (non-zeros in column k of a) * (non-zeros in row k of b).
    columns = a.sum(axis=-2, dtype=np.int64)
    rows = right.sum(axis=-1, dtype=np.int64)
    return driven, (columns * rows).sum(axis=tuple(range(1, columns.ndim)))
