"""`cifar10:DIR`: CIFAR-10 as Hugging Face parquet or as the binary release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.ir.errors import FormatError, MissingPackageError
from .dataset import Dataset
from .decode import decode_rgb

LICENCE = "CIFAR-10, A. Krizhevsky (2009), no licence stated; see https://www.cs.toronto.edu/~kriz"
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # label byte, then the planes red, green, blue
_BINARY = {"train": "data_batch_*.bin", "test": "test_batch.bin"}


def read_cifar10(path: Path | None, split: str, limit: int | None) -> Dataset:
    """Return CIFAR-10, x [sample, 3, 32, 32] in 0..1, from a folder of either release.

    Raises:
        FormatError: if the folder holds neither, or a file in it is damaged.
        MissingPackageError: if parquet is there and pyarrow is not.
    """
    folder = Path(path or "")
    parquet = sorted(folder.glob(f"**/{split}-*.parquet"))
    binary = sorted(folder.glob(f"**/{_BINARY[split]}"))
    if parquet:
        x, y = _read_parquet(parquet, limit)
    elif binary:
        x, y = _read_binary(binary, limit)
    else:
        raise FormatError(
            f"no {split}-*.parquet and no {_BINARY[split]} in this folder",
            node=f"cifar10:{folder}",
            remedy="give the folder of the parquet or of the binary (not the python) release",
        )
    return Dataset(x, y, f"cifar10:{folder}", split, LICENCE)


def _read_binary(files: list[Path], limit: int | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    for file in files:
        size = file.stat().st_size
        if size == 0 or size % _RECORD:
            raise FormatError(f"{size} bytes, not a multiple of {_RECORD}", node=str(file))
    records = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, _RECORD) for file in files])
    records = records[:limit]
    x = records[:, 1:].reshape(-1, *_SHAPE).astype(np.float32) / np.float32(255)
    return x, _check_labels(records[:, 0].astype(np.int64), str(files[0].parent))


def _read_parquet(files: list[Path], limit: int | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    rows = _parquet_rows(files, limit)
    x = np.empty((len(rows), *_SHAPE), np.float32)
    for index, (data, _) in enumerate(rows):
        where = f"{files[0].parent}: row {index}"
        picture = decode_rgb(data, where)
        if picture.shape != _SHAPE:
            raise FormatError(f"picture of {picture.shape[1:]}, needs (32, 32)", node=where)
        x[index] = picture
    labels = np.array([label for _, label in rows], np.int64)
    return x, _check_labels(labels, str(files[0].parent))


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
