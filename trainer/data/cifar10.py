"""`cifar10:DIR`: CIFAR-10 as Hugging Face parquet or as the binary release."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...export.formats.files import open_regular, refuse_bomb
from ...export.ir.errors import FormatError
from .cache import cached_path, read_cached, write_cached
from .dataset import Dataset
from .decode import decode_pixels
from .folders import files_below
from .parquet import count_rows, read_rows

LICENCE = (
    "CIFAR-10, A. Krizhevsky (2009), no licence stated; "
    "see https://www.cs.toronto.edu/~kriz/cifar.html"
)
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # label byte, then the planes red, green, blue
_DECODED = _RECORD + 4 * 3 * 32 * 32  # bytes of a sample as it is kept, and as float32
_BINARY = {"train": "data_batch_*.bin", "test": "test_batch.bin"}


def read_cifar10(path: Path | None, split: str, limit: int | None) -> Dataset:
    """Return CIFAR-10, x [sample, 3, 32, 32] in 0..1, from a folder of either release.

    Parquet holds encoded pictures: the whole split is decoded once, into the cache (`cache`).

    Raises:
        FormatError: if the folder holds neither, or a file in it is damaged.
        MissingPackageError: if parquet is there and pyarrow is not.
    """
    folder = Path(path or "")
    parquet = _matching(folder, f"{split}-*.parquet")
    binary = _matching(folder, _BINARY[split])
    if parquet:
        records = _parquet_records(parquet, split, limit)
    elif binary:
        records = _binary_records(binary, limit)
    else:
        raise _no_cifar10(folder, split)
    labels = _check_labels(records[:, 0].astype(np.int64), str(folder))
    pixels = records[:, 1:].reshape(-1, *_SHAPE)
    x = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
    return Dataset(x, labels, f"cifar10:{folder}", split, LICENCE)


def _matching(folder: Path, pattern: str) -> list[Path]:
    if not folder.is_dir():
        return []
    files = files_below(folder, folder, (Path(pattern).suffix,))
    return [file for file in files if fnmatchcase(file.name, pattern)]


def _no_cifar10(folder: Path, split: str) -> FormatError:
    """Say what is missing, and what the folder seems to be instead."""
    node, wanted = f"cifar10:{folder}", f"{split}-*.parquet"
    if not folder.is_dir():
        return FormatError(f"no {wanted}: no such folder", node=node)
    reason = f"no {wanted} and no {_BINARY[split]} in this folder"
    remedy = "give the folder of the parquet or of the binary release"
    if any(folder.glob("**/data_batch_1")):
        reason = "this is the python release, whose pickles could execute code"
    elif any(folder.glob("*/*/*.png")) or any(folder.glob("*/*/*.jp*g")):
        remedy = f"it holds pictures in folders: give imagefolder:{folder}"
    return FormatError(reason, node=node, remedy=remedy)


def _binary_records(files: list[Path], limit: int | None) -> NDArray[np.uint8]:
    """Return [sample, label byte and planes] of the binary release, mapped file by file."""
    parts: list[NDArray[np.uint8]] = []
    for file in files:
        with open_regular(file) as handle:
            size = os.fstat(handle.fileno()).st_size
        if size == 0 or size % _RECORD:
            raise FormatError(f"{size} bytes, not a multiple of {_RECORD}", node=str(file))
        parts.append(np.memmap(file, np.uint8, "r").reshape(-1, _RECORD)[:limit])
    return np.concatenate(parts)[:limit]


def _parquet_records(files: list[Path], split: str, limit: int | None) -> NDArray[np.uint8]:
    """Return records as in the binary release, from the cache where they are decoded already."""
    kept = cached_path(f"cifar10-{split}", files)
    records = read_cached(kept, _RECORD)
    if records is None:
        records = _decode_parquet(files, limit)
        if limit is None:
            write_cached(kept, records)
    return records[:limit]


def _decode_parquet(files: list[Path], limit: int | None) -> NDArray[np.uint8]:
    counts = [count_rows(file) for file in files]
    rows = sum(counts) if limit is None else min(sum(counts), limit)
    stored = sum(file.stat().st_size for file in files)
    where = str(files[0].parent)
    refuse_bomb(rows * _DECODED, stored, f"{rows:,} pictures", where, "give --limit N")
    records = np.empty((rows, _RECORD), np.uint8)
    index = -1
    for index, (data, label) in enumerate(islice(_rows(files), rows)):
        if not 0 <= label <= 9:
            raise FormatError(f"label {label}, allowed 0..9", node=f"{where}: row {index}")
        picture = decode_pixels(data, f"{where}: row {index}", _SHAPE[1:])
        records[index, 0], records[index, 1:] = label, picture.reshape(-1)
    if index + 1 < rows:
        raise FormatError(f"{index + 1} rows, {rows} are declared", node=where)
    return records


def _rows(files: list[Path]) -> Iterator[tuple[bytes, int]]:
    for file in files:
        yield from read_rows(file)


def _check_labels(labels: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        found = f"{int(labels.min())}..{int(labels.max())}"
        raise FormatError(f"labels {found}, allowed 0..9", node=where)
    return labels
