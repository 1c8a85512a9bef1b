"""`npz:FILE`: the user's own arrays: x, y if labelled, and x_test, y_test as its test split."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.ir.errors import FormatError
from ..missing import missing_file
from .dataset import Dataset

ARRAYS = ("x", "y", "x_test", "y_test")


def read_npz(path: Path | None, split: str, limit: int | None) -> Dataset:
    """Return `x` [sample, ...] and, where there, `y` [sample] of an npz file.

    The split `test` is `x_test` and `y_test` where the file has them, else `x` and `y` as well:
    the data are then `undivided`.

    Floating x becomes float32, integer x stays as it is. Pickled arrays are refused.

    Raises:
        FormatError: for a file that is missing, no npz, without `x`, with values that are not
            finite numbers, or with labels that do not match.
    """
    arrays = _arrays(Path(path or ""))
    undivided = "x_test" not in arrays
    end = "_test" if split == "test" and not undivided else ""
    x = _samples(arrays[f"x{end}"], f"x{end}", str(path))
    y = _labels(arrays[f"y{end}"], f"y{end}", len(x), str(path)) if f"y{end}" in arrays else None
    return Dataset(x, y, f"npz:{path}", split, undivided=undivided).head(limit)


def undivided_npz(path: Path) -> bool:
    """Return whether a readable npz has no test samples."""
    try:
        with zipfile.ZipFile(path) as file:
            return not {"x_test", "x_test.npy"} & set(file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise missing_file(path, "an .npz file")
    if not zipfile.is_zipfile(path):
        raise FormatError("not an npz (or a truncated one)", node=str(path))
    try:
        with np.load(path, allow_pickle=False) as file:
            if "x" not in file.files:
                found = ", ".join(sorted(file.files)) or "nothing"
                remedy = "save the samples as x, and labels as y"
                raise FormatError(f"no array 'x', found {found}", node=str(path), remedy=remedy)
            if "y_test" in file.files and "x_test" not in file.files:
                remedy = "save the test samples as x_test"
                raise FormatError("array 'y_test' without 'x_test'", node=str(path), remedy=remedy)
            return {name: file[name] for name in file.files if name in ARRAYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"not a readable npz: {error}", node=str(path)) from None


def _samples(x: NDArray[Any], name: str, where: str) -> NDArray[Any]:
    if x.ndim < 2:
        raise FormatError(f"{name!r} has shape {list(x.shape)}, needs [sample, ...]", node=where)
    if x.dtype.kind in "iub":
        return x.astype(np.uint8) if x.dtype.kind == "b" else x
    if x.dtype.kind != "f":
        raise FormatError(f"{name!r} has dtype {x.dtype}, allowed float or integer", node=where)
    if not np.isfinite(x).all():
        raise FormatError(f"{name!r} holds NaN or infinity", node=where)
    return x.astype(np.float32)


def _labels(y: NDArray[Any], name: str, samples: int, where: str) -> NDArray[np.int64]:
    if y.dtype.kind not in "iu" or y.shape != (samples,):
        found = f"{y.dtype} {list(y.shape)}"
        raise FormatError(f"{name!r} is {found}, needs integer [{samples}]", node=where)
    if samples and int(y.min()) < 0:
        raise FormatError(f"{name!r} holds {int(y.min())}, allowed 0 and up", node=where)
    return y.astype(np.int64)
