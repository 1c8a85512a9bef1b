"""Synapses by source: which neurons an event of each source drives, and by how much.

What stands between a source and the neurons it drives is linear, so a unit at each source is
carried through node by node, as entries (source, place, value) of a sparse matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Entries(NamedTuple):
    """A sparse matrix: source number, flat place, value; int64 arrays of one length."""

    source: Array
    place: Array
    value: Array


class Path(NamedTuple):
    """A way from a source to a neuron node or readout: the nodes between them, and their delay."""

    nodes: tuple[str, ...]
    target: str
    lag: int


def paths(graph: Graph, source: str) -> list[Path]:
    """Return the ways from `source` to the neurons and readouts behind it, in a fixed order."""
    return list(_walk(graph, source, (), 0))


def _walk(graph: Graph, here: str, nodes: tuple[str, ...], lag: int) -> Iterator[Path]:
    for name in graph.consumers(here):
        node = graph.nodes[name]
        if isinstance(node, (Neuron, Output)):
            yield Path(nodes, name, lag)
        else:
            more = node.steps if isinstance(node, Delay) else 0
            yield from _walk(graph, name, (*nodes, name), lag + more)


def refuse_nonlinear(graph: Graph) -> None:
    """Raise ExecutorError for a node that is no sum over events."""
    for name, node in graph.nodes.items():
        if node.kind in ("MaxPool", "MatMul"):
            raise ExecutorError(
                f"{node.kind} is no sum over events", node=name, remedy="run it with --timing step"
            )


def entries(graph: Graph, source: str, path: Path, places: Array) -> Entries:
    """Return the synapses of neurons `places` of `source` along a path, numbered as in `places`.

    Ascending in source and place, each pair once; what adds up to 0 is left out.
    """
    found = Entries(np.arange(len(places)), places, np.ones(len(places), np.int64))
    before = graph.shapes[source]
    for name in path.nodes:
        node, after = graph.nodes[name], graph.shapes[name]
        found = FORWARD[type(node)](node, found, before, after)
        before = after
    return _merged(found, int(np.prod(before)))


def _merged(found: Entries, size: int) -> Entries:
    keys = found.source * size + found.place
    order = np.argsort(keys)
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    summed = np.add.reduceat(found.value[order], first) if first.size else found.value
    kept = summed != 0
    source, place = np.divmod(keys[first[kept]], size)
    return Entries(source, place, summed[kept])


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

    def of(self, source: str, place: int) -> list[Column]:
        """Return what an event of neuron number `place` of `source` does."""
        key = (source, place)
        if key in self._known:
            return self._known[key]
        found = []
        for path in paths(self._graph, source):
            _, places, weights = entries(self._graph, source, path, np.array([place]))
            found.append(Column(path.target, path.lag, places, weights))
        self._kept += sum(column.places.size for column in found)
        if self._kept < CACHED:
            self._known[key] = found
        return found


def _linear(node: Linear, x: Entries, before: Shape, after: Shape) -> Entries:
    out = node.weight.shape[0]
    row, column = np.divmod(x.place, before[-1])
    reached = row[:, None] * out + np.arange(out)
    weights = node.weight[:, column].T.astype(np.int64) << node.weight_shift
    return Entries(
        np.repeat(x.source, out), reached.reshape(-1), (weights * x.value[:, None]).reshape(-1)
    )


def _conv(node: Conv, x: Entries, before: Shape, after: Shape) -> Entries:
    outputs, inputs = after[0] // node.groups, before[0] // node.groups
    channel, *at = np.unravel_index(x.place, before)
    parts = []
    for tap in np.ndindex(*node.weight.shape[2:]):
        hit, spot = _read(at, tap, node.dilation, node.stride, node.padding, after[1:])
        own, inside = np.divmod(channel[hit], inputs)
        out = own[:, None] * outputs + np.arange(outputs)
        codes = (out, inside[:, None], *tap)
        weights = node.weight[codes].astype(np.int64) << node.weight_shift
        places = out * int(np.prod(after[1:])) + spot[:, None]
        values = weights * x.value[hit][:, None]
        parts.append((np.repeat(x.source[hit], outputs), places.reshape(-1), values.reshape(-1)))
    return _joined(parts)


def _pool(node: SumPool, x: Entries, before: Shape, after: Shape) -> Entries:
    rank = len(node.kernel)
    where = np.unravel_index(x.place, before)
    lead = np.zeros(x.place.size, np.int64)
    for size, part in zip(before[:-rank], where[:-rank], strict=True):
        lead = lead * size + part
    parts = []
    for tap in np.ndindex(*node.kernel):
        hit, spot = _read(where[-rank:], tap, (1,) * rank, node.stride, node.padding, after[-rank:])
        places = lead[hit] * int(np.prod(after[-rank:])) + spot
        parts.append((x.source[hit], places, x.value[hit]))
    return _joined(parts)


def _read(
    at: Any, tap: Shape, dilation: Shape, stride: Shape, padding: Shape, size: Shape
) -> tuple[Array, Array]:
    """Return which positions `at` (an array an axis) a tap reads, and the flat place of each."""
    inside = np.ones(len(at[0]), bool)
    spot = np.zeros(len(at[0]), np.int64)
    for axis, here in enumerate(at):
        shifted = here + padding[axis] - tap[axis] * dilation[axis]
        place, rest = np.divmod(shifted, stride[axis])
        inside &= (rest == 0) & (place >= 0) & (place < size[axis])
        spot = spot * size[axis] + place
    hit = np.flatnonzero(inside)
    return hit, spot[hit]


def _joined(parts: list[tuple[Array, Array, Array]]) -> Entries:
    return Entries(*(np.concatenate(kind) for kind in zip(*parts, strict=True)))


def _transpose(node: Transpose, x: Entries, before: Shape, after: Shape) -> Entries:
    where = np.unravel_index(x.place, before)
    return x._replace(place=np.ravel_multi_index(tuple(where[k] for k in node.axes), after))


def _scale(node: Scale, x: Entries, before: Shape, after: Shape) -> Entries:
    factor = np.broadcast_to(node.factor, before).reshape(-1)
    return x._replace(value=x.value * factor[x.place].astype(np.int64))


def _same(node: Any, x: Entries, before: Shape, after: Shape) -> Entries:
    return x


FORWARD: dict[type[Any], Callable[..., Entries]] = {
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
