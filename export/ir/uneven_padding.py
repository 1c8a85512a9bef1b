"""Padding that differs between the two ends of an axis: where it comes from, and how to avoid it.

`same` at stride 1 pads d (k - 1) values, of an odd count the one more behind, as torch has it.
Formats and chips that know one number for both ends get a kernel widened by zeros instead; it
computes the same, but has taps that are no synapses, so nothing is counted on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from .nodes import Array, Conv1d, Conv2d, Shape, paddings

AnyConv = TypeVar("AnyConv", bound=Conv1d | Conv2d)


def same_padding(kernel: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Return what `same` pads in front of each axis, and what behind it."""
    totals = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    return tuple(n // 2 for n in totals), tuple(n - n // 2 for n in totals)


def evenly_padded(node: AnyConv) -> AnyConv:
    """Return the convolution itself, or one of equal values with alike padding at both ends."""
    if node.padding_end is None:
        return node
    weight, dilation, (fronts, ends) = node.weight, list(node.dilation), paddings(node)
    for axis, (front, end) in enumerate(zip(fronts, ends, strict=True)):
        more = abs(end - front)
        if more % dilation[axis]:
            weight, dilation[axis] = _written_out(weight, axis + 2, dilation[axis]), 1
        taps = more // dilation[axis]
        width = [(0, 0)] * weight.ndim
        width[axis + 2] = (taps, 0) if end > front else (0, taps)
        weight = np.pad(weight, width)
    padding = tuple(map(max, fronts, ends))
    return replace(node, weight=weight, padding=padding, padding_end=None, dilation=tuple(dilation))


def _written_out(weight: Array, axis: int, dilation: int) -> Array:
    """Return the kernel with the gaps of its dilation along one axis as zeros."""
    shape = list(weight.shape)
    shape[axis] = dilation * (shape[axis] - 1) + 1
    wide = np.zeros(shape, weight.dtype)
    places: list[slice] = [slice(None)] * weight.ndim
    places[axis] = slice(None, None, dilation)
    wide[tuple(places)] = weight
    return wide
