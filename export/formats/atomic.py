"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    """Raise FormatError if `path` exists, unless `force`."""
    if os.path.exists(path) and not force:
        raise FormatError("exists already", node=str(path), remedy="give --force to overwrite it")


def _cannot_write(path: Path, error: OSError) -> FormatError:
    return FormatError(f"cannot write: {error.strerror or error}", node=str(path))
