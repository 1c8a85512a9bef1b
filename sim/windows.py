"""Sliding windows over the trailing axes, for convolutions and pools of any rank."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..export.ir import Array, Shape
from ..export.ir.nodes import Conv, Pool, is_padded, paddings


def padded(x: Array, node: Conv | Pool, value: Any = 0) -> Array:
    """Return x with the entries of `value` that a node pads on both ends of each trailing axis."""
    if not is_padded(node):
        return x
    ends = tuple(zip(*paddings(node), strict=True))
    width = [(0, 0)] * (x.ndim - len(ends)) + [*ends]
    return np.pad(x, width, constant_values=value)


def windows(x: Array, kernel: Shape, stride: Shape, dilation: Shape | None = None) -> Array:
    """Return the windows of x [..., *spatial] as a view [..., *places, *kernel]."""
    rank = len(kernel)
    spread = dilation or (1,) * rank
    extent = tuple(d * (k - 1) + 1 for d, k in zip(spread, kernel, strict=True))
    axes = tuple(range(x.ndim - rank, x.ndim))
    view = sliding_window_view(x, extent, axis=axes)
    places = tuple(slice(None, None, s) for s in stride)
    taps = tuple(slice(None, None, d) for d in spread)
    index: tuple[Any, ...] = (Ellipsis, *places, *taps)
    picked: Array = view[index]
    return picked
