"""The stateless nodes in ONNX operators, the same for int32 and float32 values [batch, *shape]."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import (
    Add,
    AvgPool,
    BatchNorm,
    Flatten,
    Linear,
    MatMul,
    Reshape,
    Scale,
    Shape,
    Transpose,
    Weight,
)
from ..ir.nodes import MaxPool, Pool, is_padded, paddings
from .onnx_exact import attributes
from .onnx_scope import FLOAT, INT32, Scope


def float_weighted(scope: Scope, node: Weight, x: str) -> str:
    """Return a float weight node: Conv, or MatMul and Add."""
    if isinstance(node, Linear):
        y = scope.op("MatMul", x, scope.parameter("weight", node.weight.T, np.float32))
        return y if node.bias is None else scope.op("Add", y, _bias(scope, node))
    biases = () if node.bias is None else (_bias(scope, node),)
    weight = scope.parameter("weight", node.weight, np.float32)
    return scope.op("Conv", x, weight, *biases, **attributes(node))


def _bias(scope: Scope, node: Weight) -> str:
    return scope.parameter("bias", node.bias, np.float32)


def stateless(
    scope: Scope, node: Any, inputs: list[str], before: Shape, after: Shape, *, integer: bool
) -> str:
    """Return the value of a node that is neither weighted nor stateful."""
    if isinstance(node, (Flatten, Reshape)):
        return scope.op("Reshape", inputs[0], scope.constant([-1, *after], np.int64))
    if isinstance(node, Transpose):
        return scope.op("Transpose", inputs[0], perm=[0, *(axis + 1 for axis in node.axes)])
    if isinstance(node, Add):
        total = inputs[0]
        for other in inputs[1:]:
            total = scope.op("Add", total, other)
        return total
    if isinstance(node, Scale):
        dtype = np.int32 if integer else np.float32
        return scope.op("Mul", inputs[0], scope.parameter("factor", node.factor, dtype))
    if isinstance(node, MatMul):
        return _matmul(scope, node, inputs, len(after))
    if isinstance(node, BatchNorm):
        return _batch_norm(scope, node, inputs[0], len(after))
    return pool(scope, node, inputs[0], before, after, integer=integer)


def _matmul(scope: Scope, node: MatMul, inputs: list[str], rank: int) -> str:
    a, b = inputs
    if node.transpose_b:
        b = scope.op("Transpose", b, perm=[*range(rank - 1), rank, rank - 1])
    return scope.op("MatMul", a, b)


def exact_matmul(scope: Scope, node: MatMul, inputs: list[str], rank: int) -> str:
    """Return the product of two int32 values in float32, which a bound proved exact."""
    floats = [scope.cast(x, FLOAT) for x in inputs]
    return scope.cast(_matmul(scope, node, floats, rank), INT32)


def _batch_norm(scope: Scope, node: BatchNorm, x: str, rank: int) -> str:
    column = (-1,) + (1,) * (rank - 1 - node.axis)
    gain = node.weight / np.sqrt(node.var.astype(np.float64) + node.eps)
    offset = node.bias - node.mean * gain
    scaled = scope.op("Mul", x, scope.parameter("gain", gain.reshape(column), np.float32))
    return scope.op("Add", scaled, scope.parameter("offset", offset.reshape(column), np.float32))


def pool(scope: Scope, node: Pool, x: str, before: Shape, after: Shape, *, integer: bool) -> str:
    """Return a pool, one axis after the other (no int32 pool exists in onnxruntime)."""
    first = len(before) - len(node.kernel)
    maximum = isinstance(node, MaxPool)
    front, end = paddings(node)
    y = _padded(scope, node, x, first, maximum, integer)
    for k, size in enumerate(node.kernel):
        axis = first + k
        whole = size == before[axis] + front[k] + end[k]
        y = (
            scope.op("ReduceMax" if maximum else "ReduceSum", y, _axis(scope, axis), keepdims=1)
            if whole
            else _windows(scope, y, axis, size, node.stride[k], after[axis], maximum)
        )
    if isinstance(node, AvgPool):
        return scope.op("Mul", y, scope.constant(1 / np.prod(node.kernel), np.float32))
    return y


def _axis(scope: Scope, axis: int) -> str:
    """Return the axis of a shape as a tensor, counted with the batch."""
    return scope.constant([axis + 1], np.int64)


def _padded(scope: Scope, node: Pool, x: str, first: int, maximum: bool, integer: bool) -> str:
    if not is_padded(node):
        return x
    front, end = paddings(node)
    leading = [0] * (first + 1)
    pads = scope.constant([*leading, *front, *leading, *end], np.int64)
    dtype: Any = np.int32 if integer else np.float32
    lowest = np.iinfo(np.int32).min if integer else -np.inf
    return scope.op("Pad", x, pads, scope.constant(lowest if maximum else 0, dtype))


def _windows(
    scope: Scope, x: str, axis: int, size: int, stride: int, places: int, maximum: bool
) -> str:
    """Return the sums or maxima of windows along one axis: one strided slice a tap."""
    total = ""
    for tap in range(size):
        bounds = ([tap], [tap + stride * (places - 1) + 1])
        start, end = (scope.constant(bound, np.int64) for bound in bounds)
        step = scope.constant([stride], np.int64)
        part = scope.op("Slice", x, start, end, _axis(scope, axis), step)
        total = scope.op("Max" if maximum else "Add", total, part) if total else part
    return total
