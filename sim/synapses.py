"""Synapses one source at a time: which neurons an event of one source drives, and by how much."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..export.ir import (
    Add,
    Array,
    Conv1d,
    Conv2d,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Linear,
    Neuron,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
)
from ..export.ir.nodes import Conv


class Column(NamedTuple):
    """What one event does to one neuron node: flat places, ascending, and what each receives."""

    target: str
    lag: int
    places: Array
    weights: Array


CACHED = 1 << 24
"""So many synapses are kept for the next event of their source."""


class Columns:
    """The columns of each source neuron of a graph, worked out when it first fires."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[tuple[str, int], list[Column]] = {}
        self._kept = 0
        for name, node in graph.nodes.items():
            if node.kind in ("MaxPool", "MatMul"):
                raise ExecutorError(
                    f"{node.kind} is no sum over events",
                    node=name,
                    remedy="run it with --timing step",
                )

    def of(self, source: str, place: int) -> list[Column]:
        """Return what an event of neuron number `place` of `source` does."""
        key = (source, place)
        if key in self._known:
            return self._known[key]
        found = list(self._walk(source, np.array([place]), np.array([1], np.int64), 0))
        self._kept += sum(column.places.size for column in found)
        if self._kept < CACHED:
            self._known[key] = found
        return found

    def _walk(self, name: str, places: Array, values: Array, lag: int) -> list[Column]:
        found: list[Column] = []
        graph = self._graph
        for target in graph.consumers(name):
            node = graph.nodes[target]
            if isinstance(node, (Neuron, Output)):
                found.append(Column(target, lag, *_merged(places, values)))
                continue
            more = node.steps if isinstance(node, Delay) else 0
            shapes = (graph.shapes[name], graph.shapes[target])
            moved = FORWARD[type(node)](node, places, values, *shapes)
            found += self._walk(target, *moved, lag + more)
        return found


def _merged(places: Array, values: Array) -> tuple[Array, Array]:
    """Return ascending places, each once; what adds up to 0 is left out."""
    order, inverse = np.unique(places, return_inverse=True)
    summed = np.zeros(order.size, np.int64)
    np.add.at(summed, inverse.reshape(-1), values)
    kept = summed != 0
    return order[kept], summed[kept]


Moved = tuple[Array, Array]


def _linear(node: Linear, places: Array, values: Array, before: Shape, after: Shape) -> Moved:
    out = node.weight.shape[0]
    row, column = np.divmod(places, before[-1])
    reached = row[:, None] * out + np.arange(out)
    weights = node.weight[:, column].T.astype(np.int64) << node.weight_shift
    return reached.reshape(-1), (weights * values[:, None]).reshape(-1)


def _conv(node: Conv, places: Array, values: Array, before: Shape, after: Shape) -> Moved:
    found_places, found_values = [], []
    group_out, group_in = after[0] // node.groups, before[0] // node.groups
    for place, value in zip(places, values, strict=True):
        channel, *at = (int(n) for n in np.unravel_index(place, before))
        group = channel // group_in
        outputs = np.arange(group * group_out, (group + 1) * group_out)
        for tap, spot in _taps(node, at, after[1:]):
            base = int(np.ravel_multi_index(spot, after[1:]))
            found_places.append(outputs * int(np.prod(after[1:])) + base)
            kernels = node.weight[outputs, channel % group_in].reshape(len(outputs), -1)
            at_tap = int(np.ravel_multi_index(tap, node.weight.shape[2:]))
            taken = kernels[:, at_tap].astype(np.int64)
            found_values.append((taken << node.weight_shift) * value)
    if not found_places:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(found_places), np.concatenate(found_values)


def _taps(node: Any, at: list[int], size: Shape) -> list[tuple[Shape, Shape]]:
    """Return the taps of a kernel or window that read a position, and where their output lies."""
    rank = len(at)
    kernel = node.kernel if isinstance(node, SumPool) else node.weight.shape[2:]
    dilation = (1,) * rank if isinstance(node, SumPool) else node.dilation
    axes = []
    for k in range(rank):
        hits = []
        for tap in range(kernel[k]):
            spot, rest = divmod(at[k] + node.padding[k] - tap * dilation[k], node.stride[k])
            if rest == 0 and 0 <= spot < size[k]:
                hits.append((tap, spot))
        axes.append(hits)
    return [
        (tuple(tap for tap, _ in hit), tuple(spot for _, spot in hit)) for hit in product(*axes)
    ]


def _pool(node: SumPool, places: Array, values: Array, before: Shape, after: Shape) -> Moved:
    rank = len(node.kernel)
    found_places, found_values = [], []
    for place, value in zip(places, values, strict=True):
        where = [int(n) for n in np.unravel_index(place, before)]
        lead, at = where[:-rank], where[-rank:]
        for _, spot in _taps(node, at, after[-rank:]):
            found_places.append(int(np.ravel_multi_index((*lead, *spot), after)))
            found_values.append(int(value))
    return np.array(found_places, np.int64), np.array(found_values, np.int64)


def _transpose(node: Transpose, places: Array, values: Array, before: Shape, after: Shape) -> Moved:
    where = np.unravel_index(places, before)
    return np.ravel_multi_index(tuple(where[k] for k in node.axes), after), values


def _scale(node: Scale, places: Array, values: Array, before: Shape, after: Shape) -> Moved:
    factor = np.broadcast_to(node.factor, before).reshape(-1)
    return places, values * factor[places].astype(np.int64)


def _same(node: Any, places: Array, values: Array, before: Shape, after: Shape) -> Moved:
    return places, values


FORWARD: dict[type[Any], Callable[..., Moved]] = {
    Linear: _linear,
    Conv1d: _conv,
    Conv2d: _conv,
    SumPool: _pool,
    Transpose: _transpose,
    Scale: _scale,
    Add: _same,
    Delay: _same,
    Flatten: _same,
    Reshape: _same,
}
