"""The folder beside a file in which it is written, and how it gets from there to its place.

A file is placed by a hard link, which fails where a file of that name is: of several writers at
once one wins. The folder keeps its own link until all files of a group are placed, so that a group
placed by half is known by its inodes and taken back, also by the next writer after one was killed.

Whoever writes holds a lock in the folder, which the system releases when its holder dies, by
whatever signal: a folder of ours whose lock can be taken is a leftover, and the next writer removes
it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

PREFIX = ".writing-"
NEW, OLD, LOCK = "new", "old", "lock"
UNLOCKED_S = 60.0
"""A folder younger than this may be one whose writer is about to lock it."""
ABANDONED_S = 24 * 3600.0
"""A folder older than this is a leftover where the system knows no locks."""
PATIENCE_S = 2.0
"""How long a writer waits for another that places its files."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
"""What systems say that have no hard links, as on memory sticks."""


@contextmanager
def writing_folder(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent`, locked, for the `with` block, and remove it behind it."""
    folder = Path(mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with (folder / LOCK).open("w") as lock:
            _try_lock(lock.fileno())
            for name in (NEW, OLD):
                (folder / name).mkdir()
            yield folder
    finally:
        rmtree(folder, ignore_errors=True)


@contextmanager
def placing(parent: Path) -> Iterator[None]:
    """Let nobody else place files in `parent` within the `with` block: groups do not mix.

    Placing takes an instant. Whoever holds the folder's lock for longer than `PATIENCE_S` holds it
    for something else, as `flock FOLDER COMMAND` does, and is not waited for.
    """
    try:
        file = os.open(parent, os.O_RDONLY)
    except OSError:  # a folder that may be written and not read
        yield
        return
    try:
        end = time.monotonic() + PATIENCE_S
        while _try_lock(file) is False and time.monotonic() < end:
            time.sleep(0.01)
        yield
    finally:
        os.close(file)


def place(folder: Path, target: Path, *, force: bool) -> None:
    """Give what was written for `target` its name; what stood there is kept until the end.

    Raises:
        FileExistsError: without `force`, where a file of that name is.
    """
    new = folder / NEW / target.name
    try:
        if not force:
            os.link(new, target)
            return
        with suppress(FileNotFoundError):
            os.link(target, folder / OLD / target.name, follow_symlinks=False)
        linked = folder / target.name
        os.link(new, linked)
        os.replace(linked, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not force:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(new, target)


def undo(folder: Path) -> None:
    """Take back what was placed from `folder`: what stood there before stands there again."""
    for new in _files(folder / NEW):
        target, old = folder.parent / new.name, folder / OLD / new.name
        if _placed(new, target):
            if os.path.lexists(old):
                os.replace(old, target)
            else:
                target.unlink()


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of writers that are gone, and what they had placed by half."""
    with suppress(OSError):
        for folder in parent.glob(f"{PREFIX}*"):
            with suppress(OSError):  # another's, or gone by now
                if _left(folder):
                    files = _files(folder / NEW)
                    if not all(_placed(new, parent / new.name) for new in files):
                        undo(folder)
                    rmtree(folder, ignore_errors=True)


def _left(folder: Path) -> bool:
    """Return whether a folder is ours and its writer is gone."""
    status = folder.lstat()
    if folder.is_symlink() or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
        return False
    age = time.time() - status.st_mtime
    if age <= UNLOCKED_S:
        return False
    try:
        with (folder / LOCK).open("r") as lock:
            free = _try_lock(lock.fileno())
    except FileNotFoundError:
        free = True
    return age > ABANDONED_S if free is None else free


def _try_lock(file: int) -> bool | None:
    """Lock an open file; return whether it was free, None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _placed(new: Path, target: Path) -> bool:
    """Return whether a target is the very file that was written for it."""
    try:
        return os.path.samestat(new.lstat(), target.lstat())
    except OSError:
        return False
