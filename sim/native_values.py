"""How values lie in the native engine: channels last, in the narrowest integer that holds them.

A buffer is [position][channel]; `order` says which entry of the node's own C order each place
holds. Views (Flatten, Reshape, Transpose) change the order alone and move nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..export.ir import Array, Bound, Shape

Order = NDArray[np.int32]
UINT8, INT8, INT32 = 0, 1, 2
"""The kinds of the engine, by number."""


def kind_of(bound: Bound) -> int:
    """Return the narrowest kind that holds every value within the bound."""
    low, high = int(bound.low.min()), int(bound.high.max())
    if low >= 0 and high <= 255:
        return UINT8
    return INT8 if low >= -128 and high <= 127 else INT32


@dataclass(frozen=True, slots=True)
class Value:
    """Where a node's values are.

    Attributes:
        op: the engine's number. order: None where places follow the node's own order.
        fixed: the same at every step of a repeated frame.
    """

    op: int
    positions: int
    channels: int
    kind: int
    order: Order | None = None
    fixed: bool = False

    @property
    def map(self) -> list[int]:
        """The engine's description of one frame."""
        return [self.positions, self.channels, self.kind]

    @property
    def places(self) -> Order:
        """The order, written out."""
        size = self.positions * self.channels
        return np.arange(size, dtype=np.int32) if self.order is None else self.order


def lies_as(value: Value, order: Order | None) -> bool:
    """Return whether the value's places already follow `order`."""
    if value.order is None or order is None:
        return value.order is order
    return np.array_equal(value.order, order)


def simplified(order: Array) -> Order | None:
    """Return the order as int32, None where it is the node's own."""
    flat = order.reshape(-1).astype(np.int32)
    return None if np.array_equal(flat, np.arange(len(flat))) else flat


def channels_last(shape: Shape, leading: int = 1) -> Order | None:
    """Return the order that puts the first `leading` axes of `shape` last."""
    index = np.arange(prod(shape), dtype=np.int32)
    return simplified(index.reshape(prod(shape[:leading]), -1).T)


def transposed(value: Value, before: Shape, axes: Shape) -> Value:
    """Return the same places under permuted axes."""
    index = np.arange(prod(before), dtype=np.int32).reshape(before).transpose(axes).reshape(-1)
    inverse = np.empty_like(index)
    inverse[index] = np.arange(len(index), dtype=np.int32)
    return replace(value, order=simplified(inverse[value.places]))


def rows_of(value: Value, features: int) -> Order | None:
    """Return which row each run of `features` places holds, None where rows are torn apart."""
    runs = value.places.reshape(-1, features)
    first = runs[:, :1]
    if (first % features).any() or not np.array_equal(runs, first + np.arange(features)):
        return None
    rows: Order = first[:, 0] // features
    return rows


def strides_of(value: Value, shape: Shape) -> tuple[int, ...] | None:
    """Return the stride of each axis of `shape` in places, None where there is none."""
    places = value.places
    where = np.empty_like(places)
    where[places] = np.arange(len(places), dtype=np.int32)
    where = where.reshape(shape)
    steps = [int(np.take(where, 1, axis).flat[0]) if n > 1 else 0 for axis, n in enumerate(shape)]
    grid = np.indices(shape)
    expected = sum((step * grid[axis] for axis, step in enumerate(steps)), np.zeros((), np.int64))
    return tuple(steps) if np.array_equal(where, expected) else None


def laid_out(array: Array, shape: Shape, value: Value) -> Array:
    """Return a node's array as the engine reads it: one entry a channel if that suffices."""
    if array.size == 1:
        return np.full(value.channels, array.reshape(-1)[0], np.int32)
    full = np.broadcast_to(array, shape).reshape(-1)[value.places]
    rows = full.reshape(value.positions, value.channels)
    if (rows == rows[0]).all():
        rows = rows[0]
    return np.ascontiguousarray(rows, dtype=np.int32)
