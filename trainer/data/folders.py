"""Files below a folder: links that lead out of it are named, not followed."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ...export.ir.errors import FormatError


def files_below(folder: Path, root: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below `folder` whose suffix is one of these (lower case), sorted.

    Args:
        root: what the user named; a link to a file elsewhere within it is taken as the file.

    Raises:
        FormatError: for a link out of `root` or to a folder, or a folder that cannot be read.
    """
    files: list[Path] = []
    waiting = [folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            path = Path(entry.path)
            if not entry.is_symlink() and entry.is_dir():
                waiting.append(path)
            elif path.suffix.lower() in suffixes or entry.is_dir():
                refuse_link(path, root)
                files.append(path)
    return sorted(files)


def folders_in(folder: Path, root: Path) -> list[Path]:
    """Return the folders directly in `folder`.

    Raises:
        FormatError: as `files_below`.
    """
    entries = [entry for entry in _entries(folder) if entry.is_dir()]
    for entry in entries:
        refuse_link(Path(entry.path), root)
    return [Path(entry.path) for entry in entries]


def refuse_link(path: Path, root: Path) -> None:
    """Raise FormatError for a link that leads out of `root`, or to a folder."""
    if not path.is_symlink():
        return
    target = Path(os.path.realpath(path))
    if target.is_dir():
        said = "a link to a folder, which is not followed"
    elif not target.is_relative_to(os.path.realpath(root)):
        said = f"a link that leads out of {root}, which is not followed"
    else:
        return
    raise FormatError(said, node=str(path), remedy="copy the files themselves (cp -rL)")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", node=str(folder)) from None
