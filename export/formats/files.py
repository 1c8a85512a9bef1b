"""Opening files that come from elsewhere: regular ones, and no more bytes than they can mean."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ..ir.errors import FormatError
from ..ir.missing import missing_file

ALWAYS = 128 << 20
"""Bytes that any file may unpack to."""
TIMES = 256
"""How often each byte of a file may be unpacked beyond that: real data reach it hardly ever."""


def open_regular(path: Path) -> BinaryIO:
    """Return a regular file, open to be read; a pipe or a device is never waited for.

    Raises:
        FormatError: for what is missing, no regular file, or may not be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        # A pipe without a writer would block the opening itself.
        file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise missing_file(Path(path), "another file") from None
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        said = getattr(error, "strerror", None) or str(error)
        raise FormatError(f"cannot be read: {said}", node=str(path)) from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FormatError("a folder, a pipe or a device, not a file", node=str(path))
    return os.fdopen(file, "rb")


def regular_bytes(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most so many bytes.

    Raises:
        FormatError: as `open_regular`, and for a larger file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise FormatError(f"{size:,} bytes, at most {most:,} are read", node=str(path))
        return file.read(most)


def refuse_bomb(needed: int, stored: int, what: str, where: str, remedy: str) -> None:
    """Refuse data that unpack to far more than is stored of them, or than the machine has.

    Args:
        needed: bytes once unpacked. stored: bytes in the file.

    Raises:
        FormatError: naming both and the limit.
    """
    limit, unit = ALWAYS + TIMES * max(stored, 0), "so small a file"
    if (memory := _memory()) < limit:
        limit, unit = memory, "this machine's memory"
    if needed > limit:
        raise FormatError(
            f"{what} of {needed:,} bytes out of {stored:,} stored, at most {limit:,} for {unit}",
            node=where,
            remedy=remedy,
        )


def _memory() -> int:
    """Return the bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        return 1 << 62
