"""The cache of decoded pictures: arrays on disk, mapped into memory, made again when in doubt.

The folder follows the platform: `SPIKEWRIGHT_CACHE` if set, else `$XDG_CACHE_HOME/spikewright`
(`~/.cache/spikewright`), `~/Library/Caches/spikewright` or `%LOCALAPPDATA%/spikewright/Cache`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...export.formats.atomic import atomic_path
from ...export.formats.files import open_regular
from ...export.formats.npy import read_header
from ...export.ir.errors import FormatError

CACHE_VARIABLE = "SPIKEWRIGHT_CACHE"


def cache_folder() -> Path:
    """Return the folder of the cache, which need not exist."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "spikewright"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "spikewright" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikewright"


def cached_path(kind: str, files: Sequence[Path]) -> Path:
    """Return where the contents of `files` are cached: another file, size or date, another path."""
    seen = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(repr((kind, seen)).encode()).hexdigest()[:16]
    return cache_folder() / f"{kind}-{digest}.npy"


def read_cached(path: Path, row: int) -> NDArray[np.uint8] | None:
    """Return the cached bytes [sample, row], mapped; None where there are none of that form."""
    try:
        with open_regular(path) as file:
            header, there = read_header(file.read), os.fstat(file.fileno()).st_size
    except (FormatError, OSError):
        return None
    good = header.dtype == np.uint8 and header.shape[1:] == (row,) and header.shape[0] > 0
    if not good or header.fortran_order or header.length + header.size != there:
        return None
    return np.memmap(path, np.uint8, "r", header.length, header.shape)


def write_cached(path: Path, records: NDArray[np.uint8]) -> None:
    """Keep `records` in one step; a folder that cannot be written is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, force=True) as temporary:
            np.save(temporary, records, allow_pickle=False)
    except (OSError, FormatError):
        return
