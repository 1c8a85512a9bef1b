"""The stateless nodes in numpy: one function a kind, the same for floats and integers.

x is [batch, *shape]. Integers arrive as int64; weights multiply in float64 BLAS, which is exact
below 2^53 (the bounds of an integer graph prove it) and 14 times faster than numpy's integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ..export.ir import (
    Add,
    Array,
    AvgPool,
    BatchNorm,
    Conv1d,
    Conv2d,
    Flatten,
    Linear,
    MatMul,
    Reshape,
    Scale,
    SumPool,
    Transpose,
)
from ..export.ir.nodes import Conv, MaxPool
from .windows import padded, windows


def _factor(x: Array) -> Array:
    """Return x as BLAS multiplies it: floats as they are, integers in float64."""
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _product(a: Array, b: Array, dtype: Any) -> Array:
    """Return a @ b in `dtype`, exactly for integers."""
    left = _factor(a)
    return np.asarray(np.matmul(left, b.astype(left.dtype, copy=False)), dtype)


def _finish(node: Any, y: Array, channel_axis: int) -> Array:
    """Apply the left shift and the bias of a weight node."""
    if node.weight_shift:
        y = y * (1 << node.weight_shift)
    if node.bias is None:
        return y
    column = (-1,) + (1,) * (y.ndim - 1 - channel_axis % y.ndim)
    biased: Array = y + node.bias.reshape(column).astype(y.dtype)
    return biased


def linear(node: Linear, x: Array) -> Array:
    """Return [batch, ..., out]."""
    return _finish(node, _product(x, node.weight.T, x.dtype), -1)


def conv(node: Conv, x: Array) -> Array:
    """Return [batch, out, *places]: the weights times the windows as columns, group by group."""
    kernel, g = node.weight.shape[2:], node.groups
    rank = len(kernel)
    view = windows(padded(_factor(x), node), kernel, node.stride, node.dilation)
    batch, places = len(x), view.shape[2 : 2 + rank]
    # [batch, in, *places, *kernel] -> [batch, g, in / g * kernel, places]
    taps_first = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    columns = view.transpose(taps_first).reshape(batch, g, -1, prod(places))
    weight = node.weight.reshape(g, node.weight.shape[0] // g, -1)
    y = _product(weight.astype(columns.dtype, copy=False), columns, x.dtype)
    return _finish(node, y.reshape(batch, -1, *places), 1)


def sum_pool(node: SumPool | AvgPool, x: Array) -> Array:
    """Return the sums over windows; a padded entry adds 0."""
    view = windows(padded(x, node), node.kernel, node.stride)
    summed: Array = view.sum(axis=tuple(range(-len(node.kernel), 0)), dtype=x.dtype)
    return summed


def avg_pool(node: AvgPool, x: Array) -> Array:
    """Return the means over windows, the divisor always prod(kernel)."""
    mean: Array = sum_pool(node, x) / x.dtype.type(prod(node.kernel))
    return mean


def max_pool(node: MaxPool, x: Array) -> Array:
    """Return the maxima over windows; a padded entry is minus infinity."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    view = windows(padded(x, node, lowest), node.kernel, node.stride)
    largest: Array = view.max(axis=tuple(range(-len(node.kernel), 0)))
    return largest


def batch_norm(node: BatchNorm, x: Array) -> Array:
    """Return (x - mean) / sqrt(var + eps) * weight + bias along the node's axis."""
    column = (-1,) + (1,) * (x.ndim - 2 - node.axis)
    gain = (node.weight / np.sqrt(node.var + node.eps)).reshape(column)
    y = (x - node.mean.reshape(column)) * gain + node.bias.reshape(column)
    return y.astype(x.dtype)


def matmul(node: MatMul, a: Array, b: Array) -> Array:
    """Return a @ b over the last two axes."""
    return _product(a, np.swapaxes(b, -1, -2) if node.transpose_b else b, a.dtype)


def add(node: Add, *inputs: Array) -> Array:
    """Return the sum."""
    return np.asarray(sum(inputs[1:], inputs[0]))


Operations: TypeAlias = Mapping[type[Any], Callable[..., Array]]
OPS: Operations = {
    Linear: linear,
    Conv1d: conv,
    Conv2d: conv,
    SumPool: sum_pool,
    AvgPool: avg_pool,
    MaxPool: max_pool,
    BatchNorm: batch_norm,
    Flatten: lambda node, x: x.reshape(len(x), -1),
    Reshape: lambda node, x: x.reshape(len(x), *node.shape),
    Transpose: lambda node, x: x.transpose(0, *(axis + 1 for axis in node.axes)),
    Add: add,
    MatMul: matmul,
    Scale: lambda node, x: x * node.factor.astype(x.dtype),
}
