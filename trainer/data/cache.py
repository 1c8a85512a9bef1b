"""The cache of decoded pictures: arrays on disk, mapped into memory, made again when in doubt.

The folder is `SPIKEWRIGHT_CACHE` if set, else that of the platform.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...export.formats.atomic import atomic_path
from ...export.formats.cache_folder import cache_folder
from ...export.formats.files import open_regular
from ...export.formats.npy import read_header
from ...export.ir.errors import FormatError, InputError

CACHE_VARIABLE = "SPIKEWRIGHT_CACHE"


def cached_path(kind: str, files: Sequence[Path]) -> Path | None:
    """Return where the contents of `files` are cached: another file, size or date, another path.

    None where there is no folder for caches: a user without a home.
    """
    seen = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(repr((kind, seen)).encode()).hexdigest()[:16]
    chosen = os.environ.get(CACHE_VARIABLE)
    try:
        return (Path(chosen) if chosen else cache_folder()) / f"{kind}-{digest}.npy"
    except InputError:
        return None


def read_cached(path: Path | None, row: int) -> NDArray[np.uint8] | None:
    """Return the cached bytes [sample, row], mapped; None where there are none of that form."""
    if path is None:
        return None
    try:
        with open_regular(path) as file:
            header, there = read_header(file.read), os.fstat(file.fileno()).st_size
    except (FormatError, OSError):
        return None
    good = header.dtype == np.uint8 and header.shape[1:] == (row,) and header.shape[0] > 0
    if not good or header.fortran_order or header.length + header.size != there:
        return None
    return np.memmap(path, np.uint8, "r", header.length, header.shape)


def write_cached(path: Path | None, records: NDArray[np.uint8]) -> None:
    """Keep `records` in one step; a folder that cannot be written is no reason to stop."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, force=True) as temporary:
            np.save(temporary, records, allow_pickle=False)
    except (OSError, FormatError):
        return
