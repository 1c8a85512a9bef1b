"""Padding `same`: the output of a convolution has the size of its input, at stride 1."""

from __future__ import annotations

import numpy as np

from .ir import Array, Shape


def same_padding(weight: Array, dilation: Shape) -> tuple[Array, Shape] | None:
    """Return weights [out, in, *kernel] and the padding at both ends that compute `same`.

    d (k - 1) values are padded; of an odd count the one more lies behind, as torch has it. There a
    zero in front of the kernel makes both ends alike; None where dilation keeps it from doing so.
    """
    padding = []
    for axis, step in enumerate(dilation, 2):
        total = step * (weight.shape[axis] - 1)
        if total % 2 and step > 1:
            return None
        if total % 2:
            front = [(int(k == axis), 0) for k in range(weight.ndim)]
            weight = np.pad(weight, front)
        padding.append((total + 1) // 2)
    return weight, tuple(padding)
