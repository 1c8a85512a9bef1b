"""Event timing in C++: the network as flat neurons and sparse rows, its samples one by one."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Array, Graph, Neuron, SumPool
from ..export.ir.arith import readout_step
from .arrivals import Arrivals, senders
from .event import EventSession, Order, flat
from .fan_out import synapses
from .synapses import entries, paths

LARGEST = 1 << 26
"""So many synapses are laid out, at 8 bytes each; larger networks run in Python."""
CHUNK = 1 << 21
"""About so many synapses are worked out at a time."""


def can_run(graph: Graph) -> bool:
    """Return whether the extension is built, and the network small enough to lay out."""
    try:
        from . import _event as _event
    except ImportError:
        return False
    return sum(_synapses(graph).values()) <= LARGEST


def _synapses(graph: Graph) -> dict[str, int]:
    nodes: dict[str, Any] = graph.of_kind(*WEIGHTS)
    shapes = graph.shapes
    return {n: synapses(w, shapes[graph.inputs(n)[0]], shapes[n]) for n, w in nodes.items()}


@dataclass(slots=True)
class Rows:
    """Synapses in rows, one a source: int64 start [source + 1]; int32 target, weight and lag."""

    start: Array
    target: Array
    weight: Array
    lag: Array


class NativeEventSession(EventSession):
    """The same as `EventSession`, in every value."""

    def __init__(self, graph: Graph, order: Order, seed: int) -> None:
        super().__init__(graph, order, seed)
        self._take_neurons()
        self._outside = senders(graph, self.host)
        self._cells = prod(graph.shapes[graph.output_name])
        self._now, self._late = _rows(graph, tuple(self._chip), self._outside)

    def with_neurons(self, graph: Graph) -> NativeEventSession:
        """Return a session that shares the synapses laid out."""
        twin = super().with_neurons(graph)
        assert isinstance(twin, NativeEventSession)
        twin._take_neurons()
        return twin

    def _take_neurons(self) -> None:
        self._chip = {n: node for n, node in self.graph.neurons.items() if n not in self.host}
        self._fields = np.concatenate([_fields(node) for node in self._chip.values()] or [NOTHING])

    def _run(
        self, x: Array, arrivals: Arrivals
    ) -> tuple[dict[str, Array], dict[str, Array], Array]:
        from . import _event

        neurons = len(self._fields)
        counts = np.zeros((*x.shape[:2], neurons), np.int32)
        v = np.zeros_like(counts)
        arrived = np.zeros((*x.shape[:2], self._cells), np.int64)
        longest = _event.run(
            self._fields,
            *(self._now.start, self._now.target, self._now.weight),
            *(self._late.start, self._late.target, self._late.weight, self._late.lag),
            int(self._late.lag.max(initial=0)),
            *self._events(x, arrivals),
            *(counts, v, arrived),
        )
        self.longest_queue = max(self.longest_queue, longest)
        spikes, states = self._by_node(counts), self._by_node(v)
        return spikes, states, self._readout(arrived)

    def _events(self, x: Array, arrivals: Arrivals) -> tuple[Array, Array]:
        """Return where each sample's step begins, and the events behind one another."""
        steps = [
            step
            for k in range(x.shape[1])
            for step in arrivals.events(k, self.order, self.generator(k))
        ]
        start = np.concatenate([[0], np.cumsum([len(step) for step in steps])]).astype(np.int64)
        return start, (np.concatenate(steps) + len(self._fields)).astype(np.int32)

    def _by_node(self, values: Array) -> dict[str, Array]:
        found, first = {}, 0
        for name, node in self._chip.items():
            size = prod(node.shape)
            part = values[:, :, first : first + size]
            found[name] = np.ascontiguousarray(part).reshape(*values.shape[:2], *node.shape)
            first += size
        return found

    def _readout(self, arrived: Array) -> Array:
        node, shape = self.graph.output, self.graph.shapes[self.graph.output_name]
        y = np.zeros((arrived.shape[1], *shape), np.int64)
        found = []
        for step in arrived:
            y = readout_step(step.reshape(y.shape), node, y)
            found.append(y.astype(np.int32))
        return np.stack(found)


FIELDS = 12
"""As many as `event.hpp` has for a neuron."""
NOTHING = np.zeros((0, FIELDS), np.int64)


def _fields(node: Neuron) -> Array:
    """Return [neuron, 12] in the order of `event.hpp`."""
    low, high = node.v_limits
    values = (
        *(node.v_threshold, node.v_reset, low, high),
        low if node.v_min is None else node.v_min,
        0 if node.bias is None else node.bias,
        0 if node.dv is None else node.dv,
        0 if node.leak_subtract is None else node.leak_subtract,
        node.v_init,
        *(node.reset == "hard", node.compare == ">=", node.bias is not None),
    )
    return np.stack([flat(np.asarray(value), node) for value in values], axis=1)


def _rows(graph: Graph, chip: tuple[str, ...], outside: tuple[str, ...]) -> tuple[Rows, Rows]:
    """Return the synapses that act at once, and those that act later."""
    sizes = [(name, prod(graph.shapes[name])) for name in (*chip, graph.output_name)]
    first, count = {}, 0
    for name, size in sizes:
        first[name], count = count, count + size
    parts: list[tuple[Rows, Rows]] = []
    for name in (*chip, *outside):
        found = np.concatenate([np.zeros((4, 0), np.int64), *_of_node(graph, name, first)], axis=1)
        if (np.diff(found[0]) < 0).any():
            # Stable: within a row path by path, and along a path by place.
            found = found[:, np.argsort(found[0], kind="stable")]
        at_once, sources = found[3] == 0, prod(graph.shapes[name])
        parts.append(
            (_laid_out(sources, found[:, at_once]), _laid_out(sources, found[:, ~at_once]))
        )
    now, late = (_joined(list(rows)) for rows in zip(*parts, strict=True))
    return now, late


def _of_node(graph: Graph, name: str, first: dict[str, int]) -> list[Array]:
    """Return the synapses of a node's neurons, each int64 [source, target, weight, lag]."""
    found, size = [], prod(graph.shapes[name])
    for path in paths(graph, name):
        node = graph.nodes[path.target]
        shift = node.state_shift if isinstance(node, Neuron) else 0
        chunk = max(1, CHUNK // prod(_reached(graph.nodes[between]) for between in path.nodes))
        for begin in range(0, size, chunk):
            places = np.arange(begin, min(size, begin + chunk))
            s, t, w = entries(graph, name, path, places)
            lag = np.full(s.size, path.lag)
            found.append(np.stack([s + begin, t + first[path.target], w << shift, lag]))
    return found


def _reached(node: Any) -> int:
    """Return how many places one place behind a node can reach, at most."""
    if isinstance(node, SumPool):
        return prod(node.kernel)
    return int(node.weight[:, :1].size) if isinstance(node, WEIGHTS) else 1


def _laid_out(sources: int, synapses: Array) -> Rows:
    source, *rest = synapses
    start = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=sources))])
    return Rows(start.astype(np.int64), *(np.ascontiguousarray(a, np.int32) for a in rest))


def _joined(parts: list[Rows]) -> Rows:
    starts, synapses = [np.zeros(1, np.int64)], 0
    for rows in parts:
        starts.append(rows.start[1:] + synapses)
        synapses += int(rows.start[-1])
    rest = (
        np.concatenate([getattr(rows, name) for rows in parts])
        for name in ("target", "weight", "lag")
    )
    return Rows(np.concatenate(starts), *rest)
