"""A graph as a plan of the native engine: one op a node, arrays flat, int32 or int8."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..export.ir import (
    Add,
    Array,
    Bound,
    Conv1d,
    Conv2d,
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
from ..export.ir.nodes import Conv, MaxPool
from .reference import static_nodes

if TYPE_CHECKING:
    from . import _native

BYTE_LIMIT = 127
"""Inputs proven within ±127 may be computed by int8 dot products."""
HALF_LIMIT = 32767
"""Partial sums proven within ±32767 may be gathered in int16, at twice the rate of int32."""


def build(engine: Any, graph: Graph, isa: str, choice: str) -> tuple[_native.Plan, dict[str, int]]:
    """Return the plan and the op number of each node (views share their source's).

    Raises:
        ExecutorError: naming a node the engine has no op for.
    """
    plan: _native.Plan = engine.Plan(isa, choice)
    builder = _Builder(plan, graph, bounds(graph))
    # The engine's first op is its input, also where a Delay stands before the Input in the order.
    for name in dict.fromkeys((graph.input_name, *graph.order)):
        builder.ops[name] = builder.add(name)
    for name in graph.of_kind(Delay):
        plan.close_delay(builder.ops[name], builder.ops[graph.inputs(name)[0]])
    plan.set_output(builder.ops[graph.output_name])
    for name in static_nodes(graph):
        plan.mark_fixed(builder.ops[name])
    return plan, builder.ops


class _Builder:
    def __init__(self, plan: _native.Plan, graph: Graph, limits: dict[str, Bound]) -> None:
        self.plan, self.graph, self.limits = plan, graph, limits
        self.ops: dict[str, int] = {}

    def add(self, name: str) -> int:
        """Append one node; return its op number."""
        node, plan, shape = self.graph.nodes[name], self.plan, self.graph.shapes[name]
        if isinstance(node, Input):
            return plan.add_input(prod(shape))
        if isinstance(node, Delay):
            return plan.add_delay(prod(shape), node.steps)
        sources = self.graph.inputs(name)
        reads = [self.ops[source] for source in sources]
        before = self.graph.shapes[sources[0]]
        if isinstance(node, (Flatten, Reshape)):
            return reads[0]
        if isinstance(node, Linear):
            rows, proven = prod(before[:-1]), self._proven(name, sources[0])
            return plan.add_linear(reads[0], rows, node.weight, node.weight_shift, *proven)
        if isinstance(node, (Conv1d, Conv2d)):
            window, proven = _conv_window(node, before, shape), self._proven(name, sources[0])
            return plan.add_conv(
                reads[0], window, node.weight, node.groups, node.weight_shift, *proven
            )
        if isinstance(node, (SumPool, MaxPool)):
            window = _pool_window(name, node, before, shape)
            return plan.add_pool(reads[0], window, isinstance(node, MaxPool))
        if isinstance(node, Transpose):
            index = np.arange(prod(before), dtype=np.int32).reshape(before)
            return plan.add_gather(reads[0], np.ascontiguousarray(index.transpose(node.axes)))
        if isinstance(node, Add):
            return plan.add_sum(reads)
        if isinstance(node, MatMul):
            rows, inner = before[-2:]
            batch = prod(before[:-2])
            return plan.add_matmul(
                reads[0], reads[1], batch, rows, inner, shape[-1], node.transpose_b
            )
        if isinstance(node, Scale):
            return plan.add_scale(reads[0], _full(node.factor, shape))
        if isinstance(node, Neuron):
            return plan.add_neuron(reads[0], _neuron(node))
        if isinstance(node, Output):
            return plan.add_readout(reads[0], _readout(node, shape))
        raise ExecutorError(f"the native engine has no {node.kind}", node=name)

    def _proven(self, name: str, source: str) -> tuple[bool, bool]:
        """Return whether inputs fit int8, and every partial sum of the node int16.

        Inputs that are never negative keep any partial sum within the node's own interval;
        otherwise the sum of |weight| |input| bounds it.
        """
        received, sums = self.limits[source], self.limits[name]
        shift = getattr(self.graph.nodes[name], "weight_shift", 0)
        from_zero = bool((received.low == 0).all())
        largest = (sums.largest if from_zero else sums.magnitude) >> shift
        return received.largest <= BYTE_LIMIT, largest <= HALF_LIMIT


def _full(values: Array, shape: Shape) -> Array:
    return np.ascontiguousarray(np.broadcast_to(values, shape), dtype=np.int32)


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


def _arrays(node: Any, names: dict[str, str], shape: Shape) -> dict[str, Any]:
    """Return the node's given arrays under the engine's names, one entry a neuron."""
    found = {theirs: getattr(node, ours) for theirs, ours in names.items()}
    return {name: _full(array, shape) for name, array in found.items() if array is not None}


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


def _neuron(node: Neuron) -> dict[str, Any]:
    low, high = node.v_limits
    current_low, current_high = symmetric_limits(node.state_bits)
    return {
        **_arrays(node, _NEURON_ARRAYS, node.shape),
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
    return {
        **_arrays(node, {"bias": "bias", "decay": "dv"}, shape),
        "low": low,
        "high": high,
        "shift": node.state_shift,
        "accumulates": node.readout != "none",
    }
