"""Reads copies of a parquet file, each with one byte of its footer changed: run as a process."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from spikewright.export.ir.errors import FormatError
from spikewright.trainer.data.parquet import read_rows


def main(path: Path) -> None:
    """Print how many rows of the copies were read."""
    picture = {"bytes": b"x" * 9, "path": "a"}
    table = pa.table({"img": pa.array([picture] * 2), "label": pa.array([0, 1])})
    parquet.write_table(table, path)  # type: ignore[no-untyped-call]
    raw, read = path.read_bytes(), 0
    first = len(raw) - 8 - struct.unpack("<I", raw[-8:-4])[0]
    for at in range(first, len(raw) - 8):
        for value in (0, raw[at] ^ 2, raw[at] ^ 255):
            path.write_bytes(raw[:at] + bytes([value]) + raw[at + 1 :])
            try:
                read += len(list(read_rows(path)))
            except FormatError:
                continue
    print(read)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
