"""Windows of a pool that reach beyond the end of the map, and what an average divides by there."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from .ir import Array, Shape


def windows_reached(
    size: int, extent: int, stride: int, begin: int, end: int, ceil_mode: bool
) -> tuple[int, int]:
    """Return how many windows an axis has, and the padding behind up to where they reach.

    With `ceil_mode` one more window begins where any of it lies on the map or before it (as torch
    and ONNX have it), be it the first, of a map that is smaller than the window.
    """
    room = size + begin + end - extent
    if not ceil_mode:
        return room // stride + 1, end
    most = ceil(room / stride) + 1
    if most < 1:
        return most, end
    most -= (most - 1) * stride >= size + begin  # starts behind the map
    return most, end + max(0, (most - 1) * stride - room)


def divisors(
    sizes: Shape,
    extents: Shape,
    strides: Shape,
    begins: Shape,
    counts: Shape,
    counted: Sequence[tuple[int, int]],
) -> Array:
    """Return how many values an average divides by at each place, [*counts].

    Args:
        counted: by axis, how many of the padding values before the map and behind it count.
    """
    places: Any = np.ones((), np.int64)
    axes = zip(sizes, extents, strides, begins, counts, counted, strict=True)
    for size, extent, stride, begin, count, (before, behind) in axes:
        starts = np.arange(count) * stride - begin
        covered = np.minimum(starts + extent, size + behind) - np.maximum(starts, -before)
        places = np.multiply.outer(places, covered)
    return np.asarray(places)
