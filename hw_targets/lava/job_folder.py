"""A job's folder: made for one job, gone with it, whatever ends it.

While a job runs, its starter holds a lock in the folder. The system releases a lock when its holder
dies, by whatever signal: a folder whose lock can be taken is a leftover, and the next job removes
it. (The worker removes its own when its starter dies; a power cut ends both.)
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...export.ir import ExecutorError
from .worker.shared_memory import unlink

PREFIX = "spikewright-lava-"
LOCK = "starter.lock"
UNLOCKED_S = 60.0
"""A folder younger than this may be one whose starter is about to lock it."""


@contextmanager
def job_folder() -> Iterator[Path]:
    """Make a folder for the `with` block and remove it behind it; leftovers are removed first.

    Raises:
        ExecutorError: where there is no folder for temporary files, or no room in it.
    """
    try:
        remove_leftovers()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError as error:
        raise no_folder(error) from None
    try:
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        _remove(folder)


def no_folder(error: OSError) -> ExecutorError:
    """Return the error of a job whose files cannot be written."""
    reason = f"cannot write the files of a job: {error.strerror or error}"
    remedy = "set TMPDIR to a folder with room"
    return ExecutorError(reason, node=error.filename or "lava", remedy=remedy)


def _remove(folder: Path) -> None:
    """Remove a folder and the shared memory that its job left."""
    unlink(folder)
    shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers() -> None:
    """Remove the folders of jobs whose starter is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another's, or gone by now
            if _left(folder):
                _remove(folder)


def _left(folder: Path) -> bool:
    try:
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return time.time() - folder.stat().st_mtime > UNLOCKED_S
