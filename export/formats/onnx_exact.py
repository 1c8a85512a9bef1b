"""Exact integer products in ONNX: float32 where a bound proves it, digits where it does not.

A float32 sum of integers is exact while every partial sum stays within 2^24. Where the bound of a
node is larger, its input is split into digits (and its weights into two) until each partial product
is exact; the parts are added as int32. The integer form uses ConvInteger / MatMulInteger on
unsigned digits of at most 127, which cannot saturate on a CPU without VNNI: 2 * 127 * 127 < 2^15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from ..ir import Array, Bound, Conv1d, FormatError, Linear, Weight
from ..ir.bounds import FLOAT32_EXACT
from .onnx_scope import FLOAT, INT32, UINT8, Scope

Arithmetic: TypeAlias = Literal["auto", "integer", "exact-float"]
ARITHMETICS: tuple[str, ...] = get_args(Arithmetic)
DIGIT = 128
"""Base of the input digits: 0..127 in each, which any int8 kernel multiplies exactly."""
WEIGHT_DIGIT = 16


def weighted(
    scope: Scope, name: str, node: Weight, x: str, received: Bound, arithmetic: Arithmetic
) -> str:
    """Return the int32 product of an integer weight node with x (int32), shift included.

    Raises:
        FormatError: where no exact form exists, naming the node.
    """
    if arithmetic == "integer":
        y = _by_digits(scope, name, node, x, received, _integer_product)
    elif received.largest * _row_sum(node.weight) <= FLOAT32_EXACT:
        y = _float_product(scope, name, node, node.weight, scope.cast(x, FLOAT))
    else:
        y = _by_digits(scope, name, node, x, received, _float_digit_product)
    if node.weight_shift:
        y = scope.op("Mul", y, scope.constant(1 << node.weight_shift))
    return y


def _row_sum(weight: Array) -> int:
    """Return the largest sum of |weights| of one output."""
    return int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1).max())


def attributes(node: Weight) -> dict[str, Any]:
    """Return the ONNX attributes of a convolution."""
    if isinstance(node, Linear):
        return {}
    return {
        "strides": list(node.stride),
        "pads": [*node.padding, *node.padding],
        "dilations": list(node.dilation),
        "group": node.groups,
    }


def _float_product(scope: Scope, name: str, node: Weight, codes: Array, x: str) -> str:
    """Return Conv or MatMul in float32, as int32; the file holds the int8 codes."""
    held = scope.named(f"{name}.weight", codes.T if isinstance(node, Linear) else codes)
    weight = scope.op("Cast", held, to=FLOAT)
    kind = "MatMul" if isinstance(node, Linear) else "Conv"
    return scope.cast(scope.op(kind, x, weight, **attributes(node)), INT32)


def _by_digits(
    scope: Scope,
    name: str,
    node: Weight,
    x: str,
    received: Bound,
    product: Callable[[Scope, str, Weight, str], str],
) -> str:
    """Return the sum over the digits of x of digit value times product."""
    total = ""
    for sign, digit, place in _digits(scope, x, received):
        part = product(scope, f"{name}.{sign}{place}", node, digit)
        factor = (-1 if sign == "minus" else 1) * DIGIT**place
        if factor != 1:
            part = scope.op("Mul", part, scope.constant(factor))
        total = scope.op("Add", total, part) if total else part
    return total


def _digits(scope: Scope, x: str, received: Bound) -> Iterator[tuple[str, str, int]]:
    """Yield (sign, digit as int32 in 0..127, place) of x = sum of sign * digit * 128^place."""
    zero, base = scope.constant(0), scope.constant(DIGIT)
    low, high = int(received.low.min()), int(received.high.max())
    for sign, limit in (("plus", high), ("minus", -low)):
        if limit <= 0 and not (sign == "plus" and low >= 0):
            continue
        part = x if sign == "plus" else scope.op("Neg", x)
        rest = scope.op("Max", part, zero) if low < 0 else part
        place = 0
        while DIGIT**place <= max(limit, 1):
            yield sign, scope.op("Mod", rest, base) if limit >= DIGIT else rest, place
            rest, place = scope.op("Div", rest, base), place + 1


def _float_digit_product(scope: Scope, name: str, node: Weight, digit: str) -> str:
    """Return the product of one digit, the weights split into two digits where needed."""
    x = scope.cast(digit, FLOAT)
    if (DIGIT - 1) * _row_sum(node.weight) <= FLOAT32_EXACT:
        return _float_product(scope, name, node, node.weight, x)
    high = np.trunc(node.weight / WEIGHT_DIGIT).astype(np.int8)
    low = (node.weight - high * np.int8(WEIGHT_DIGIT)).astype(np.int8)
    if (DIGIT - 1) * max(_row_sum(high), _row_sum(low)) > FLOAT32_EXACT:
        raise FormatError(
            f"a fan-in of {node.weight[0].size} has no exact float32 form",
            node=name,
            remedy="use --arithmetic integer",
        )
    upper = _float_product(scope, f"{name}.high", node, high, x)
    lower = _float_product(scope, f"{name}.low", node, low, x)
    return scope.op("Add", scope.op("Mul", upper, scope.constant(WEIGHT_DIGIT)), lower)


def _integer_product(scope: Scope, name: str, node: Weight, digit: str) -> str:
    """Return ConvInteger or MatMulInteger of a digit as u8 and the codes as s8."""
    x = scope.cast(digit, UINT8)
    if isinstance(node, Linear):
        return scope.op("MatMulInteger", x, scope.named(f"{name}.weight", node.weight.T))
    if not isinstance(node, Conv1d):
        weight = scope.named(f"{name}.weight", node.weight)
        return scope.op("ConvInteger", x, weight, **attributes(node))
    # One axis becomes two: ConvInteger over one axis is not implemented everywhere.
    axis = scope.constant([2], np.int64)
    weight = scope.named(f"{name}.weight", node.weight[:, :, None, :])
    options: dict[str, Any] = {
        "strides": [1, *node.stride],
        "pads": [0, *node.padding, 0, *node.padding],
        "dilations": [1, *node.dilation],
        "group": node.groups,
    }
    y = scope.op("ConvInteger", scope.op("Unsqueeze", x, axis), weight, **options)
    return scope.op("Squeeze", y, axis)
