"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from ..ir.errors import FormatError


@contextmanager
def atomic_path(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path of the same name beside `path`; it becomes `path` on success.

    Raises:
        FormatError: if `path` exists and `force` is not set, or its folder cannot be written.
    """
    target = Path(path)
    refuse_overwrite(target, force=force)
    try:
        folder = Path(mkdtemp(prefix=".writing-", dir=target.parent))
    except OSError as error:
        raise FormatError(f"cannot write: {error.strerror}", node=str(target)) from None
    temporary = folder / target.name
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
        folder.rmdir()


def refuse_overwrite(path: Path, *, force: bool) -> None:
    """Raise FormatError if `path` exists, unless `force`."""
    if path.exists() and not force:
        raise FormatError("exists already", node=str(path), remedy="give --force to overwrite it")
