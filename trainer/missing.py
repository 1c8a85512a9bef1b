"""Files that are not there, with the names that are near."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ..export.ir.errors import FormatError


def missing_file(path: Path, wanted: str) -> FormatError:
    """Return the error for a path that is no file; `wanted` says what was to be there."""
    if path.is_dir():
        return FormatError("a folder", node=str(path), remedy=f"name {wanted} in it")
    if not path.parent.is_dir():
        remedy = f"there is no folder {path.parent}; check the path"
        return FormatError("no such file", node=str(path), remedy=remedy)
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    near = get_close_matches(path.name, sorted(beside), n=3, cutoff=0.6)
    remedy = f"did you mean {', '.join(near)}?" if near else f"check the path, give {wanted}"
    return FormatError("no such file", node=str(path), remedy=remedy)
