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
from ..ir.nodes import MaxPool, Pool
from .onnx_exact import attributes
from .onnx_scope import FLOAT, INT32, Scope


def float_weighted(scope: Scope, name: str, node: Weight, x: str) -> str:
    """Return a float weight node: Conv, or MatMul and Add."""
    weight = node.weight.astype(np.float32)
    if isinstance(node, Linear):
        y = scope.op("MatMul", x, scope.named(f"{name}.weight", weight.T))
        return y if node.bias is None else scope.op("Add", y, _vector(scope, f"{name}.bias", node))
    inputs = [scope.named(f"{name}.weight", weight)]
    if node.bias is not None:
        inputs.append(_vector(scope, f"{name}.bias", node))
    return scope.op("Conv", x, *inputs, **attributes(node))


def _vector(scope: Scope, name: str, node: Weight) -> str:
    assert node.bias is not None
    return scope.named(name, node.bias.astype(np.float32))


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
        return scope.op("Mul", inputs[0], scope.constant(node.factor, dtype))
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
    scaled = scope.op("Mul", x, scope.constant(gain.reshape(column), np.float32))
    return scope.op("Add", scaled, scope.constant(offset.reshape(column), np.float32))


def pool(scope: Scope, node: Pool, x: str, before: Shape, after: Shape, *, integer: bool) -> str:
    """Return a pool as the sum or maximum of one slice a tap (no int32 pool exists)."""
    rank = len(node.kernel)
    maximum = isinstance(node, MaxPool)
    combine = "Max" if maximum else "Add"
    padded = _padded(scope, node, x, len(before), maximum, integer)
    total = ""
    for tap in np.ndindex(*node.kernel):
        part = _slice(scope, padded, tap, node.stride, after[-rank:], len(before))
        total = scope.op(combine, total, part) if total else part
    if isinstance(node, AvgPool):
        share = scope.constant(1 / np.prod(node.kernel), np.float32)
        return scope.op("Mul", total, share)
    return total


def _padded(scope: Scope, node: Pool, x: str, rank: int, maximum: bool, integer: bool) -> str:
    if not any(node.padding):
        return x
    front = [0] * (rank + 1 - len(node.padding))
    pads = scope.constant([*front, *node.padding, *front, *node.padding], np.int64)
    dtype: Any = np.int32 if integer else np.float32
    lowest = np.iinfo(np.int32).min if integer else -np.inf
    return scope.op("Pad", x, pads, scope.constant(lowest if maximum else 0, dtype))


def _slice(
    scope: Scope, x: str, tap: tuple[int, ...], stride: Shape, places: Shape, rank: int
) -> str:
    axes = list(range(rank + 1 - len(tap), rank + 1))
    ends = [k + s * (n - 1) + 1 for k, s, n in zip(tap, stride, places, strict=True)]
    vectors = (list(tap), ends, axes, list(stride))
    return scope.op("Slice", x, *(scope.constant(vector, np.int64) for vector in vectors))
