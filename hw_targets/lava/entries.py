"""The entries of a linear node's matrix that are not 0, found without the matrix."""

from __future__ import annotations

from math import prod

import numpy as np

from ...export.ir import Array, Conv1d, Conv2d, ExecutorError, Linear, Node, Scale, Shape, SumPool

ENTRY_LIMIT = 1 << 24

Entries = tuple[Array, Array, Array]
"""Rows (places in the flattened result), columns (in the flattened input), values: int64 [n]."""


def entries(name: str, node: Node, shape: Shape, target: Shape) -> Entries:
    """Return the entries of a node from `shape` to `target`, without its weight_shift.

    Raises:
        ExecutorError: for more than ENTRY_LIMIT of them.
    """
    if isinstance(node, Linear):
        return _of_each_token(name, node.weight, prod(shape[:-1]))
    if isinstance(node, (Conv1d, Conv2d)):
        return _of_windows(name, node, node.weight, node.groups, shape, target)
    if isinstance(node, SumPool):
        axes = len(node.kernel)
        maps = prod(shape[:-axes])
        kernel = np.ones((maps, 1, *node.kernel), np.int64)
        each = (maps, *shape[-axes:])
        return _of_windows(name, node, kernel, maps, each, (maps, *target[-axes:]))
    assert isinstance(node, Scale)
    places = np.arange(prod(shape))
    return places, places, np.broadcast_to(node.factor, shape).reshape(-1).astype(np.int64)


def _of_each_token(name: str, weight: Array, tokens: int) -> Entries:
    out, inner = weight.shape
    row, column = np.nonzero(weight)
    _refuse_many(name, tokens * row.size)
    token = np.arange(tokens)[:, None]
    values = np.broadcast_to(weight[row, column].astype(np.int64), (tokens, row.size))
    return (
        (token * out + row).reshape(-1),
        (token * inner + column).reshape(-1),
        values.reshape(-1),
    )


def _of_windows(
    name: str,
    node: Conv1d | Conv2d | SumPool,
    kernel: Array,
    groups: int,
    shape: Shape,
    target: Shape,
) -> Entries:
    """Kernel [out, in / groups, *window]: each weight meets each place of its window in the map."""
    out, inner = kernel.shape[:2]
    filter_, channel, *window = np.nonzero(kernel)
    _refuse_many(name, filter_.size * prod(target[1:]))
    channel = channel + filter_ // (out // groups) * inner
    places = np.indices(target[1:]).reshape(len(target) - 1, 1, -1)
    dilation = getattr(node, "dilation", (1,) * len(window))
    column, inside = channel[:, None], np.ones((filter_.size, places.shape[-1]), bool)
    for axis, (tap, size) in enumerate(zip(window, shape[1:], strict=True)):
        at = places[axis] * node.stride[axis] + tap[:, None] * dilation[axis] - node.padding[axis]
        inside &= (at >= 0) & (at < size)
        column = column * size + at
    row = filter_[:, None] * places.shape[-1] + np.arange(places.shape[-1])
    values = np.broadcast_to(kernel[kernel != 0].astype(np.int64)[:, None], inside.shape)
    return row[inside], column[inside], values[inside]


def _refuse_many(name: str, count: int) -> None:
    if count > ENTRY_LIMIT:
        raise ExecutorError(
            f"would be a matrix of {count} entries, allowed {ENTRY_LIMIT}",
            node=name,
            remedy="use Conv2d on maps and Linear on vectors",
        )
