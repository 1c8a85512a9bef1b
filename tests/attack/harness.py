"""Children in which files are opened: what they do is watched, and no fault harms the next file.

A parent that has imported everything forks a child; the child works through files one after the
other and says a line of JSON of each. When it dies or hangs, the file at hand has its verdict, and
another child goes on behind it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikewright.export.formats import hdf5, hdf5_worker
from spikewright.export.ir import SpikewrightError

from .readers import opened, place, small_graph, stages

SECONDS = 10.0
"""Processor time for a file, and twice that by the clock."""
MEMORY = 1 << 30
"""Bytes that a file may take beyond what the child held before."""
ROOM = 4 << 30
"""Address space beyond that, behind which an allocation fails."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
SERVED = ("ctypes.dlopen", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system")
WRITTEN = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(slots=True)
class Case:
    """One mutated file: its number (the seed of its mutation), its format, its bytes."""

    number: int
    kind: str
    content: bytes


@dataclass(slots=True)
class Verdict:
    """What became of a file.

    Attributes:
        word: `accepted`, `refused`, or a fault: `foreign`, `crash`, `hang`, `memory`, `event`,
            `message`.
        detail: the refusal or the traceback. stage: where it arose.
    """

    word: str
    detail: str = ""
    stage: str = "open"
    case: Case | None = field(default=None, repr=False)

    @property
    def is_fault(self) -> bool:
        return self.word not in ("accepted", "refused")


class Watch:
    """The audit hook: while on, it keeps what a file should never cause."""

    def __init__(self) -> None:
        self.folder, self.on = "", False
        self.events: list[str] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and self._is_fault(event, args):
            self.events.append(f"{event} {str(args)[:200]}")

    def _is_fault(self, event: str, args: tuple[Any, ...]) -> bool:
        if event in SERVED or event.startswith("socket.") or event == "pickle.find_class":
            return not (event == "pickle.find_class" and _harmless(args))
        if event == "os.fork":
            return not _is_worker()
        if event == "open":
            path, _, flags = args
            writes = isinstance(flags, int) and flags & WRITING
            return bool(writes) and not self._inside(path)
        return event in WRITTEN and not self._inside(args[0], args[-1])

    def _inside(self, path: Any, folder: Any = None) -> bool:
        """Return whether a path is in the folder; a relative one may lie in an open folder."""
        if isinstance(path, int) or path in (os.devnull, b"/dev/null"):
            return True
        if isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
        return os.path.abspath(os.fsdecode(path)).startswith(self.folder)


def _harmless(args: tuple[Any, ...]) -> bool:
    """Return whether what a pickle names is a type of array, as NumPy's own headers do."""
    return str(args[0]).split(".")[0] == "numpy" and args[1] in ("dtype", "ndarray")


_FORKING = [False]


def _is_worker() -> bool:
    return _FORKING[0]


WATCH = Watch()


class ForkedReader:
    """The process that reads HDF5, as a fork of this one: an interpreter need not start."""

    def __init__(self) -> None:
        down, self._requests = os.pipe()
        self._replies, up = os.pipe()
        _FORKING[0] = True
        self.pid = os.fork()
        _FORKING[0] = False
        if self.pid == 0:
            self._serve(down, up)
        os.close(down)
        os.close(up)
        self.stdin = open(self._requests, "wb")  # noqa: SIM115  (closed by the reader)
        self.stdout = open(self._replies, "rb")  # noqa: SIM115
        self.returncode: int | None = None

    def _serve(self, down: int, up: int) -> None:
        status = 1
        try:
            WATCH.on = False
            os.setsid()
            signal.setitimer(signal.ITIMER_PROF, 0)
            os.dup2(down, 0)
            os.dup2(up, 1)
            os.close(self._requests)
            os.close(self._replies)
            sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
            hdf5_worker.serve()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(status)

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        """Wait for its end; return the exit status."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def prepare() -> None:
    """Fork the process that reads HDF5 in place of starting one, and keep what is made here."""
    import h5py  # noqa: F401  (once, for all forks)

    hdf5._start = lambda what: ForkedReader()  # type: ignore[assignment,return-value]
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"
    small_graph()
    gc.collect()
    gc.freeze()


def verdicts(cases: list[Case], aside: dict[str, bytes] | None = None) -> Iterator[Verdict]:
    """Yield the verdict of each case in turn, from children that are replaced when they die.

    Args:
        aside: files that stand beside the folder of each case, by name.
    """
    left = list(cases)
    while left:
        for verdict in _by_one_child(list(left), aside or {}):
            verdict.case = left.pop(0)
            yield verdict


def _by_one_child(cases: list[Case], aside: dict[str, bytes]) -> Iterator[Verdict]:
    """Yield verdicts until all are said or the child is gone, that of its death included."""
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        for name, content in aside.items():
            (Path(folder) / name).write_bytes(content)
        down, up = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(down)
            _work(cases, Path(folder), up)
        os.close(up)
        for said, line in enumerate(_lines(down, 2 * SECONDS), 1):
            if not line:
                yield _death(pid, hung=line is None)
                break
            yield Verdict(**json.loads(line))
            if said == len(cases):
                os.waitpid(pid, 0)
                break
        os.close(down)


def _lines(replies: int, seconds: float) -> Iterator[bytes | None]:
    """Yield lines as they come: empty when the child is gone, None when none came in time."""
    held, until = b"", time.monotonic() + seconds
    while True:
        line, newline, rest = held.partition(b"\n")
        if newline:
            held = rest
            yield line
            until = time.monotonic() + seconds
            continue
        left = until - time.monotonic()
        if left <= 0 or not select.select([replies], [], [], left)[0]:
            yield None
            return
        more = os.read(replies, 1 << 16)
        if not more:
            yield b""
            return
        held += more


def _death(pid: int, hung: bool) -> Verdict:
    if hung:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if hung or -status == signal.SIGPROF:
        return Verdict("hang", f"over {SECONDS} s")
    return Verdict("crash", f"status {status}")


def _work(cases: list[Case], folder: Path, up: int) -> None:
    """Open each case in a folder of its own and say its verdict; never returns."""
    status = 1
    try:
        warnings.simplefilter("ignore")
        _one_thread()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.environ["SPIKEWRIGHT_CACHE"] = str(folder / "cache")
        tempfile.tempdir = str(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _status("VmSize") + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        WATCH.folder = str(folder)
        sys.addaudithook(WATCH)
        known: set[str] = set()
        for case in cases:
            own = folder / "case"
            own.mkdir()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # unhandled: it ends the child
            reply = _judged(case, own, known)
            signal.setitimer(signal.ITIMER_PROF, 0)
            line = {"word": reply.word, "detail": reply.detail[-4000:], "stage": reply.stage}
            os.write(up, json.dumps(line).encode() + b"\n")
            _clear(own)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        hdf5._READER.close()
        os._exit(status)


def _one_thread() -> None:
    """Keep torch to this thread: a fork's OpenMP waits for threads that only the parent has."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _clear(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


def _status(name: str) -> int:
    """Return a line of /proc/self/status, in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) << 10  # type: ignore[index]


def _judged(case: Case, folder: Path, known: set[str]) -> Verdict:
    """Return what becomes of a case, its memory and its events judged behind it."""
    path = place(case.kind, case.content, folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    WATCH.events, WATCH.on = [], True
    verdict = _used(case.kind, path, folder, known)
    WATCH.on = False
    taken = _status("VmHWM") - before
    if WATCH.events:
        return Verdict("event", "\n".join(WATCH.events[:5]), verdict.stage)
    if taken > MEMORY and not verdict.is_fault:
        return Verdict("memory", f"{taken >> 20} MB: {verdict.detail}", verdict.stage)
    return verdict


def _used(kind: str, path: Path, folder: Path, known: set[str]) -> Verdict:
    value: list[Any] = []
    first = _tried("open", lambda: value.append(opened(kind, path)))
    if first.word != "accepted":
        return first
    verdict = first

    def further() -> None:
        nonlocal verdict
        for name, use in stages(value[0], folder, known):
            verdict = _tried(name, use)
            if verdict.is_fault:
                return

    around = _tried("stages", further)
    faults = [found for found in (verdict, around) if found.is_fault]
    return faults[0] if faults else first


def _tried(stage: str, use: Any) -> Verdict:
    try:
        with contextlib.suppress(UserWarning), np.errstate(all="ignore"):
            use()
    except SpikewrightError as error:
        said = str(error)
        word = "message" if CONTROL.search(said) or not said.strip() else "refused"
        return Verdict(word, said, stage)
    except BaseException:
        return Verdict("foreign", traceback.format_exc(), stage)
    return Verdict("accepted", stage=stage)
