"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..ir.errors import FormatError
from .no_room import no_room
from .writing_folder import NEW, place, placing, remove_leftovers, undo, writing_folder


@contextmanager
def atomic_path(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path of the same name beside `path`; it becomes `path` on success.

    Raises:
        FormatError: if `path` exists and `force` is not set, or it cannot be written.
    """
    with atomic_paths([path], force=force) as (temporary,):
        yield temporary


@contextmanager
def atomic_paths(paths: Sequence[str | Path], *, force: bool = False) -> Iterator[list[Path]]:
    """Yield a temporary path for each of some files of one folder; on success they become those.

    All of them or none: what stood there comes back if one cannot be placed. They are placed in
    this order, so that the last tells that the others are there, too.

    Raises:
        FormatError: if one exists and `force` is not set, also if another process made it in the
            meantime, or if they cannot be written.
    """
    targets = [Path(path) for path in paths]
    for target in targets:
        refuse_overwrite(target, force=force)
    parent = targets[0].parent
    try:
        remove_leftovers(parent)
        with writing_folder(parent) as folder:
            yield [folder / NEW / target.name for target in targets]
            with placing(parent):
                _place(folder, targets, force)
    except OSError as error:
        raise _cannot_write(targets, error) from None


def append_whole(path: Path, text: str) -> None:
    """Append a text to a file, whole or not at all.

    Raises:
        FormatError: if it cannot be written; the file is as it was.
    """
    try:
        with path.open("ab", buffering=0) as file:
            end, rest = file.seek(0, os.SEEK_END), memoryview(text.encode())
            try:
                while rest:  # what fits in is written without an error
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise _cannot_write([path], error) from None


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder, with its parents, for the files of the `with` block.

    Of those made here the empty ones go again: the work was broken off before its first file.

    Raises:
        FormatError: if it cannot be made.
    """
    made: list[Path] = []
    try:
        try:
            for part in [*reversed(folder.parents), folder]:
                if not part.is_dir():
                    part.mkdir(exist_ok=True)
                    made.append(part)
        except OSError as error:
            raise _cannot_write([folder], error) from None
        yield
    finally:
        with suppress(OSError):  # it holds files
            for part in reversed(made):
                part.rmdir()


def _place(folder: Path, targets: Sequence[Path], force: bool) -> None:
    target = targets[0]
    try:
        for target in targets:
            place(folder, target, force=force)
    except FileExistsError:
        undo(folder)
        raise _exists(target) from None
    except OSError as error:
        undo(folder)
        raise _cannot_write([target], error) from None


def _exists(path: Path) -> FormatError:
    return FormatError("exists already", node=str(path), remedy="give --force to overwrite it")


def refuse_overwrite(path: Path, *, force: bool) -> None:
    """Raise FormatError where a file cannot be written at `path`: say so before work is done.

    It exists and `force` is not set, is a folder, a device or a pipe, or its folder is missing or
    read-only.
    """
    if "\0" in str(path):
        raise FormatError("cannot write: a NUL in the path", node=str(path))
    _refuse_device(path)
    if os.path.exists(path) and not force:
        remove_leftovers(path.parent)  # of a pair that a killed process had placed by half
        if os.path.exists(path):
            raise _exists(path)
    if os.path.isdir(path):  # where pathlib raises for a name that is too long
        raise FormatError("cannot write: a folder has this name", node=str(path))
    if not os.path.isdir(path.parent):
        raise FormatError(f"cannot write: no folder {path.parent}", node=str(path))
    if not os.access(path.parent, os.W_OK):
        raise FormatError(f"cannot write: {path.parent} is read-only", node=str(path))


def _refuse_device(path: Path) -> None:
    """With `force` the file would take its place."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise FormatError("cannot write: a device or a pipe has this name", node=str(path))


def refuse_suffix(path: Path, what: str, allowed: Sequence[str]) -> None:
    """Raise FormatError where the name of a file does not say what is written into it."""
    if path.suffix.lower() not in allowed:
        found = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        remedy = f"name it {path.stem}{allowed[0]}"
        raise FormatError(
            f"{found}, {what} ends in {' or '.join(allowed)}", node=str(path), remedy=remedy
        )


def _cannot_write(group: Sequence[Path], error: OSError) -> FormatError:
    reason, remedy = no_room(error, group[0].parent) or (error.strerror or str(error), None)
    node = " and ".join([str(group[0]), *(path.name for path in group[1:])])
    return FormatError(f"cannot write: {reason}", node=node, remedy=remedy)
