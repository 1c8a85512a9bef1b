"""What a full disk or a limit of files' sizes says: how much room there is, and how to get more."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""No blocks or no names left, of the disk or of the user's quota."""
FEW = 100
"""Files that a disk still takes: where there are fewer, they may be what is missing."""


def no_room(error: OSError, folder: Path) -> tuple[str, str] | None:
    """Return the reason, with the limit, and the remedy; None for an error of another kind.

    Args:
        folder: in which was written.
    """
    if error.errno in _FULL:
        return f"{error.strerror}, {_free(folder)}", "make room there, or write elsewhere"
    if error.errno == errno.EFBIG:
        return f"{error.strerror}, {_largest()}", "raise it (ulimit -f), or write elsewhere"
    return None


def _free(folder: Path) -> str:
    try:
        free = f"{shutil.disk_usage(folder).free:,} bytes"
        if hasattr(os, "statvfs"):
            status = os.statvfs(folder)
            if status.f_files and status.f_favail < FEW:
                free += f" and {status.f_favail} files"
    except OSError:  # the folder is gone
        free = "none"
    return f"{free} free in {folder}"


def _largest() -> str:
    """Return the largest size of a file: this process's limit, else that of the file system."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit != resource.RLIM_INFINITY:
            return f"at most {limit:,} bytes a file are allowed here"
    except ImportError:  # on Windows
        pass
    return "more than the file system takes"
