"""Worst-case bounds of an integer graph: no accumulator or state can leave int32 unforeseen.

Intervals come from the weights and the bounds of what enters, never from data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import networkx as nx
import numpy as np

from .arith import Ints
from .errors import BoundsError
from .graph import Graph
from .nodes import (
    WEIGHTS,
    Add,
    Array,
    Conv,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Input,
    Linear,
    MatMul,
    MaxPool,
    Neuron,
    Node,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
    is_padded,
)
from .spike_bounds import most_spikes

INT32_LIMIT = 1 << 31
GROWING = 64
"""Rounds in which the spikes around a loop may settle before their cap is taken."""
FLOAT32_EXACT = 1 << 24
"""Integers up to 2^24 and every partial sum below it are exact in float32."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a node can emit in the worst case.

    Attributes:
        low, high: int64, broadcastable to the node's shape; inclusive.
        magnitude: the largest |partial sum| on the way, in any order of addition.
    """

    low: Ints
    high: Ints
    magnitude: int

    @property
    def largest(self) -> int:
        """The largest |value|."""
        return int(max(np.abs(self.low).max(), np.abs(self.high).max()))

    @property
    def exact_in_float32(self) -> bool:
        """Whether float32 arithmetic computes this node without rounding (magnitude <= 2^24)."""
        return self.magnitude <= FLOAT32_EXACT


def bounds(graph: Graph, *, states: bool = True) -> dict[str, Bound]:
    """Return the bound of each node of an integer graph.

    Args:
        states: prove also that no membrane or readout can leave int32.

    Raises:
        BoundsError: naming the node whose accumulator, current or membrane could leave int32.
    """
    several = _several_on_loops(graph)
    if not several:
        return _settled(graph, states, 2, several)
    try:
        return _settled(graph, states, GROWING, frozenset())
    except BoundsError:
        return _up_to_the_cap(graph, states, several)


def _up_to_the_cap(graph: Graph, states: bool, several: frozenset[str]) -> dict[str, Bound]:
    """Bound the spikes around loops, which may breed, by `max_spikes_per_step` alone."""
    try:
        return _settled(graph, states, 2, several)
    except BoundsError as error:
        net: nx.MultiDiGraph[Any] = graph.networkx()
        if not any(nx.has_path(net, name, error.node) for name in several):
            raise
        raise BoundsError(
            f"{error.reason}: several spikes a step around a loop may bring more each time",
            node=error.node,
            remedy=f"use smaller recurrent weights, or a smaller max_spikes_per_step of "
            f"{', '.join(sorted(several))}",
        ) from None


def _several_on_loops(graph: Graph) -> frozenset[str]:
    """Return the neurons on loops that may spike several times a step."""
    if not graph.of_kind(Delay):
        return frozenset()
    net: nx.MultiDiGraph[Any] = graph.networkx()
    loops = [part for part in nx.strongly_connected_components(net) if len(part) > 1]
    several = {n for n, node in graph.neurons.items() if node.max_spikes_per_step > 1}
    return frozenset(several.intersection(set[str]().union(*loops)))


def _settled(graph: Graph, states: bool, rounds: int, capped: frozenset[str]) -> dict[str, Bound]:
    """Return bounds that hold on from step to step.

    Args:
        rounds: in which they have to settle, beside one for each Delay.
        capped: neurons whose spikes are bounded by `max_spikes_per_step` alone.
    """
    zero = Bound(np.zeros((), np.int64), np.zeros((), np.int64), 0)
    delays = dict.fromkeys(graph.of_kind(Delay), zero)
    for _ in range(rounds + len(delays)):
        found = _walk(graph, delays, states, capped)
        settled = {name: _with_zero(found[graph.inputs(name)[0]]) for name in delays}
        if all(_same(settled[name], delays[name]) for name in delays):
            return found
        delays = settled
    worst = max(delays, key=lambda name: delays[name].largest)
    raise BoundsError(
        "the values around this loop grow without bound",
        node=worst,
        remedy="put a Neuron into the loop",
    )


def _walk(
    graph: Graph, delays: dict[str, Bound], states: bool, capped: frozenset[str]
) -> dict[str, Bound]:
    found: dict[str, Bound] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, Delay):
            found[name] = delays[name]
            continue
        sources = graph.inputs(name)
        inputs = [found[source] for source in sources]
        shapes = [graph.shapes[source] for source in sources]
        bound = _capped(node) if name in capped else RULES[type(node)](node, shapes, *inputs)
        if bound.magnitude >= INT32_LIMIT:
            raise BoundsError(
                f"worst-case sum {bound.magnitude} exceeds the int32 limit {INT32_LIMIT - 1}",
                node=name,
                remedy="use fewer weight bits, a smaller fan-in or a smaller input range",
            )
        found[name] = bound
        if states and isinstance(node, (Neuron, Output)):
            _check_state(name, node, inputs[0])
    return found


def _same(a: Bound, b: Bound) -> bool:
    return np.array_equal(a.low, b.low) and np.array_equal(a.high, b.high)


def _with_zero(bound: Bound) -> Bound:
    return Bound(np.minimum(bound.low, 0), np.maximum(bound.high, 0), bound.magnitude)


def _interval(low: Array, high: Array) -> Bound:
    magnitude = int(max(np.abs(low).max(), np.abs(high).max()))
    return Bound(low.astype(np.int64), high.astype(np.int64), magnitude)


def _input(node: Input, shapes: list[Shape]) -> Bound:
    return _interval(np.array(node.low), np.array(node.high))


def _per_channel(bound: Bound, shape: Shape, axis: int) -> tuple[Ints, Ints]:
    others = tuple(k for k in range(len(shape)) if k != axis % len(shape))
    low = np.broadcast_to(bound.low, shape).min(axis=others)
    return low, np.broadcast_to(bound.high, shape).max(axis=others)


def _signed_sums(weight: Array) -> tuple[Ints, Ints]:
    """Return the sums of the positive and of the negated negative weights, [out, in]."""
    w = weight.reshape(*weight.shape[:2], -1)
    minus: Ints = np.minimum(w, 0).sum(axis=2, dtype=np.int64)
    return np.maximum(w, 0).sum(axis=2, dtype=np.int64), -minus


def _products(weight: Array, low: Ints, high: Ints, shift: int) -> tuple[Ints, Ints, int]:
    """Return low, high [out] and magnitude of sum over [in, kernel] of weight * x, shifted left."""
    plus, minus = _signed_sums(weight)
    lowest = (plus * low - minus * high).sum(axis=1)
    highest = (plus * high - minus * low).sum(axis=1)
    largest = ((plus + minus) * np.maximum(np.abs(low), np.abs(high))).sum(axis=1)
    scale = 1 << shift
    return lowest * scale, highest * scale, int(largest.max()) * scale


def _linear(node: Linear, shapes: list[Shape], x: Bound) -> Bound:
    low, high = _per_channel(x, shapes[0], -1)
    return Bound(*_products(node.weight, low, high, node.weight_shift))


def _conv(node: Conv, shapes: list[Shape], x: Bound) -> Bound:
    low, high = _per_channel(x, shapes[0], 0)
    if is_padded(node):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    out = node.weight.shape[0] // node.groups
    per_group = node.weight.shape[1]
    parts = [
        _products(
            node.weight[g * out : (g + 1) * out],
            low[g * per_group : (g + 1) * per_group],
            high[g * per_group : (g + 1) * per_group],
            node.weight_shift,
        )
        for g in range(node.groups)
    ]
    column = (-1,) + (1,) * len(node.stride)
    return Bound(
        np.concatenate([p[0] for p in parts]).reshape(column),
        np.concatenate([p[1] for p in parts]).reshape(column),
        max(p[2] for p in parts),
    )


def _sum_pool(node: SumPool, shapes: list[Shape], x: Bound) -> Bound:
    low, high = _over_windows(x, shapes[0], len(node.kernel))
    if is_padded(node):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    return _interval(low * prod(node.kernel), high * prod(node.kernel))


def _over_windows(x: Bound, shape: Shape, rank: int) -> tuple[Ints, Ints]:
    axes = tuple(range(len(shape) - rank, len(shape)))
    low = np.broadcast_to(x.low, shape).min(axis=axes, keepdims=True)
    return low, np.broadcast_to(x.high, shape).max(axis=axes, keepdims=True)


def _max_pool(node: MaxPool, shapes: list[Shape], x: Bound) -> Bound:
    return _interval(*_over_windows(x, shapes[0], len(node.kernel)))


def _view(node: Any, shapes: list[Shape], x: Bound) -> Bound:
    def moved(values: Ints) -> Ints:
        if values.size == 1:
            return values.reshape(())
        full = np.broadcast_to(values, shapes[0])
        if isinstance(node, Transpose):
            return np.transpose(full, node.axes)
        return full.reshape(node.shape if isinstance(node, Reshape) else (-1,))

    return Bound(moved(x.low), moved(x.high), x.magnitude)


def _add(node: Add, shapes: list[Shape], *inputs: Bound) -> Bound:
    low = sum((b.low for b in inputs), np.zeros((), np.int64))
    high = sum((b.high for b in inputs), np.zeros((), np.int64))
    return Bound(np.asarray(low), np.asarray(high), sum(b.largest for b in inputs))


def _matmul(node: MatMul, shapes: list[Shape], a: Bound, b: Bound) -> Bound:
    inner = shapes[0][-1]
    corners = [int(x) * int(y) for x in _ends(a) for y in _ends(b)]
    low, high = np.array(inner * min(corners)), np.array(inner * max(corners))
    return Bound(low, high, inner * a.largest * b.largest)


def _ends(bound: Bound) -> tuple[int, int]:
    return int(bound.low.min()), int(bound.high.max())


def _scale(node: Scale, shapes: list[Shape], x: Bound) -> Bound:
    factor = node.factor.astype(np.int64)
    ends = (factor * x.low, factor * x.high)
    return _interval(np.minimum(*ends), np.maximum(*ends))


def _capped(node: Node) -> Bound:
    assert isinstance(node, Neuron)
    return _interval(np.array(0), np.array(node.max_spikes_per_step))


def _neuron(node: Neuron, shapes: list[Shape], x: Bound) -> Bound:
    return _interval(np.array(0), most_spikes(node, x.low, x.high))


RULES: dict[type[Any], Callable[..., Bound]] = {
    Input: _input,
    Linear: _linear,
    Conv1d: _conv,
    Conv2d: _conv,
    SumPool: _sum_pool,
    MaxPool: _max_pool,
    Flatten: _view,
    Reshape: _view,
    Transpose: _view,
    Add: _add,
    MatMul: _matmul,
    Scale: _scale,
    Neuron: _neuron,
    Output: lambda node, shapes, x: x,
}


def _largest(values: Array | None) -> int:
    return 0 if values is None else int(np.abs(values.astype(np.int64)).max())


def _check_state(name: str, node: Neuron | Output, x: Bound) -> None:
    """Prove 2^(w-1) + max|u| + max|bias| < 2^31, and the like for u (`docs/semantics.md`)."""
    if isinstance(node, Output) and node.readout == "none":
        return
    half = 1 << (node.state_bits - 1)
    current = x.largest << node.state_shift
    bias = _largest(node.bias)
    if isinstance(node, Neuron):
        current += _largest(node.bias_in)
        if node.current_based:
            _check_current(name, node, half, current)
            current = half
        if node.reset == "soft_after_decay":
            # s v_threshold <= v', which is saturated.
            most = _largest(node.v_threshold) * node.max_spikes_per_step
            bias += min(most, max(map(abs, node.v_limits)))
    total = half + current + bias
    if total >= INT32_LIMIT:
        raise BoundsError(
            f"worst-case membrane {total} exceeds the int32 limit {INT32_LIMIT - 1} "
            f"(state {half} + current {current} + bias {bias})",
            node=name,
            remedy="use fewer weight bits, a smaller fan-in, or fewer state bits",
        )


def _check_current(name: str, node: Neuron, half: int, current: int) -> None:
    wraps = node.u_range == "wrap"
    total, limit = half + current, 3 * half if wraps else INT32_LIMIT
    if total >= min(limit, INT32_LIMIT):
        rule = "u wraps once only" if wraps else "int32"
        raise BoundsError(
            f"worst-case current {total} exceeds the limit {min(limit, INT32_LIMIT) - 1} ({rule})",
            node=name,
            remedy="use fewer weight bits or a smaller fan-in",
        )


def accumulators(graph: Graph) -> dict[str, Bound]:
    """Return the bounds of the weight and MatMul nodes, from which executors pick widths."""
    found = bounds(graph)
    return {name: found[name] for name in graph.of_kind(*WEIGHTS, MatMul)}
