"""`cifar10:DIR`: CIFAR-10 as Hugging Face parquet or as the binary release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.ir.errors import FormatError, MissingPackageError
from .cache import cached_path, read_cached, write_cached
from .dataset import Dataset
from .decode import decode_pixels

LICENCE = (
    "CIFAR-10, A. Krizhevsky (2009), no licence stated; "
    "see https://www.cs.toronto.edu/~kriz/cifar.html"
)
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # label byte, then the planes red, green, blue
_BINARY = {"train": "data_batch_*.bin", "test": "test_batch.bin"}


def read_cifar10(path: Path | None, split: str, limit: int | None) -> Dataset:
    """Return CIFAR-10, x [sample, 3, 32, 32] in 0..1, from a folder of either release.

    Parquet holds encoded pictures: the whole split is decoded once, into the cache (`cache`).

    Raises:
        FormatError: if the folder holds neither, or a file in it is damaged.
        MissingPackageError: if parquet is there and pyarrow is not.
    """
    folder = Path(path or "")
    parquet = sorted(folder.glob(f"**/{split}-*.parquet"))
    binary = sorted(folder.glob(f"**/{_BINARY[split]}"))
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
        size = file.stat().st_size
        if size == 0 or size % _RECORD:
            raise FormatError(f"{size} bytes, not a multiple of {_RECORD}", node=str(file))
        parts.append(np.memmap(file, np.uint8, "r").reshape(-1, _RECORD))
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
    rows = _parquet_rows(files, limit)
    records = np.empty((len(rows), _RECORD), np.uint8)
    for index, (data, label) in enumerate(rows):
        where = f"{files[0].parent}: row {index}"
        picture = decode_pixels(data, where)
        if picture.shape != _SHAPE:
            raise FormatError(f"picture of {picture.shape[1:]}, needs (32, 32)", node=where)
        if not 0 <= label <= 9:
            raise FormatError(f"label {label}, allowed 0..9", node=where)
        records[index, 0], records[index, 1:] = label, picture.reshape(-1)
    return records


def _parquet_rows(files: list[Path], limit: int | None) -> list[tuple[bytes, int]]:
    """Return (encoded picture, label) of the first `limit` rows."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingPackageError.of("pyarrow", "read parquet", "pip install pyarrow") from None
    rows: list[tuple[bytes, int]] = []
    for file in files:
        try:
            for batch in ParquetFile(file).iter_batches(1024):
                rows += _batch_rows(batch.to_pydict(), str(file))
                if limit is not None and len(rows) >= limit:
                    return rows[:limit]
        except (ArrowException, OSError) as error:
            raise FormatError(f"not a readable parquet: {error}", node=str(file)) from None
    return rows


def _batch_rows(columns: dict[str, list[Any]], where: str) -> list[tuple[bytes, int]]:
    pictures = columns.get("img", columns.get("image"))
    labels = columns.get("label", columns.get("labels"))
    if pictures is None or labels is None:
        found = ", ".join(columns)
        raise FormatError(f"columns {found}, needs img (or image) and label", node=where)
    try:
        return [(p["bytes"], int(n)) for p, n in zip(pictures, labels, strict=True)]
    except (TypeError, KeyError):
        raise FormatError("column img holds no encoded pictures", node=where) from None


def _check_labels(labels: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        found = f"{int(labels.min())}..{int(labels.max())}"
        raise FormatError(f"labels {found}, allowed 0..9", node=where)
    return labels
