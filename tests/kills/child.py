"""A process of its own for each run of a writer: it dies at the file event that it is told.

The parent has imported everything and forks. In the child an audit hook counts what Python asks of
the system about files in its folder: made, opened for writing, linked, renamed, removed. A kill in
the middle of a write comes from the system itself: beyond a limit of its size (`size`) a file takes
the bytes up to the limit and the writer dies by SIGXFSZ, which leaves no more time than SIGKILL.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENTS = ("os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.symlink")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended: the exit code or minus the signal, the events it saw, what it printed."""

    code: int
    events: int
    said: str


class Counter:
    """The audit hook: counts events in a folder, and ends the process at one of them."""

    def __init__(self, folder: Path, fatal: int | None) -> None:
        self.folder, self.fatal, self.events = os.path.join(folder, ""), fatal, 0

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._counts(event, args):
            return
        self.events += 1
        if self.events == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def _counts(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = args
            if not (isinstance(flags, int) and flags & WRITES) or isinstance(path, int):
                return False
        elif event not in EVENTS:
            return False
        if event in ("os.remove", "os.rmdir") and args[1] != -1:  # relative to a folder
            return True
        return os.path.join(self.folder, os.fsdecode(args[0])).startswith(self.folder)


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a child.

    Attributes:
        event: from 1, at which it is killed. size: bytes of a file at which it is killed; with
            `full` the write fails there instead, as on a full disk.
    """

    event: int | None = None
    size: int | None = None
    full: bool = False

    def await_it(self) -> None:
        """Set the limits, in the child."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN if self.full else signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))


LIVES = Fate()


def run(
    writer: Callable[[], int],
    folder: Path,
    fate: Fate = LIVES,
    before: Callable[[], None] = lambda: None,
) -> End:
    """Run a writer in a child, in `folder`; `before` is called in the child first."""
    said, to_parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        _work(writer, folder, fate, before, to_parent)
    os.close(to_parent)
    with os.fdopen(said, "rb") as pipe:
        text, _, events = pipe.read().decode("utf-8", "replace").partition("\0")
    return End(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(events or 0), text)


def _work(
    writer: Callable[[], int],
    folder: Path,
    fate: Fate,
    before: Callable[[], None],
    to_parent: int,
) -> None:
    code, counter = 70, Counter(folder, fate.event)
    try:
        _print_to(to_parent)
        os.chdir(folder)
        before()
        fate.await_it()
        sys.addaudithook(counter)
        code = writer()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(to_parent, f"\0{counter.events}".encode())
        os._exit(code)


def _print_to(pipe: int) -> None:
    for stream in (1, 2):
        os.dup2(pipe, stream)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="replace", closefd=False)
