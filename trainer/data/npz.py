"""`npz:FILE`: the user's own arrays: x, y if labelled, and x_test, y_test as its test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.formats.npz_in import Npz
from ...export.ir.errors import FormatError
from ...export.ir.missing import missing_file
from .dataset import Dataset, tenth_apart

MOST_CLASSES = 1 << 17
"""The largest label is one less: a label is an index, of which heads and tables have a row each."""


def read_npz(path: Path | None, split: str, limit: int | None) -> Dataset:
    """Return `x` [sample, ...] and, where there, `y` [sample] of an npz file.

    The split `test` is `x_test` and `y_test` where the file has them, else `x` and `y` as well:
    the data are then `undivided`. With a limit no more than the first samples are read.

    Floating x becomes float32, integer x stays as it is. Pickled arrays are refused.

    Raises:
        FormatError: for a file that is missing, no npz, without `x`, with values that are not
            finite numbers, or with labels that do not match.
    """
    where = Path(path or "")
    with _opened(where) as file:
        undivided = "x_test" not in file.names
        end = "_test" if split == "test" and not undivided else ""
        count = _count(file, f"x{end}", str(path))
        x = _samples(file.read(f"x{end}", limit), f"x{end}", str(path))
        y = None
        if f"y{end}" in file.names:
            _refuse_labels(file, f"y{end}", count, str(path))
            y = _labels(file.read(f"y{end}", limit), f"y{end}", str(path))
    return Dataset(x, y, f"npz:{path}", split, undivided=undivided)


def undivided_npz(path: Path) -> bool:
    """Return whether a readable npz has no test samples."""
    try:
        with Npz(path) as file:
            return "x_test" not in file.names
    except FormatError:
        return False


def divide_npz(path: Path, limit: int | None) -> tuple[Dataset, Dataset]:
    """Return the training split and the held-out tenth of undivided samples (`load_splits`).

    The tenth is drawn over all of them, as the header counts them; those behind the first `limit`
    of each part are not read.

    Raises:
        InputError: for fewer than 10 samples; FormatError as `read_npz`.
    """
    with _opened(path) as file:
        samples = _count(file, "x", str(path))
    parts = tenth_apart(samples, f"npz:{path}")
    rest, held = (part[:limit] for part in parts)
    data = read_npz(path, "train", int(max(rest[-1], held[-1])) + 1)
    return data.parted(rest, held)


def _opened(path: Path) -> Npz:
    if not path.is_file():
        raise missing_file(path, "an .npz file")
    file, where = Npz(path), str(path)
    if "x" not in file.names:
        file.close()
        listed = ", ".join(sorted(file.names)[:8]) or "nothing"
        near = [name for name in file.names if name.lower().startswith("x")][:1]
        remedy = f"save {near[0] if near else 'the samples'} as x, and labels as y"
        raise FormatError(f"no array 'x', found {listed}", node=where, remedy=remedy)
    if "y_test" in file.names and "x_test" not in file.names:
        file.close()
        remedy = "save the test samples as x_test"
        raise FormatError("array 'y_test' without 'x_test'", node=where, remedy=remedy)
    return file


def _count(file: Npz, name: str, where: str) -> int:
    """Return how many samples there are, once their type and axes are right."""
    header = file.header(name)
    if len(header.shape) < 2:
        shape = list(header.shape)
        raise FormatError(f"{name!r} has shape {shape}, needs [sample, ...]", node=where)
    if header.dtype.kind not in "iubf":
        said = f"{name!r} has dtype {header.dtype}, allowed float or integer"
        raise FormatError(said, node=where)
    return header.shape[0]


def _samples(x: NDArray[Any], name: str, where: str) -> NDArray[Any]:
    if x.dtype.kind != "f":
        return x.astype(np.uint8) if x.dtype.kind == "b" else x
    with np.errstate(over="ignore"):
        narrow: NDArray[np.float32] = x.astype(np.float32, copy=False)
    if not np.isfinite(narrow).all():
        at = "float32" if np.isfinite(x).all() else None
        said = f"values beyond {at}" if at else "NaN or infinity"
        raise FormatError(f"{name!r} holds {said}", node=where)
    return narrow


def _refuse_labels(file: Npz, name: str, samples: int, where: str) -> None:
    """Raise FormatError unless labels are whole numbers, one a sample."""
    header = file.header(name)
    if header.dtype.kind not in "iu" or header.shape != (samples,):
        said = f"{name!r} is {header.dtype} {list(header.shape)}, needs integer [{samples}]"
        raise FormatError(said, node=where)


def _labels(y: NDArray[Any], name: str, where: str) -> NDArray[np.int64]:
    if y.size:
        for label in (int(y.min()), int(y.max())):
            if not 0 <= label < MOST_CLASSES:
                said = f"{name!r} holds {label}, allowed 0 to {MOST_CLASSES - 1}"
                raise FormatError(said, node=where)
    return y.astype(np.int64)
