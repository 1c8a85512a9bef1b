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
from ..ir.nodes import paddings
from .onnx_scope import FLOAT, INT32, UINT8, Scope

Arithmetic: TypeAlias = Literal["auto", "integer", "exact-float"]
ARITHMETICS: tuple[str, ...] = get_args(Arithmetic)
DIGIT = 128
"""Base of the input digits: 0..127 in each, which any int8 kernel multiplies exactly."""
WEIGHT_DIGIT = 16


def weighted(scope: Scope, node: Weight, x: str, received: Bound, arithmetic: Arithmetic) -> str:
    """Return the int32 product of an integer weight node with x (int32), shift included.

    Args:
        received: what x can be, from which exactness is proven.
        arithmetic: `auto` is float32 in one product, in digits where that is not exact, and
            integer where neither is.

    Raises:
        FormatError: where `exact-float` has no exact form.
    """
    if arithmetic != "integer" and received.largest * _row_sum(node.weight) <= FLOAT32_EXACT:
        y = _float_product(scope, "weight", node, node.weight, scope.cast(x, FLOAT))
    elif arithmetic != "integer" and _digits_are_exact(node):
        y = _by_digits(scope, node, x, received, _float_digit_product)
    elif arithmetic != "exact-float":
        y = _by_digits(scope, node, x, received, _integer_product)
    else:
        raise FormatError(
            f"a fan-in of {node.weight[0].size} has no exact float32 form",
            node=scope.prefix,
            remedy="use --arithmetic auto",
        )
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
    front, end = paddings(node)
    return {
        "strides": list(node.stride),
        "pads": [*front, *end],
        "dilations": list(node.dilation),
        "group": node.groups,
    }


def _float_product(scope: Scope, name: str, node: Weight, codes: Array, x: str) -> str:
    """Return Conv or MatMul in float32, as int32; the file holds the int8 codes."""
    held = scope.parameter(name, codes.T if isinstance(node, Linear) else codes, np.int8)
    kind = "MatMul" if isinstance(node, Linear) else "Conv"
    product = scope.op(kind, x, scope.cast(held, FLOAT), **attributes(node))
    return scope.cast(product, INT32)


def _by_digits(
    scope: Scope,
    node: Weight,
    x: str,
    received: Bound,
    product: Callable[[Scope, Weight, str], str],
) -> str:
    """Return the sum over the digits of x of digit value times product."""
    total = ""
    for factor, digit in _digits(scope, x, received):
        part = product(scope, node, digit)
        if factor != 1:
            part = scope.op("Mul", part, scope.constant(factor))
        total = scope.op("Add", total, part) if total else part
    return total


def _digits(scope: Scope, x: str, received: Bound) -> Iterator[tuple[int, str]]:
    """Yield (factor, digit as int32 in 0..127) of x = sum of factor * digit, factor ±128^place."""
    low, high = int(received.low.min()), int(received.high.max())
    for sign, limit in ((1, high), (-1, -low)):
        if limit <= 0 and not (sign == 1 and low >= 0):
            continue
        part = x if sign == 1 else scope.op("Neg", x)
        rest = scope.op("Max", part, scope.constant(0)) if low < 0 else part
        place = 1
        while place <= max(limit, 1):
            more = limit >= place * DIGIT
            yield sign * place, scope.op("Mod", rest, scope.constant(DIGIT)) if more else rest
            place *= DIGIT
            rest = scope.op("Div", rest, scope.constant(DIGIT)) if place <= limit else rest


def _halves(weight: Array) -> tuple[Array, Array]:
    """Return (high, low) int8 with weight = 16 high + low."""
    high = np.trunc(weight / WEIGHT_DIGIT).astype(np.int8)
    return high, (weight - high * np.int8(WEIGHT_DIGIT)).astype(np.int8)


def _digits_are_exact(node: Weight) -> bool:
    """Whether float32 multiplies a digit of x by the weights, or by their halves, exactly."""
    rows = [_row_sum(codes) for codes in _halves(node.weight)]
    return (DIGIT - 1) * min(_row_sum(node.weight), max(rows)) <= FLOAT32_EXACT


def _float_digit_product(scope: Scope, node: Weight, digit: str) -> str:
    """Return the product of one digit, the weights split into two where needed."""
    x = scope.cast(digit, FLOAT)
    if (DIGIT - 1) * _row_sum(node.weight) <= FLOAT32_EXACT:
        return _float_product(scope, "weight", node, node.weight, x)
    high, low = _halves(node.weight)
    upper = _float_product(scope, "weight_high", node, high, x)
    lower = _float_product(scope, "weight_low", node, low, x)
    return scope.op("Add", scope.op("Mul", upper, scope.constant(WEIGHT_DIGIT)), lower)


def _integer_product(scope: Scope, node: Weight, digit: str) -> str:
    """Return ConvInteger or MatMulInteger of a digit as u8 and the codes as s8."""
    x = scope.cast(digit, UINT8)
    if isinstance(node, Linear):
        return scope.op("MatMulInteger", x, scope.parameter("weight", node.weight.T, np.int8))
    if not isinstance(node, Conv1d):
        weight = scope.parameter("weight", node.weight, np.int8)
        return scope.op("ConvInteger", x, weight, **attributes(node))
    # One axis becomes two: ConvInteger over one axis is not implemented everywhere.
    axis = scope.constant([2], np.int64)
    weight = scope.parameter("weight", node.weight[:, :, None, :], np.int8)
    front, end = paddings(node)
    options: dict[str, Any] = {
        "strides": [1, *node.stride],
        "pads": [0, *front, 0, *end],
        "dilations": [1, *node.dilation],
        "group": node.groups,
    }
    y = scope.op("ConvInteger", scope.op("Unsqueeze", x, axis), weight, **options)
    return scope.op("Squeeze", y, axis)
