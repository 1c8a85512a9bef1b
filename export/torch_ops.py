"""Weight layers and pools computed by torch on numpy arrays: as fast as a torch module computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .ir import Array, AvgPool, BatchNorm, Conv1d, Conv2d, Linear, MatMul, Shape, SumPool
from .ir.nodes import Conv, MaxPool, paddings


class _Writable:
    """An array that says it may be written: torch warns of others, and nothing here writes."""

    def __init__(self, values: Array) -> None:
        self.values = values
        pointer, _ = values.__array_interface__["data"]
        self.__array_interface__ = {**values.__array_interface__, "data": (pointer, False)}


def _tensor(values: Array) -> Any:
    """Return a tensor of float32 on the values themselves, which is only read."""
    whole = np.require(values, np.float32, ["C"])
    return torch.from_numpy(whole if whole.flags.writeable else np.asarray(_Writable(whole)))


def _weights(node: Any) -> tuple[Any, Any]:
    return _tensor(node.weight), None if node.bias is None else _tensor(node.bias)


def _padded(x: Any, node: Any, value: float = 0.0) -> Any:
    fronts, ends = paddings(node)
    if not (any(fronts) or any(ends)):
        return x
    both: Sequence[tuple[int, int]] = list(zip(fronts, ends, strict=True))
    return functional.pad(x, [n for pair in reversed(both) for n in pair], value=value)


def _values(tensor: Any) -> Array:
    values: Array = tensor.numpy()
    return values


def _linear(node: Linear, x: Array) -> Array:
    return _values(functional.linear(_tensor(x), *_weights(node)))


def _conv(node: Conv, x: Array) -> Array:
    convolved = functional.conv1d if len(node.stride) == 1 else functional.conv2d
    fronts, ends = paddings(node)
    entering, padding = (_tensor(x), fronts) if fronts == ends else (_padded(_tensor(x), node), 0)
    weight, bias = _weights(node)
    options = (node.stride, padding, node.dilation, node.groups)
    return _values(convolved(entering, weight, bias, *options))


def _with_channel(x: Any, rank: int) -> tuple[Any, Shape]:
    """Return x [batch, ...] as [batch, channels, *map], and the axes before the map."""
    lead = x.shape[: x.ndim - rank]
    return x.reshape(lead[0], -1, *x.shape[x.ndim - rank :]), tuple(lead)


def _pooled(node: Any, x: Array, pool: Callable[..., Any], value: float) -> Any:
    rank = len(node.kernel)
    maps, lead = _with_channel(_padded(_tensor(x), node, value), rank)
    found = pool(maps, node.kernel, node.stride)
    return found.reshape(*lead, *found.shape[2:])


def _avg_pool(node: AvgPool | SumPool, x: Array) -> Array:
    pool = functional.avg_pool1d if len(node.kernel) == 1 else functional.avg_pool2d
    return _values(_pooled(node, x, pool, 0.0))


def _sum_pool(node: SumPool, x: Array) -> Array:
    summed: Array = _avg_pool(node, x) * np.float32(prod(node.kernel))
    return summed


def _max_pool(node: MaxPool, x: Array) -> Array:
    pool = functional.max_pool1d if len(node.kernel) == 1 else functional.max_pool2d
    return _values(_pooled(node, x, pool, float("-inf")))


def _batch_norm(node: BatchNorm, x: Array) -> Array:
    entering = np.moveaxis(x, 1 + node.axis, 1)
    numbers = map(_tensor, (node.mean, node.var, node.weight, node.bias))
    mean, var, weight, bias = numbers
    y = functional.batch_norm(_tensor(entering), mean, var, weight, bias, eps=node.eps)
    return np.moveaxis(_values(y), 1, 1 + node.axis)


def _matmul(node: MatMul, a: Array, b: Array) -> Array:
    right = _tensor(b)
    return _values(_tensor(a) @ (right.transpose(-1, -2) if node.transpose_b else right))


TORCH_OPERATIONS: dict[type[Any], Callable[..., Array]] = {
    Linear: _linear,
    Conv1d: _conv,
    Conv2d: _conv,
    AvgPool: _avg_pool,
    SumPool: _sum_pool,
    MaxPool: _max_pool,
    BatchNorm: _batch_norm,
    MatMul: _matmul,
}
"""The costly stateless nodes of float graphs; what is not here numpy computes as fast."""
