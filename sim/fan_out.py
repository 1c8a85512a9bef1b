"""Fan-out maps: how many synapses each input of a weight node really has.

Borders, stride, dilation and groups are taken into account; a map is a constant of the graph, so
counting SOPs is one dot product with the non-zero inputs.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..export.ir import WEIGHTS, Array, Graph, Linear, Shape, Weight
from ..export.ir.arith import Ints
from ..export.ir.digest import digest
from ..export.ir.nodes import Conv


def fan_out(node: Weight, before: Shape, after: Shape, *, effective: bool = False) -> Ints:
    """Return the synapses of each input of a weight node, int64 of shape `before`.

    Args:
        before, after: the shapes of its input and output.
        effective: leave out synapses of weight zero.
    """
    reached = (node.weight != 0) if effective else np.ones(node.weight.shape, bool)
    if isinstance(node, Linear):
        return np.broadcast_to(reached.sum(axis=0, dtype=np.int64), before)
    return _conv_fan_out(node, reached, before, after)


def _conv_fan_out(node: Conv, reached: Array, before: Shape, after: Shape) -> Ints:
    """Add, tap by tap, the output channels that see each input position through that tap."""
    out_per_group = reached.shape[0] // node.groups
    by_group = reached.reshape(node.groups, out_per_group, *reached.shape[1:])
    # [channel, *kernel]: how many outputs of the channel's group have this tap.
    outputs = by_group.sum(axis=1, dtype=np.int64).reshape(before[0], *reached.shape[2:])
    found = np.zeros(before, np.int64)
    for tap in np.ndindex(*reached.shape[2:]):
        seen = [_positions(axis, k, node, before, after) for axis, k in enumerate(tap)]
        column = (-1,) + (1,) * len(tap)
        place: tuple[slice | int, ...] = (slice(None), *tap)
        found[np.ix_(np.arange(before[0]), *seen)] += outputs[place].reshape(column)
    return found


def _positions(axis: int, tap: int, node: Conv, before: Shape, after: Shape) -> Ints:
    """Return the input positions along one axis that tap number `tap` reads, inside the map."""
    places = np.arange(after[axis + 1])
    read = places * node.stride[axis] - node.padding[axis] + tap * node.dilation[axis]
    return read[(read >= 0) & (read < before[axis + 1])]


class FanOuts:
    """The fan-out maps of a graph's weight nodes, each worked out once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._weights = {n: node for n, node in graph.nodes.items() if isinstance(node, WEIGHTS)}
        self._maps: dict[tuple[str, bool], Ints] = {}

    @cached_property
    def digest(self) -> str:
        """The digest of the graph."""
        return digest(self._graph)

    def of(self, name: str, *, effective: bool) -> Ints:
        """Return the map of one weight node (see `fan_out`)."""
        key = (name, effective)
        if key not in self._maps:
            shapes = self._graph.shapes
            before = shapes[self._graph.inputs(name)[0]]
            node = self._weights[name]
            self._maps[key] = fan_out(node, before, shapes[name], effective=effective)
        return self._maps[key]


def synapses(node: Weight, before: Shape, after: Shape, *, effective: bool = False) -> int:
    """Return how many synapses a weight node has, as single connections."""
    return int(fan_out(node, before, after, effective=effective).sum())
