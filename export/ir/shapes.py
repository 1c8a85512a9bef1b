"""Shape inference: one rule a node kind, from the shapes of its inputs to its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from .errors import GraphError
from .nodes import (
    KINDS,
    Add,
    AvgPool,
    BatchNorm,
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
    Pool,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
    paddings,
)


class ShapeMismatch(Exception):
    """Why shapes do not compose; `infer` adds the node."""


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise ShapeMismatch(reason)


def window_count(size: int, kernel: int, stride: int, padded: int, dilation: int = 1) -> int:
    """Return how many windows fit one axis: floor((size + padded - d(k - 1) - 1) / s) + 1.

    Args:
        padded: at both ends together.
    """
    return (size + padded - dilation * (kernel - 1) - 1) // stride + 1


def _windows(spatial: Shape, kernel: Shape, node: Conv | Pool, dilation: Shape) -> Shape:
    rank, stride, (front, end) = len(kernel), node.stride, paddings(node)
    _need(len(spatial) == rank, f"{len(spatial)} spatial axes {spatial}, kernel has {rank}")
    entries = {"stride": stride, "padding": front, "padding_end": end, "dilation": dilation}
    for name, value in entries.items():
        _need(len(value) == rank, f"{name} {value} has not the {rank} entries of the kernel")
    _need(min((*kernel, *stride, *dilation)) >= 1, "kernel, stride and dilation must be at least 1")
    said = f"padding {front}" if front == end else f"padding {front} in front and {end} behind"
    _need(min(*front, *end) >= 0, f"{said} is negative")
    both = tuple(a + b for a, b in zip(front, end, strict=True))
    out = tuple(map(window_count, spatial, kernel, stride, both, dilation))
    _need(min(out) >= 1, f"kernel {kernel} does not fit map {spatial} with {said}")
    return out


def _input(node: Input) -> Shape:
    _need(min(node.shape, default=1) >= 1, f"shape {node.shape} is empty")
    return node.shape


def _linear(node: Linear, x: Shape) -> Shape:
    _need(node.weight.ndim == 2, f"weight has {node.weight.ndim} axes, a Linear has 2")
    out, fan_in = node.weight.shape
    _need(len(x) >= 1 and x[-1] == fan_in, f"weight takes {fan_in} features, input is {x}")
    return (*x[:-1], out)


def _conv(node: Conv, x: Shape) -> Shape:
    rank = 1 if isinstance(node, Conv1d) else 2
    _need(node.weight.ndim == rank + 2, f"weight has {node.weight.ndim} axes, not {rank + 2}")
    out, per_group = node.weight.shape[:2]
    _need(node.groups >= 1 and out % node.groups == 0, f"{out} channels in {node.groups} groups")
    _need(len(x) == rank + 1, f"input is {x}, needs a channel and {rank} spatial axes")
    _need(
        x[0] == per_group * node.groups,
        f"weight takes {per_group * node.groups} channels, not {x[0]}",
    )
    kernel = node.weight.shape[2:]
    return (out, *_windows(x[1:], kernel, node, node.dilation))


def _pool(node: Pool, x: Shape) -> Shape:
    rank = len(node.kernel)
    _need(1 <= rank <= len(x), f"a kernel of {rank} axes on input {x}")
    split, ones = len(x) - rank, (1,) * rank
    out = _windows(x[split:], node.kernel, node, ones)
    if isinstance(node, MaxPool):
        _need(_all_reach(node, x[split:], out), f"padding {node.padding} fills a whole window")
    return (*x[:split], *out)


def _all_reach(node: MaxPool, sizes: Shape, counts: Shape) -> bool:
    """Whether each window has a value of the map: the first and the last of each axis have."""
    axes = zip(sizes, counts, node.kernel, node.stride, node.padding, strict=True)
    return all(p < k and (n - 1) * s - p < size for size, n, k, s, p in axes)


def _batch_norm(node: BatchNorm, x: Shape) -> Shape:
    _need(0 <= node.axis < len(x), f"axis {node.axis} of input {x}")
    for name in ("mean", "var", "weight", "bias"):
        shape = getattr(node, name).shape
        _need(shape == (x[node.axis],), f"{name} is {shape}, the axis has {x[node.axis]} entries")
    return x


def _reshape(node: Reshape, x: Shape) -> Shape:
    _need(min(node.shape, default=1) >= 1, f"shape {node.shape} is empty")
    _need(prod(node.shape) == prod(x), f"{x} holds {prod(x)} values, {node.shape} does not")
    return node.shape


def _transpose(node: Transpose, x: Shape) -> Shape:
    _need(sorted(node.axes) == list(range(len(x))), f"axes {node.axes} do not permute input {x}")
    return tuple(x[axis] for axis in node.axes)


def _add(node: Add, *inputs: Shape) -> Shape:
    _need(len(set(inputs)) == 1, f"inputs of different shapes {', '.join(map(str, inputs))}")
    return inputs[0]


def _matmul(node: MatMul, a: Shape, b: Shape) -> Shape:
    _need(len(a) == len(b) >= 2 and a[:-2] == b[:-2], f"shapes {a} and {b} do not multiply")
    rows, inner = (b[-1], b[-2]) if not node.transpose_b else (b[-2], b[-1])
    _need(a[-1] == inner, f"inner axes {a[-1]} and {inner} differ")
    return (*a[:-1], rows)


def _scale(node: Scale, x: Shape) -> Shape:
    _need(broadcasts(node.factor.shape, x), f"factor {node.factor.shape} does not broadcast to {x}")
    return x


def _neuron(node: Neuron, x: Shape) -> Shape:
    _need(x == node.shape, f"declared shape {node.shape}, input is {x}")
    return node.shape


def _delay(node: Delay, x: Shape) -> Shape:
    _need(x == node.shape, f"declared shape {node.shape}, input is {x}")
    return node.shape


def broadcasts(shape: Shape, to: Shape) -> bool:
    """Return whether an array of `shape` broadcasts to exactly `to`."""
    if len(shape) > len(to):
        return False
    tail = to[len(to) - len(shape) :]
    return all(n in (1, m) for n, m in zip(shape, tail, strict=True))


RULES: dict[type[Any], Callable[..., Shape]] = {
    Input: _input,
    Linear: _linear,
    Conv1d: _conv,
    Conv2d: _conv,
    SumPool: _pool,
    AvgPool: _pool,
    MaxPool: _pool,
    BatchNorm: _batch_norm,
    Flatten: lambda node, x: (prod(x),),
    Reshape: _reshape,
    Transpose: _transpose,
    Add: _add,
    MatMul: _matmul,
    Scale: _scale,
    Delay: _delay,
    Neuron: _neuron,
    Output: lambda node, x: x,
}
assert RULES.keys() == set(KINDS.values())


def infer(
    order: tuple[str, ...], nodes: Mapping[str, Node], inputs: Mapping[str, tuple[str, ...]]
) -> dict[str, Shape]:
    """Return the output shape of each node, walking `order` (delays first known by declaration).

    Raises:
        GraphError: naming the node whose inputs do not compose.
    """
    shapes: dict[str, Shape] = {
        n: node.shape for n, node in nodes.items() if isinstance(node, Delay)
    }
    for name in (*order, *shapes):
        node = nodes[name]
        if isinstance(node, Delay) and any(i not in shapes for i in inputs[name]):
            continue
        try:
            _need(node.arity in (None, len(inputs[name])), f"{len(inputs[name])} inputs")
            shapes[name] = RULES[type(node)](node, *(shapes[i] for i in inputs[name]))
        except ShapeMismatch as error:
            raise GraphError(str(error), node=name, remedy="make the shapes agree") from None
    return shapes
