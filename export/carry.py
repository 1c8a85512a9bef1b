"""Carry: what an integer on an edge stands for, moved through the nodes that only rearrange.

true value = scale * integer + offset; both broadcast against the edge's shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ir import (
    Array,
    Flatten,
    LoweringError,
    Node,
    Reshape,
    Shape,
    SumPool,
    Transpose,
)
from .ir.nodes import MaxPool, paddings


@dataclass(frozen=True, slots=True)
class Carry:
    """The unit of an edge: float64 `scale` > 0, and `offset` in true units (a bias on its way)."""

    scale: Array
    offset: Array

    @property
    def uniform(self) -> bool:
        """Whether one scale holds for the whole edge."""
        return bool((self.scale == self.scale.flat[0]).all())

    @property
    def has_offset(self) -> bool:
        """Whether a bias is on its way."""
        return bool(self.offset.any())

    def scaled(self, factor: Array) -> Carry:
        """Return the carry of a float Scale node's output: the factor moves into the unit."""
        return Carry(self.scale * factor, self.offset * factor)


def plain(scale: float = 1.0) -> Carry:
    """Return the carry of one scale and no offset."""
    return Carry(np.float64(scale).reshape(()), np.zeros(()))


def through(name: str, node: Node, shape: Shape, carry: Carry) -> Carry:
    """Return the carry behind a node that rearranges or pools values of input `shape`.

    Raises:
        LoweringError: where a scale or bias that varies within a pooling window cannot pass.
    """
    if isinstance(node, (Flatten, Reshape, Transpose)):
        return Carry(_moved(node, shape, carry.scale), _moved(node, shape, carry.offset))
    if isinstance(node, MaxPool):
        rank = len(node.kernel)
        scale, offset = (_alike(name, v, shape, rank) for v in (carry.scale, carry.offset))
        return Carry(scale, offset)
    if isinstance(node, SumPool):
        scale = _alike(name, carry.scale, shape, len(node.kernel))
        return Carry(scale, _summed(node, shape, carry.offset))
    return carry


def _alike(name: str, values: Array, shape: Shape, rank: int) -> Array:
    """Return values that are alike over the last `rank` axes of a shape, one entry an axis."""
    if values.size == 1:
        return values.reshape(())
    full = np.broadcast_to(values, shape)
    least = full.min(axis=tuple(range(-rank, 0)), keepdims=True)
    if (full != least).any():
        raise LoweringError(
            "a scale or bias varies within the pooling windows",
            node=name,
            remedy="put a neuron before the pool, or quantise with one scale a layer",
        )
    return np.asarray(least)


def _summed(node: SumPool, shape: Shape, offset: Array) -> Array:
    """Return what the windows make of the offsets: less where they reach into the padding."""
    rank = len(node.kernel)
    if not offset.any():
        return np.zeros(())
    ends = zip(*paddings(node), strict=True)
    full = np.pad(np.broadcast_to(offset, shape), [(0, 0)] * (len(shape) - rank) + list(ends))
    axes = tuple(range(len(shape) - rank, len(shape)))
    views = np.lib.stride_tricks.sliding_window_view(full, node.kernel, axes)
    steps = (slice(None),) * (len(shape) - rank) + tuple(slice(None, None, s) for s in node.stride)
    return _short(views[steps].sum(axis=tuple(range(-rank, 0))), rank)


def _short(values: Array, rank: int) -> Array:
    """Return values with one entry along the last `rank` axes where they are alike there."""
    place = (slice(None),) * (values.ndim - rank) + (slice(0, 1),) * rank
    first = values[place]
    return np.asarray(first if (values == first).all() else values)


def _moved(node: Flatten | Reshape | Transpose, shape: Shape, values: Array) -> Array:
    if values.size == 1:
        return values.reshape(())
    full = np.broadcast_to(values, shape)
    if isinstance(node, Transpose):
        return np.transpose(full, node.axes)
    return full.reshape(node.shape if isinstance(node, Reshape) else (-1,))
