"""The packaged handwritten digits: 1,797 grey images of 8x8 pixels, 1,347 train and 450 test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...export.ir.errors import InputError
from .dataset import Dataset

LICENCE = (
    "CC BY 4.0; Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), "
    "UCI Machine Learning Repository, https://doi.org/10.24432/C50P49"
)
_TRAIN = 1347
_WHITE = 16.0  # pixel values are counts of 4x4 binary blocks, 0..16


def read_digits(path: Path | None, split: str, limit: int | None) -> Dataset:
    """Return the packaged digits, x [sample, 1, 8, 8] in 0..1.

    The split is fixed: the file stores one permutation, its first 1,347 are the training split.
    """
    if path is not None:
        raise InputError(
            f"takes no path, {str(path)!r} given", node="digits", remedy="write digits"
        )
    with np.load(Path(__file__).with_name("digits.npz")) as arrays:
        images, labels, order = arrays["x"], arrays["y"], arrays["order"]
    chosen = (order[:_TRAIN] if split == "train" else order[_TRAIN:])[:limit]
    x = images[chosen, None].astype(np.float32) / np.float32(_WHITE)
    return Dataset(x, labels[chosen].astype(np.int64), "digits", split, LICENCE)
