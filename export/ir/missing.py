"""Files that are not there, with the names that are near."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from .errors import FormatError


def missing_file(path: Path, wanted: str) -> FormatError:
    """Return the error for a path that is no file; `wanted` says what was to be there."""
    if path.is_dir():
        return FormatError("a folder", node=str(path), remedy=f"name {wanted} in it")
    return FormatError("no such file", node=str(path), remedy=near_files(path, wanted))


def near_files(path: Path, wanted: str) -> str:
    """Return what to do about a path that is not there: the near names of its folder."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; check the path"
    near = get_close_matches(path.name, _beside(path.parent), n=3, cutoff=0.6)
    return f"did you mean {', '.join(near)}?" if near else f"check the path, give {wanted}"


def _beside(folder: Path) -> list[str]:
    """Return the names of the files in a folder, none of one that may not be looked into."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:
        return []
