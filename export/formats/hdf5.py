"""HDF5 files as trees of arrays: the one way in which .nir, .net and .h5 files are opened.

What comes from elsewhere is not trusted: another process (`hdf5_worker`) opens the file, judges it
and hands back plain arrays, within limits of time and memory. It starts with the first file and
ends with this process; each file is read in a fork of it, so that none harms the next.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import BufferedReader
from math import prod
from pathlib import Path
from signal import SIGKILL, SIGPROF, Signals
from threading import Lock
from typing import Any

import numpy as np

from ..ir import FormatError, MissingPackageError
from ..ir.missing import near_files
from . import hdf5_worker
from .hdf5_worker import LARGEST_FILE, LENGTH, MOST_TEXT

Tree = dict[str, Any]
"""A group: by name its groups, and its datasets as arrays, numbers or str."""

FEWEST_SECONDS = 4.0
"""Processor time that a file may take, and a second more for so many bytes: 2,000 objects, or a
tenth of what is unpacked in a second."""
BYTES_A_SECOND = 1 << 21
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Environment variables without which an interpreter may not start."""
SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",  # no threads in a process that forks
    "OMP_NUM_THREADS": "1",
    "HDF5_PLUGIN_PRELOAD": "::",  # no filters loaded from folders
    "HDF5_USE_FILE_LOCKING": "BEST_EFFORT",
}


def read_hdf5(path: str | Path, names: Sequence[str], what: str = "HDF5") -> Tree:
    """Return what stands under the given names of a file's top; text is str, whatever its type.

    Only links within the file are followed, nothing is read that lies in another file, and every
    size is judged before memory is taken.

    Args:
        what: the kind of file, for the messages.

    Raises:
        FormatError: for no such file, no HDF5, what is not read (naming the object), or a file
            that takes more than its time.
        MissingPackageError: without h5py.
    """
    return _tree(_asked(path, names, what)["objects"])


def top_names(path: str | Path) -> list[str]:
    """Return the names at a file's top; errors as `read_hdf5` has them."""
    names: list[str] = _asked(path, (), "HDF5")["top"]
    return names


def _asked(path: str | Path, names: Sequence[str], what: str) -> dict[str, Any]:
    place = os.path.abspath(path)
    if not os.path.isfile(place):
        raise FormatError("no such file", remedy=near_files(Path(path), f"a {what} file"))
    seconds = FEWEST_SECONDS + os.path.getsize(place) / BYTES_A_SECOND
    request = {"path": place, "names": list(names), "seconds": seconds}
    reply = _READER.ask(json.dumps(request).encode(), what, seconds)
    if "unreadable" in reply:
        raise FormatError(f"not a readable {what} file ({reply['unreadable']})")
    if "reason" in reply:
        raise FormatError(reply["reason"], node=reply["where"])
    return reply


def _tree(objects: list[dict[str, Any]]) -> Tree:
    top: Tree = {}
    for entry in objects:
        *above, name = entry["path"]
        group = top
        for step in above:
            group = group[step]
        group[name] = {} if "group" in entry else entry["value"]
    return top


class _Reader:
    """The process that reads, asked by one thread at a time."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes, what: str, seconds: float) -> dict[str, Any]:
        """Return the reply to a request, the values of datasets in it."""
        with self.lock:
            process = self._running(what)
            assert process.stdin is not None
            try:
                process.stdin.write(request + b"\n")
                process.stdin.flush()
                return _reply(process)
            except (EOFError, BrokenPipeError):
                status = process.wait()  # it ended, with the status of its fork
                self.close()
                raise FormatError(_why(what, status, seconds)) from None
            except BaseException:  # its next words would be the rest of this reply
                self.close()
                raise

    def _running(self, what: str) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is not None:
            self.close()
        if self.process is None:
            self.process = _start(what)
        return self.process

    def close(self) -> None:
        """End the process, and the fork that may still read."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, SIGKILL)
            process.wait()
        _close(process)

    def forget(self) -> None:
        """Leave the process to the parent of this one, which was forked: it starts its own."""
        process, self.process, self.lock = self.process, None, Lock()
        if process is not None:
            _close(process)
            process.returncode = 0  # not ours to wait for


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def _start(what: str) -> subprocess.Popen[bytes]:
    """Start the worker with the packages of this process, and none of its environment."""
    folders = []
    for package in ("numpy", "h5py"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingPackageError.of(package, f"read {what} files", f"pip install {package}")
        folders.append(str(Path(spec.origin).parent.parent))
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        return subprocess.Popen(
            [sys.executable or "python3", "-I", hdf5_worker.__file__, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, **SETTINGS},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        said = error.strerror or str(error)
        raise FormatError(f"the process that reads {what} files cannot start ({said})") from None


def _reply(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    (length,) = LENGTH.unpack(_take(process, LENGTH.size))
    if length > MOST_TEXT:
        raise EOFError
    reply: dict[str, Any] = json.loads(bytes(_take(process, length)))
    for entry in reply.get("objects", ()):
        if "group" not in entry:
            entry["value"] = _value(process, entry)
    return reply


def _value(process: subprocess.Popen[bytes], entry: dict[str, Any]) -> Any:
    """Return the value of a dataset: an array, or one number or str."""
    shape = tuple(entry["shape"])
    if "text" in entry:
        values = np.empty(prod(shape), object)
        values[:] = entry["text"]
    else:
        dtype = np.dtype(entry["dtype"])
        if prod(shape) * dtype.itemsize > LARGEST_FILE or dtype.hasobject:
            raise EOFError
        values = np.ndarray(shape, dtype, _take(process, prod(shape) * dtype.itemsize))
    value = values.reshape(shape)[()]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _take(process: subprocess.Popen[bytes], size: int) -> bytearray:
    """Return as many bytes of the worker's.

    Raises:
        EOFError: if it ended before.
    """
    assert isinstance(process.stdout, BufferedReader)
    taken = bytearray(size)
    view = memoryview(taken)
    while view:
        count = process.stdout.readinto(view)
        if not count:
            raise EOFError
        view = view[count:]
    return taken


def _why(what: str, status: int, seconds: float) -> str:
    """Return what became of a worker that gave no reply."""
    number = status - 128 if status > 128 else -status
    if number == SIGPROF:
        return f"not a readable {what} file (not read within {seconds:.1f} s of processor time)"
    names = {signal.value: signal.name for signal in Signals}
    ended = names.get(number, f"status {status}")
    return f"not a readable {what} file (libhdf5 ended with {ended})"


_READER = _Reader()
atexit.register(_READER.close)
os.register_at_fork(after_in_child=_READER.forget)
