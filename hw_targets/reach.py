"""Reach: through how many synapses each source of spikes drives chosen neurons of a layer.

The connectivity between a layer's current and the spikes that make it is linear, so the map is the
adjoint of the graph between them with every weight taken as 1: walked backwards, from the layer's
neurons to the Neurons and the Input that feed them. Borders, strides and groups are exact; a
synapse of weight 0 counts, as in SOPs. Pooling before the weights is part of a synapse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..export.ir import (
    WEIGHTS,
    Add,
    Array,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MatMul,
    MaxPool,
    Neuron,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
)
from ..export.ir.nodes import Conv


class _Place(NamedTuple):
    """A node on the way back, behind Delays of `lag` steps in all and weights of `bits` bits."""

    name: str
    lag: int = 0
    bits: int = 0


def reach(graph: Graph, layer: str, chosen: Array, *, effective: bool = False) -> dict[str, Array]:
    """Return, per source, the synapses [part, *source shape] into parts of a neuron node.

    A source is a Neuron or the Input; a Delay on the way is part of the synapse.

    Args:
        layer: a Neuron, or the Output. chosen: [part, *shape], 1 where a neuron belongs to the
            part, else 0. effective: leave out synapses of weight zero.
    """
    found: dict[str, Array] = {}
    for here, values in _walk(graph, layer, chosen, effective):
        _put(found, here.name, values)
    return found


def synapses_into(graph: Graph, layer: str) -> tuple[int, int]:
    """Return how many synapses a neuron node or readout has, and the bits of their weights.

    Counted as `reach` does: what pools, factors and plain additions pass on is synapses, too. A
    spike that is added as it is has a weight of one bit.
    """
    count = bits = 0
    chosen = np.ones((1, *graph.shapes[layer]), np.int32)
    for here, values in _walk(graph, layer, chosen, effective=False):
        small, _, copies = collapsed(values)
        there = int(small.sum(dtype=np.int64)) * copies
        count, bits = count + there, bits + there * max(1, here.bits)
    return count, bits


def _walk(
    graph: Graph, layer: str, chosen: Array, effective: bool
) -> Iterator[tuple[_Place, Array]]:
    """Yield sources (a Neuron or the Input, once for each lag and width) and their synapses."""
    waiting: dict[_Place, Array] = {}
    for source in graph.inputs(layer):
        _put(waiting, _Place(source), chosen.astype(np.int32))
    place: dict[str, int] = {}
    while waiting:
        # Latest first, so that a node is left only when all that it feeds has been added up. What
        # stands behind a Delay comes later in the order: it is walked on with what it has then.
        if len(waiting) > 1 and not place:
            place = {name: k for k, name in enumerate(graph.order)}
        here = max(waiting, key=lambda s: (-s.lag, place.get(s.name, 0)))
        values = waiting.pop(here)
        node = graph.nodes[here.name]
        if isinstance(node, (Neuron, Input)):
            yield here, values
            continue
        lag = here.lag + (node.steps if isinstance(node, Delay) else 0)
        bits = max(here.bits, _bits(node))
        table = {**ADJOINTS, **EFFECTIVE} if effective else ADJOINTS
        back = table.get(type(node))
        if back is None:
            continue
        for source in graph.inputs(here.name):
            before = graph.shapes[source]
            _put(waiting, _Place(source, lag, bits), back(node, values, before))


def _bits(node: Any) -> int:
    """Return the signed width of what a node multiplies by, 0 where it does not."""
    if isinstance(node, WEIGHTS):
        return node.bits or 8
    if isinstance(node, Scale):
        return int(np.abs(node.factor.astype(np.int64)).max()).bit_length() + 1
    return 0


def _put(table: dict[Any, Array], key: Any, values: Array) -> None:
    table[key] = table[key] + values if key in table else values


def _linear(node: Linear, values: Array, before: Shape) -> Array:
    summed = values.sum(axis=-1, keepdims=True, dtype=np.int32)
    return np.broadcast_to(summed, (len(values), *before))


def _conv(node: Conv, values: Array, before: Shape) -> Array:
    parts, places = len(values), values.shape[2:]
    grouped = values.reshape(parts, node.groups, -1, *places).sum(axis=2, dtype=np.int32)
    kernel = node.weight.shape[2:]
    back = _scatter(grouped, kernel, node.stride, node.padding, node.dilation, before[1:])
    if node.groups == 1:
        return np.broadcast_to(back, (parts, *before))
    return np.repeat(back, before[0] // node.groups, axis=1)


def _linear_effective(node: Linear, values: Array, before: Shape) -> Array:
    back: Array = values @ (node.weight != 0).astype(np.int32)
    return back


def _conv_effective(node: Conv, values: Array, before: Shape) -> Array:
    rank, parts = len(node.stride), len(values)
    places = values.shape[2:]
    grouped = values.reshape(parts, node.groups, -1, *places)
    there = (node.weight != 0).astype(np.int32)
    by_group = there.reshape(node.groups, -1, *there.shape[1:])
    found = np.zeros((parts, *before), np.int32)
    for tap in np.ndindex(*node.weight.shape[2:]):
        own = by_group[(slice(None),) * 3 + tap]  # [group, out, in]
        share = np.einsum("pgo...,goi->pgi...", grouped, own).reshape(parts, before[0], *places)
        shift = tuple(p - t * d for p, t, d in zip(node.padding, tap, node.dilation, strict=True))
        found += _scatter(share, (1,) * rank, node.stride, shift, (1,) * rank, before[1:])
    return found


def _pool(node: SumPool | MaxPool, values: Array, before: Shape) -> Array:
    rank = len(node.kernel)
    once = (1,) * rank
    return _scatter(values, node.kernel, node.stride, node.padding, once, before[-rank:])


def _scatter(
    values: Array, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, size: Shape
) -> Array:
    """Return values [..., *places] added to every input position [..., *size] they read."""
    rank = len(kernel)
    found = np.zeros((*values.shape[:-rank], *size), np.int32)
    for tap in np.ndindex(*kernel):
        seen, read = [], []
        for axis in range(rank):
            at = np.arange(values.shape[axis - rank]) * stride[axis] - padding[axis]
            at = at + tap[axis] * dilation[axis]
            inside = (at >= 0) & (at < size[axis])
            seen.append(np.flatnonzero(inside))
            read.append(at[inside])
        lead = tuple(np.arange(n) for n in values.shape[:-rank])
        found[np.ix_(*lead, *read)] += values[np.ix_(*lead, *seen)]
    return found


def _transpose(node: Transpose, values: Array, before: Shape) -> Array:
    inverse = np.argsort(node.axes)
    back: Array = values.transpose(0, *(int(axis) + 1 for axis in inverse))
    return back


def _same(node: Any, values: Array, before: Shape) -> Array:
    return values


def _reshaped(node: Any, values: Array, before: Shape) -> Array:
    back: Array = values.reshape(len(values), *before)
    return back


ADJOINTS: dict[type[Any], Callable[..., Array]] = {
    Linear: _linear,
    Conv1d: _conv,
    Conv2d: _conv,
    SumPool: _pool,
    MaxPool: _pool,
    Flatten: _reshaped,
    Reshape: _reshaped,
    Transpose: _transpose,
    Add: _same,
    Scale: _same,
    Delay: _same,
}
"""MatMul has none: what it drives depends on its other operand."""
EFFECTIVE: dict[type[Any], Callable[..., Array]] = {
    Linear: _linear_effective,
    Conv1d: _conv_effective,
    Conv2d: _conv_effective,
}


def collapsed(values: Array) -> tuple[Array, tuple[int, ...], int]:
    """Return a reach map without the source axes along which it is one value repeated by view.

    Also those axes of the source's own shape, and how many sources each remaining value stands for.
    """
    axes = tuple(k for k in range(1, values.ndim) if values.strides[k] == 0 and values.shape[k] > 1)
    kept = tuple(slice(0, 1) if k in axes else slice(None) for k in range(values.ndim))
    copies = int(np.prod([values.shape[k] for k in axes], initial=1))
    return values[kept], tuple(k - 1 for k in axes), copies


def weights_into(graph: Graph, layer: str) -> tuple[str, ...]:
    """Return the weight nodes whose current reaches `layer` without passing another neuron."""
    found: list[str] = []
    seen: set[str] = set()
    waiting = list(graph.inputs(layer))
    while waiting:
        here = waiting.pop(0)
        node = graph.nodes[here]
        if here in seen:
            continue
        seen.add(here)
        if isinstance(node, (*WEIGHTS, MatMul)):
            found.append(here)
        elif not isinstance(node, Neuron):
            waiting += graph.inputs(here)
    return tuple(found)


def sources_into(graph: Graph, name: str) -> tuple[str, ...]:
    """Return the neurons, or the input, whose spikes come to a node without passing a neuron."""
    found: list[str] = []
    seen: set[str] = set()
    waiting = list(graph.inputs(name))
    while waiting:
        here = waiting.pop(0)
        if here in seen:
            continue
        seen.add(here)
        if isinstance(graph.nodes[here], (Neuron, Input)):
            found.append(here)
        else:
            waiting += graph.inputs(here)
    return tuple(found)
