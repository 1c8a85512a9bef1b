"""Labelled pictures in parquet: the types of the columns and the sizes of row groups come first.

A column is `img` (or `image`), a struct with the encoded picture as `bytes`, and `label` (or
`labels`), whole numbers: so Hugging Face writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...export.formats.files import open_regular, refuse_bomb
from ...export.ir.errors import FormatError, MissingPackageError

ROWS = 1024
"""Rows that are taken at once."""
BATCH_BYTES = 256 << 20
LARGEST_PICTURE = 1 << 20
"""Bytes of one encoded picture."""
SMALLER = "write smaller row groups"


@dataclass(frozen=True, slots=True)
class _Table:
    """An open file: its columns, and how many rows may be taken at once."""

    file: Any
    picture: str
    label: str
    batch: int


def count_rows(path: Path) -> int:
    """Return how many rows a file declares.

    Raises:
        FormatError: for a file that is damaged, or without the columns.
    """
    with _opened(path) as table:
        return int(table.file.metadata.num_rows)


def read_rows(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield (encoded picture, label) of each row.

    Raises:
        FormatError: as `count_rows`, and for a row without a picture or a label.
    """
    with _opened(path) as table:
        columns = [f"{table.picture}.bytes", table.label]
        for batch in table.file.iter_batches(table.batch, columns=columns):
            pictures, labels = batch.column(table.picture), batch.column(table.label)
            encoded = pictures.field("bytes")
            if pictures.null_count or encoded.null_count or labels.null_count:
                raise FormatError("a row without a picture or a label", node=str(path))
            for data, label in zip(encoded.to_pylist(), labels.to_pylist(), strict=True):
                if len(data) > LARGEST_PICTURE:
                    said = f"a picture of {len(data):,} bytes, at most {LARGEST_PICTURE:,} are read"
                    raise FormatError(said, node=str(path))
                yield data, label


@contextmanager
def _opened(path: Path) -> Iterator[_Table]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingPackageError.of("pyarrow", "read parquet", "pip install pyarrow") from None
    with open_regular(path) as handle:
        try:
            file = ParquetFile(handle)
            picture, label = _columns(file.schema_arrow, str(path))
            largest, dictionary = _judged(file, (f"{picture}.bytes", label), path)
            # Rows that share a value of a dictionary unpack to more than their group holds.
            batch = max(1, min(ROWS, BATCH_BYTES // max(1, largest))) if dictionary else ROWS
            yield _Table(file, picture, label, batch)
        except (ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            said = " ".join(str(error).split())[:120]
            raise FormatError(f"not a readable parquet: {said}", node=str(path)) from None


def _columns(schema: Any, where: str) -> tuple[str, str]:
    """Return the names of the columns of pictures and labels, once their types are right."""
    from pyarrow import types

    picture = next((name for name in ("img", "image") if name in schema.names), None)
    label = next((name for name in ("label", "labels") if name in schema.names), None)
    if picture is None or label is None:
        listed = ", ".join(schema.names[:8])
        raise FormatError(f"columns {listed}, needs img (or image) and label", node=where)
    kind = schema.field(picture).type
    held = kind.field("bytes").type if types.is_struct(kind) and "bytes" in _names(kind) else None
    if held is None or not (types.is_binary(held) or types.is_large_binary(held)):
        said = f"column {picture} is {str(kind)[:60]}, needs encoded pictures (struct with bytes)"
        raise FormatError(f"{said}: it holds no encoded pictures", node=where)
    if not types.is_integer(schema.field(label).type):
        said = f"column {label} is {str(schema.field(label).type)[:60]}, needs whole numbers"
        raise FormatError(said, node=where)
    return picture, label


def _names(struct: Any) -> list[str]:
    return [struct.field(k).name for k in range(struct.num_fields)]


def _judged(file: Any, paths: tuple[str, str], path: Path) -> tuple[int, bool]:
    """Return the bytes of the largest row group, and whether any has a dictionary.

    Raises:
        FormatError: for a group that unpacks to far more than the file holds.
    """
    largest, dictionary, stored = 0, False, os.stat(path).st_size
    wanted = [k for k in range(len(file.schema)) if file.schema.column(k).path in paths]
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        refuse_bomb(group.total_byte_size, stored, f"row group {index}", str(path), SMALLER)
        # A reader raises for a damaged column; to ask its metadata first would end the process.
        next(file.iter_batches(1, row_groups=[index], columns=list(paths)), None)
        columns = [group.column(k) for k in wanted]
        size = sum(column.total_uncompressed_size for column in columns)
        refuse_bomb(size, stored, f"row group {index}", str(path), SMALLER)
        largest = max(largest, size)
        dictionary = dictionary or any(column.has_dictionary_page for column in columns)
    return largest, dictionary
