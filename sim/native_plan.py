"""A graph as a plan of the native engine: layouts, fused neurons, the kinds of values."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..export.ir import (
    Add,
    Array,
    Bound,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    Linear,
    MatMul,
    Neuron,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
    bounds,
)
from ..export.ir.arith import symmetric_limits
from ..export.ir.nodes import Conv, Conv1d, Conv2d, MaxPool
from ..export.ir.uneven_padding import evenly_padded
from .native_fusion import fused_neurons
from .native_values import (
    INT32,
    UINT8,
    Order,
    Value,
    channels_last,
    kind_of,
    laid_out,
    lies_as,
    rows_of,
    simplified,
    strides_of,
    transposed,
)
from .repeated import static_nodes

if TYPE_CHECKING:
    from . import _native


MOST_VALUES = 2**31 - 1
"""Of one node: the engine's places are int32."""


def build(plan: _native.Plan, graph: Graph) -> dict[str, Value]:
    """Fill the plan with the graph's ops; return where each node's values are.

    Raises:
        ExecutorError: naming a node the engine has no op for, or none of that size.
    """
    builder = _Builder(plan, graph, bounds(graph))
    # The engine's first op is its input, also where a Delay stands before the Input in the order.
    for name in dict.fromkeys((graph.input_name, *graph.order)):
        builder.values[name] = builder.add(name)
    for name in graph.of_kind(Delay):
        stored = builder.placed(builder.values[graph.inputs(name)[0]], None)
        plan.close_delay(builder.values[name].op, stored.op)
    plan.set_output(builder.values[graph.output_name].op)
    return builder.values


class _Builder:
    def __init__(self, plan: _native.Plan, graph: Graph, limits: dict[str, Bound]) -> None:
        self.plan, self.graph, self.limits = plan, graph, limits
        self.values: dict[str, Value] = {}
        # Only a direct code is ever one frame repeated.
        self.static = static_nodes(graph) if graph.input.encoding == "direct" else set()
        self.fused = fused_neurons(graph, limits, self.static)
        # What a fused neuron does itself: its weights' value, or the source's, stands for these.
        self.swallowed = {f.add: f.weights for f in self.fused.values() if f.add}
        self.scales = {f.scale for f in self.fused.values() if f.scale}

    def add(self, name: str) -> Value:
        """Append one node; return its value."""
        node: Any = self.graph.nodes[name]
        read = [self.values[source] for source in self.graph.inputs(name) if source in self.values]
        if prod(self.graph.shapes[name]) > MOST_VALUES:
            raise self._too_large(name, f"{prod(self.graph.shapes[name])} values")
        for kinds, method in _METHODS.items():
            if isinstance(node, kinds):
                try:
                    value: Value = method(self, name, node, read)
                except ValueError as error:  # a limit of its offsets, by what the engine says
                    raise self._too_large(name, str(error)) from None
                return value
        raise ExecutorError(f"the native engine has no {node.kind}", node=name)

    @staticmethod
    def _too_large(name: str, reason: str) -> ExecutorError:
        return ExecutorError(
            f"too large for the native engine: {reason}",
            node=name,
            remedy="run it on the reference, or split the layer",
        )

    def placed(self, value: Value, order: Order | None) -> Value:
        """Return the value with its places in `order`, moved if they are not."""
        if lies_as(value, order):
            return value
        where = np.empty(len(value.places), np.int32)
        where[value.places] = np.arange(len(where), dtype=np.int32)
        index = where if order is None else np.ascontiguousarray(where[order])
        return self._made(
            replace(value, op=self.plan.add_permutation(value.op, value.map, index), order=order)
        )

    def _made(self, value: Value) -> Value:
        if value.fixed:
            self.plan.mark_fixed(value.op)
        return value

    def _value(self, name: str, op: int, like: Value, order: Order | None) -> Value:
        """Return node `name`'s value on op `op`, its positions and channels as in `like`."""
        kind, fixed = kind_of(self.limits[name]), name in self.static
        return self._made(Value(op, like.positions, like.channels, kind, order, fixed))

    def _map(self, name: str, positions: int, channels: int) -> Value:
        return Value(-1, positions, channels, kind_of(self.limits[name]))

    def input(self, name: str, node: Input, read: list[Value]) -> Value:
        wanted = self._wanted_by(name)
        order = channels_last(node.shape) if wanted else None
        positions = prod(node.shape[1:]) if wanted else 1
        like = self._map(name, positions, prod(node.shape) // positions)
        index = np.empty(0, np.int32) if order is None else order
        return self._value(name, self.plan.add_input(like.map, index), like, order)

    def _wanted_by(self, name: str) -> bool:
        """Return whether what reads `name` wants channels last."""
        readers = [self.graph.nodes[reader] for reader in self.graph.consumers(name)]
        return any(isinstance(reader, (Conv1d, Conv2d, SumPool, MaxPool)) for reader in readers)

    def linear(self, name: str, node: Linear, read: list[Value]) -> Value:
        """Rows of features may lie in any order; a single row's features too."""
        outputs, features = node.weight.shape
        value, weight = read[0], node.weight
        rows: Order | None = np.zeros(1, np.int32)
        if len(value.places) == features:
            weight = np.ascontiguousarray(weight[:, value.places])
        else:
            rows = rows_of(value, features)
        if rows is None:
            value = self.placed(value, None)
            rows = np.arange(len(value.places) // features, dtype=np.int32)
        window = [features, 1, len(rows), 1, 1, 1, 1, 0, 0, 1, 1, 1, len(rows)]
        op = self._weights(name, node, value, window, weight, 1)
        order = simplified(rows[:, None] * outputs + np.arange(outputs))
        return self._value_of_sums(name, op, len(rows), outputs, order)

    def conv(self, name: str, node: Conv, read: list[Value]) -> Value:
        before, after = self._shapes(name)
        value = self.placed(read[0], channels_last(before))
        if prod(node.weight.shape[2:]) == 1:  # one tap unpadded in front is a plain product there
            node = evenly_padded(node)
        window = _conv_window(node, before, after)
        op = self._weights(name, node, value, window, node.weight, node.groups)
        return self._value_of_sums(name, op, prod(after[1:]), after[0], channels_last(after))

    def _weights(
        self, name: str, node: Any, value: Value, window: list[int], weight: Array, groups: int
    ) -> int:
        largest = self.limits[self.graph.inputs(name)[0]].largest
        return self.plan.add_weights(value.op, window, weight, groups, node.weight_shift, largest)

    def _value_of_sums(
        self, name: str, op: int, positions: int, channels: int, order: Order | None
    ) -> Value:
        return self._made(Value(op, positions, channels, INT32, order, name in self.static))

    def pool(self, name: str, node: SumPool | MaxPool, read: list[Value]) -> Value:
        before, after = self._shapes(name)
        leading = len(before) - len(node.kernel)
        window = _pool_window(name, node, before, after)
        value = self.placed(read[0], channels_last(before, leading))
        like = self._map(name, prod(after[leading:]), prod(after[:leading]))
        op = self.plan.add_pool(value.op, window, isinstance(node, MaxPool), like.kind)
        return self._value(name, op, like, channels_last(after, leading))

    def view(self, name: str, node: Flatten | Reshape, read: list[Value]) -> Value:
        return read[0]

    def transpose(self, name: str, node: Transpose, read: list[Value]) -> Value:
        return transposed(read[0], self._shapes(name)[0], node.axes)

    def sum(self, name: str, node: Add, read: list[Value]) -> Value:
        if name in self.swallowed:
            return self.values[self.swallowed[name]]
        order = read[0].order
        sources = [self.placed(value, order).op for value in read]
        like = self._map(name, read[0].positions, read[0].channels)
        return self._value(name, self.plan.add_sum(sources, like.map), like, order)

    def scale(self, name: str, node: Scale, read: list[Value]) -> Value:
        if name in self.scales:
            return read[0]
        like = self._map(name, read[0].positions, read[0].channels)
        factor = laid_out(node.factor, self._shapes(name)[1], replace(read[0], kind=like.kind))
        op = self.plan.add_scale(read[0].op, like.map, factor)
        return self._value(name, op, like, read[0].order)

    def matmul(self, name: str, node: MatMul, read: list[Value]) -> Value:
        """Rows of the product and of one operand have no gaps: its own layout is free."""
        sources = self.graph.inputs(name)
        a_shape, b_shape = (_as_three(self.graph.shapes[s]) for s in sources)
        a, a_strides = self._strided(read[0], a_shape)
        b, b_strides = self._strided(read[1], b_shape)
        if node.transpose_b:
            b_strides = (b_strides[0], b_strides[2], b_strides[1])
        batch, rows, inner = a_shape
        columns = self._shapes(name)[1][-1]
        by_row = a_strides[1] == 1 and b_strides[2] != 1
        turned = (2, 0, 1) if by_row else (1, 0, 2)
        index = np.arange(batch * rows * columns, dtype=np.int32).reshape(batch, rows, columns)
        order = simplified(index.transpose(turned))
        last, first = (rows, columns) if by_row else (columns, rows)
        y = (last, 1, batch * rows) if by_row else (last, batch * columns, 1)
        like = Value(-1, first, batch * last, INT32)
        op = self.plan.add_matmul(
            a.op, b.op, [batch, rows, inner, columns], [*a_strides, *b_strides, *y], like.map
        )
        return self._value_of_sums(name, op, like.positions, like.channels, order)

    def _strided(self, value: Value, shape: Shape) -> tuple[Value, tuple[int, ...]]:
        found = strides_of(value, shape)
        if found is None:
            value = self.placed(value, None)
            found = strides_of(value, shape)
        assert found is not None
        return value, found

    def delay(self, name: str, node: Delay, read: list[Value]) -> Value:
        like = self._map(name, 1, prod(node.shape))
        return self._value(name, self.plan.add_delay(like.map, node.steps), like, None)

    def neuron(self, name: str, node: Neuron, read: list[Value]) -> Value:
        source = read[0]
        like = replace(source, kind=kind_of(self.limits[name]), fixed=False)
        fields = _neuron(node, like)
        if name not in self.fused:
            op = self.plan.add_neuron(source.op, like.map, fields)
            return self._value(name, op, like, source.order)
        addend: list[int] = []
        factor: Array = np.empty(0, np.int32)
        fusion = self.fused[name]
        if fusion.other:
            other = self.placed(self.values[fusion.other], source.order)
            addend = [other.op]
            if other.kind == UINT8:
                scale: Any = self.graph.nodes[fusion.scale] if fusion.scale else None
                factor = np.ones(1, np.int32) if scale is None else scale.factor
                factor = laid_out(factor, node.shape, like)
        op = self.plan.add_fused_neuron(source.op, like.map, fields, addend, factor)
        return self._value(name, op, like, source.order)

    def output(self, name: str, node: Output, read: list[Value]) -> Value:
        source = self.placed(read[0], None)
        op = self.plan.add_readout(source.op, _readout(node, self._shapes(name)[1]))
        return replace(source, op=op, kind=INT32, fixed=False)

    def _shapes(self, name: str) -> tuple[Shape, Shape]:
        return self.graph.shapes[self.graph.inputs(name)[0]], self.graph.shapes[name]


_METHODS: dict[Any, Any] = {
    Input: _Builder.input,
    Linear: _Builder.linear,
    (Conv1d, Conv2d): _Builder.conv,
    (SumPool, MaxPool): _Builder.pool,
    (Flatten, Reshape): _Builder.view,
    Transpose: _Builder.transpose,
    Add: _Builder.sum,
    Scale: _Builder.scale,
    MatMul: _Builder.matmul,
    Delay: _Builder.delay,
    Neuron: _Builder.neuron,
    Output: _Builder.output,
}


def _as_three(shape: Shape) -> tuple[int, int, int]:
    return prod(shape[:-2]), shape[-2], shape[-1]


def _two(values: Shape, fill: int) -> Shape:
    """Return options of one or two axes as those of two; one axis gets height 1."""
    return values if len(values) == 2 else (fill, *values)


def _conv_window(node: Conv, before: Shape, after: Shape) -> list[int]:
    kernel = _two(node.weight.shape[2:], 1)
    steps = (*_two(node.stride, 1), *_two(node.padding, 0), *_two(node.dilation, 1))
    return [before[0], *_two(before[1:], 1), *kernel, *steps, *_two(after[1:], 1)]


def _pool_window(name: str, node: SumPool | MaxPool, before: Shape, after: Shape) -> list[int]:
    rank = len(node.kernel)
    if rank > 2:
        raise ExecutorError(
            f"pools over {rank} axes, the native engine has 1 and 2",
            node=name,
            remedy="run it on the reference",
        )
    steps = (*_two(node.stride, 1), *_two(node.padding, 0), 1, 1)
    maps = prod(before[: len(before) - rank])
    spatial = (_two(before[-rank:], 1), _two(after[-rank:], 1))
    return [maps, *spatial[0], *_two(node.kernel, 1), *steps, *spatial[1]]


_NEURON_ARRAYS = {
    "threshold": "v_threshold",
    "decay": "dv",
    "current_decay": "du",
    "bias": "bias",
    "bias_in": "bias_in",
    "reset": "v_reset",
    "initial": "v_init",
    "minimum": "v_min",
    "leak": "leak_subtract",
}


def _neuron(node: Neuron, value: Value) -> dict[str, Any]:
    low, high = node.v_limits
    current_low, current_high = symmetric_limits(node.state_bits)
    given = {theirs: getattr(node, ours) for theirs, ours in _NEURON_ARRAYS.items()}
    arrays = {k: laid_out(a, node.shape, value) for k, a in given.items() if a is not None}
    if not node.v_init.any():
        arrays.pop("initial")
    return {
        **arrays,
        "low": low,
        "high": high,
        "current_low": current_low,
        "current_high": current_high,
        "current_bits": node.state_bits,
        "shift": node.state_shift,
        "max_spikes": node.max_spikes_per_step,
        "refractory": node.refractory_steps,
        "current_based": node.current_based,
        "wraps": node.u_range == "wrap",
        "inclusive": node.compare == ">=",
        "reset_kind": node.reset,
    }


def _readout(node: Output, shape: Shape) -> dict[str, Any]:
    low, high = symmetric_limits(node.state_bits)
    given = {"bias": node.bias, "decay": node.dv}
    arrays = {
        name: np.ascontiguousarray(np.broadcast_to(array, shape), dtype=np.int32)
        for name, array in given.items()
        if array is not None
    }
    return {
        **arrays,
        "low": low,
        "high": high,
        "shift": node.state_shift,
        "accumulates": node.readout != "none",
    }
