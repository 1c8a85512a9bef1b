"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from ..ir.errors import FormatError


@contextmanager
def atomic_path(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path of the same name beside `path`; it becomes `path` on success.

    Raises:
        FormatError: if `path` exists and `force` is not set, or it cannot be written.
    """
    target = Path(path)
    refuse_overwrite(target, force=force)
    try:
        folder = Path(mkdtemp(prefix=".writing-", dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from None
    temporary = folder / target.name
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from None
    finally:
        rmtree(folder, ignore_errors=True)


def refuse_overwrite(path: Path, *, force: bool) -> None:
    """Raise FormatError where a file cannot be written at `path`: say so before work is done.

    It exists and `force` is not set, is a folder, or its folder is missing or read-only.
    """
    if os.path.exists(path) and not force:
        raise FormatError("exists already", node=str(path), remedy="give --force to overwrite it")
    if os.path.isdir(path):  # where pathlib raises for a name that is too long
        raise FormatError("cannot write: a folder has this name", node=str(path))
    if not os.path.isdir(path.parent):
        raise FormatError(f"cannot write: no folder {path.parent}", node=str(path))
    if not os.access(path.parent, os.W_OK):
        raise FormatError(f"cannot write: {path.parent} is read-only", node=str(path))


def refuse_suffix(path: Path, what: str, allowed: Sequence[str]) -> None:
    """Raise FormatError where the name of a file does not say what is written into it."""
    if path.suffix.lower() not in allowed:
        found = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
        remedy = f"name it {path.stem}{allowed[0]}"
        raise FormatError(
            f"{found}, {what} ends in {' or '.join(allowed)}", node=str(path), remedy=remedy
        )


def _cannot_write(path: Path, error: OSError) -> FormatError:
    return FormatError(f"cannot write: {error.strerror or error}", node=str(path))
