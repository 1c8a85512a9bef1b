"""Exact counters: spikes, neuron updates, SOPs and MACs per layer, time step and sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ..export.ir import (
    WEIGHTS,
    Array,
    Graph,
    InputError,
    MatMul,
    Neuron,
    dense_macs,
)
from ..export.ir.arith import Ints
from ..export.ir.digest import digest
from .fan_out import FanOuts
from .trace import EVENT, Trace
from .travelled import Values


@dataclass(frozen=True, slots=True)
class LayerCounters:
    """What one node did; arrays are int64 [time, sample], zero where a count does not apply.

    Attributes:
        name, kind: the node. neurons: values it emits per step.
        spikes: of a Neuron; a multi-spike of 3 counts three. events: its non-zero outputs.
        sops: per event: non-zero inputs of a weight node, each times the fan-out that exists. A
            MatMul's: non-zeros of the left operand times the columns of the right one. At event
            timing each spike of a step is an event of its own.
        sops_effective: without zero weights; for a MatMul, coinciding non-zeros.
        sops_per_spike: an input of n spikes (a multi-spike, a sum of spikes behind a pool or an
            addition) n times, as a chip does that sends each spike by itself.
        macs: dense multiply-accumulates of a weight node that receives analog values; in the first
            step alone where nothing but a repeated frame enters, since nothing changes after.
        dense_macs: what dense arithmetic would compute, whatever enters.
        neuron_updates: membranes updated.
    """

    name: str
    kind: str
    neurons: int
    spikes: Ints
    events: Ints
    sops: Ints
    sops_effective: Ints
    sops_per_spike: Ints
    macs: Ints
    dense_macs: Ints
    neuron_updates: Ints


COUNTS = (
    "spikes",
    "events",
    "sops",
    "sops_effective",
    "sops_per_spike",
    "macs",
    "dense_macs",
    "neuron_updates",
)
SUMS = {**dict(zip(COUNTS, COUNTS, strict=True)), "dense_macs": "dense_macs_all_steps"}
"""What sums over steps and samples are called; `dense_macs` is of one step in tables of layers."""


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
        """Return one row a layer: sums over steps and samples, and means over neurons and steps.

        `spike_rate`: the share of neurons and steps with a spike; `spikes_per_neuron_step` counts
        all spikes, and may exceed 1.
        """
        return [self._row(layer) for layer in self.layers.values()]

    def _row(self, layer: LayerCounters) -> dict[str, Any]:
        row: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "neurons": layer.neurons}
        row |= {SUMS[count]: int(getattr(layer, count).sum()) for count in COUNTS}
        slots = layer.neurons * self.time_steps * self.samples
        return row | _rates(row, slots if layer.kind == "Neuron" else 0)

    def totals(self) -> dict[str, Any]:
        """Return the sums over all layers, and the means over all neurons (see `rows`)."""
        found: dict[str, Any] = {SUMS[count]: self.total(count) for count in COUNTS}
        return found | _rates(found, found["neuron_updates"])


def _rates(sums: Mapping[str, int], slots: int) -> dict[str, float | None]:
    """Return the means of sums over `slots`, neurons times steps times samples."""
    return {
        "spike_rate": sums["events"] / slots if slots else None,
        "spikes_per_neuron_step": sums["spikes"] / slots if slots else None,
    }


def count(trace: Trace, fan_outs: FanOuts | None = None) -> Counters:
    """Return the counters of a trace that recorded spikes.

    Args:
        fan_outs: the maps of the trace's graph, to share among the batches of a run.

    Raises:
        InputError: if the trace recorded the output only.
    """
    if set(trace.neurons) != set(trace.graph.neurons):
        raise InputError("the trace holds no spikes", remedy='record "spikes" or "states"')
    values, maps = Values(trace), fan_outs or FanOuts(trace.graph)
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


def _count_node(
    name: str, node: Any, trace: Trace, values: Values, fan_outs: FanOuts
) -> LayerCounters:
    graph, shape = trace.graph, (trace.time_steps, trace.samples)
    counts: dict[str, Ints] = {c: np.zeros(shape, np.int64) for c in COUNTS}
    neurons = prod(graph.shapes[name])
    if isinstance(node, Neuron):
        fired = values.of(name).reshape(*shape, -1)
        counts["spikes"] = np.abs(fired).sum(axis=2, dtype=np.int64)
        counts["events"] = np.count_nonzero(fired, axis=2).astype(np.int64)
        counts["neuron_updates"] += neurons
        return LayerCounters(name, node.kind, neurons, *counts.values())
    counts["dense_macs"] += dense_macs(graph, name)
    sources = graph.inputs(name)
    if not values.analog.isdisjoint(sources):
        counts["macs"] = counts["dense_macs"].copy()
        if name in values.once:
            counts["macs"][1:] = 0
    else:
        counts |= {c: n.reshape(shape) for c, n in _sops(name, node, trace, values, fan_outs)}
    return LayerCounters(name, node.kind, neurons, *counts.values())


def _sops(
    name: str, node: Any, trace: Trace, values: Values, fan_outs: FanOuts
) -> Iterator[tuple[str, Ints]]:
    """Yield the counts of synaptic operations by name, each [time * batch]."""
    sources = trace.graph.inputs(name)
    events = [events_of(values.of(source), trace) for source in sources]
    spikes = [values.spikes(source) for source in sources]
    count: Any = partial(_matmul_sops, node) if isinstance(node, MatMul) else None
    count = count or partial(_weight_sops, fan_outs, name)
    real, effective = count(*events)
    several = any(n.size and n.max() > 1 for n in spikes)
    yield "sops", real
    yield "sops_effective", effective
    yield "sops_per_spike", next(iter(count(*spikes))) if several else real


def _weight_sops(fan_outs: FanOuts, name: str, events: Array) -> Iterator[Ints]:
    """Yield the SOPs of all synapses, and of those whose weight is not zero."""
    # In float64, where sums of synapse counts below 2^53 are exact and BLAS multiplies.
    flat = events.reshape(len(events), -1).astype(np.float64)
    for effective in (False, True):
        fan = fan_outs.of(name, effective=effective).reshape(-1).astype(np.float64)
        yield (flat @ fan).astype(np.int64)


def _matmul_sops(node: MatMul, a: Array, b: Array) -> tuple[Ints, Ints]:
    right = np.swapaxes(b, -1, -2) if node.transpose_b else b
    axes = tuple(range(1, a.ndim))
    driven = a.sum(axis=axes, dtype=np.int64) * right.shape[-1]
    # Coincidences: sum over k of (non-zeros in column k of a) * (non-zeros in row k of b).
    columns = a.sum(axis=-2, dtype=np.int64)
    rows = right.sum(axis=-1, dtype=np.int64)
    return driven, (columns * rows).sum(axis=tuple(range(1, columns.ndim)))
