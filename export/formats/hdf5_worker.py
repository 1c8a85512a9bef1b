"""The process that opens HDF5 files for `hdf5`: run as a script, it imports h5py and numpy alone.

libhdf5 trusts what stands in a file: one wrong byte can make it spin, crash or fill memory, and
nothing within its process can stop it. So each file is read in a fork of this process, which ends
when its processor time is over, may take so much memory and no more, and writes no file. It judges
every object before it reads any value.

A request is a line of JSON (path, names, seconds of processor time). A reply is a length, as much
JSON, and the bytes of the arrays that the JSON describes. When a fork ends otherwise, this process
ends with its status, and no reply.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import struct
import sys
from collections.abc import Iterator
from math import prod
from typing import Any, BinaryIO

LARGEST_ARRAY = 1 << 27
"""Elements of one array that are read; a file that declares more is refused unread."""
LARGEST_FILE = 1 << 30
"""Bytes of all arrays of one file together."""
FREE_ELEMENTS, ELEMENTS_A_BYTE = 1 << 25, 16
"""Elements of all arrays: so many, and so many more for each byte of the file."""
MOST_OBJECTS = 100_000
"""Groups and datasets of one file."""
DEEPEST = 100
"""Groups within groups."""
LONGEST_NAME = 150
DENSEST = 1100
"""Bytes that one stored byte can stand for: what deflate reaches at most (1032) and some."""
SMALL = 1 << 20
"""Bytes that may stand for no stored ones (a file of constants)."""
MOST_TEXT = 1 << 26
"""Bytes of a reply without its arrays: names, shapes and texts."""
SPARE = 1 << 29
"""Bytes of address space for libhdf5 itself, beside the arrays."""
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""Whose output is bounded by what is stored, and which are part of libhdf5 or h5py."""
LENGTH = struct.Struct("<Q")

Entry = dict[str, Any]
"""One object of a reply: its path of names, and `shape` and `dtype`, or `text`, or `group`."""


class Refused(Exception):
    """What is refused: the object at fault, or nothing, and why."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where, self.reason = where, reason


class Walk:
    """Lists and judges the objects of a file, group by group, and counts what they would take.

    By h5py's low-level identifiers, at a third of the time that its objects take.
    """

    def __init__(self, h5py: Any, path: str) -> None:
        self.h5py, self.path = h5py, path
        self.file_bytes = os.stat(path).st_size
        self.elements = self.bytes = 0
        self.seen: set[Any] = set()
        self.top: list[str] = []

    def objects(self, top: Any, names: list[str]) -> Iterator[tuple[list[str], Any]]:
        """Yield each object under the wanted names: its path, and a dataset, or None of a group."""
        members = self._members([], top)
        self.top = [path[0] for path, _ in members[::-1]]
        pending = [(path, item) for path, item in members if path[0] in names]
        while pending:
            path, item = pending.pop()
            if isinstance(item, self.h5py.h5g.GroupID):
                yield path, None
                pending += self._members(path, item)
            else:
                self._judge(".".join(path), item)
                yield path, item

    def _members(self, path: list[str], group: Any) -> list[tuple[list[str], Any]]:
        """Return what a group holds, the last first, each with its path."""
        where = ".".join(path)
        if len(path) > DEEPEST:
            raise Refused(where[:80], f"groups nested deeper than {DEEPEST}")
        if len(self.seen) + group.get_num_objs() > MOST_OBJECTS:
            raise Refused(where, f"more than {MOST_OBJECTS} objects")
        names = [(_text(name), name) for name in group]
        found = [([*path, text], self._member(path, group, text, name)) for text, name in names]
        return found[::-1]

    def _member(self, path: list[str], group: Any, text: str, name: bytes) -> Any:
        where = ".".join([*path, text[:LONGEST_NAME]])
        if len(text) > LONGEST_NAME:
            raise Refused(".".join(path), f"a name of {len(text)} characters")
        if group.links.get_info(name).type != self.h5py.h5l.TYPE_HARD:
            reason = "a link, perhaps to another file; only what lies in this one is read"
            raise Refused(where, reason)
        item = self.h5py.h5o.open(group, name)
        if not isinstance(item, (self.h5py.h5g.GroupID, self.h5py.h5d.DatasetID)):
            raise Refused(where, "a type by itself, numbers or text are needed")
        address = self.h5py.h5o.get_info(item).addr
        if address in self.seen:  # groups in each other would make endless ways
            raise Refused(where[:200], "lies under two names")
        self.seen.add(address)
        return item

    def _judge(self, where: str, dataset: Any) -> None:
        """Refuse a dataset that lies elsewhere, holds no plain values or would take too much."""
        made, layouts = dataset.get_create_plist(), self.h5py.h5d
        if made.get_layout() == layouts.VIRTUAL or made.get_external_count():
            raise Refused(where, "its values lie in another file, which is not read")
        if dataset.get_space().get_simple_extent_type() == self.h5py.h5s.NULL:
            raise Refused(where, "no value")
        kind = dataset.dtype
        text = self.h5py.check_string_dtype(kind)
        plain = (kind.kind in "fiub" and kind.itemsize <= 8) or text is not None
        if not plain or dataset.get_type().committed():
            raise Refused(where, f"dtype {str(kind)[:80]}, numbers or text are needed")
        for place in range(made.get_nfilters()):
            number = made.get_filter(place)[0]
            if number not in FILTERS:
                known = ", ".join(FILTERS.values())
                raise Refused(where, f"packed by filter {number}, {known} are unpacked")
        chunks = made.get_chunk() if made.get_layout() == layouts.CHUNKED else None
        self._judge_size(where, dataset, kind.itemsize, _unpacked(dataset.shape, chunks))
        if text is not None and text.length is None:
            if chunks is not None:
                raise Refused(where, "text in chunks, which no version of nir writes")
            self._judge_texts(where, dataset)

    def _judge_size(self, where: str, dataset: Any, width: int, size: int) -> None:
        if size > LARGEST_ARRAY:
            raise Refused(where, f"declares {size} elements, at most {LARGEST_ARRAY} are read")
        taken, stored = size * width, dataset.get_storage_size()
        if taken > SMALL + DENSEST * min(stored, self.file_bytes):
            raise Refused(where, f"declares {taken} bytes, the file holds {stored}")
        self.elements, self.bytes = self.elements + size, self.bytes + taken
        most = FREE_ELEMENTS + ELEMENTS_A_BYTE * self.file_bytes
        if self.elements > most:
            reason = f"at most {most} are read of {self.file_bytes} bytes"
            raise Refused(where, f"{self.elements} elements or more in the file, {reason}")
        if self.bytes > LARGEST_FILE:
            raise Refused(where, f"the file declares more than {LARGEST_FILE} bytes of arrays")

    def _judge_texts(self, where: str, dataset: Any) -> None:
        """Refuse text that says it is longer than the file: HDF5 would make room for it first."""
        place, stored = dataset.get_offset(), dataset.get_storage_size()
        size = _unpacked(dataset.shape, None)
        if place is None or not size or not stored:
            return  # in the object's own header, or nothing
        if place + stored > self.file_bytes:
            raise Refused(where, "lies beyond the end of the file")
        with open(self.path, "rb") as file:
            file.seek(place)
            records = file.read(stored)
        # HDF5 holds a length in 4 bytes, little-endian, and where the text lies.
        starts = range(0, stored, max(1, stored // size))
        length = sum(int.from_bytes(records[at : at + 4], "little") for at in starts)
        if length > self.file_bytes:
            raise Refused(where, f"text of {length} bytes, more than the file")


def _unpacked(shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> int:
    """Return the elements that are unpacked for a dataset: of its chunks, those beyond it too."""
    if chunks is None:
        return prod(int(n) for n in shape)
    sides = zip(shape, chunks, strict=True)
    return prod(-(-int(n) // int(side)) * int(side) for n, side in sides)


def read(request: dict[str, Any]) -> tuple[Entry, list[Any]]:
    """Return the reply to a request, and the arrays that follow it."""
    import h5py

    path = request["path"]
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return {"reason": "no file", "where": None}, []
        _limit_memory(os.stat(path).st_size)
        file = h5py.File(path, "r")  # never closed: the fork ends, which is quicker
        walk = Walk(h5py, path)
        objects = list(walk.objects(h5py.h5g.open(file.id, b"/"), request["names"]))
        entries, arrays = _filled(h5py, objects)
    except Refused as error:
        return {"reason": error.reason, "where": error.where}, []
    except MemoryError:
        return {"unreadable": "it takes more memory than such a file may"}, []
    except Exception as error:  # h5py has many ways to say that a file is damaged
        return {"unreadable": " ".join(str(error).split())[:300] or type(error).__name__}, []
    return {"top": walk.top, "objects": entries}, arrays


def _filled(h5py: Any, objects: list[tuple[list[str], Any]]) -> tuple[list[Entry], list[Any]]:
    """Return an entry for each object, and the arrays of those datasets that are not text."""
    import numpy as np

    entries, arrays = [], []
    for path, dataset in objects:
        entry: Entry = {"path": path}
        entries.append(entry)
        if dataset is None:
            entry["group"] = True
            continue
        values = np.asarray(h5py.Dataset(dataset)[()])
        entry["shape"] = list(values.shape)
        if values.dtype.kind == "O":
            entry["text"] = [_text(value) for value in values.reshape(-1)]
        else:
            entry["dtype"] = values.dtype.str
            arrays.append(np.ascontiguousarray(values))
    return entries, arrays


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _limit_memory(file_bytes: int) -> None:
    """Bound the address space by what is taken now, the arrays of such a file, and some."""
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # what the judge allows is then the only bound
    arrays = 8 * (FREE_ELEMENTS + ELEMENTS_A_BYTE * file_bytes)
    most = now + SPARE + min(arrays, LARGEST_FILE)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def answer(line: bytes, out: BinaryIO) -> None:
    """Write the reply to one request, within its time."""
    request = json.loads(line)
    signal.setitimer(signal.ITIMER_PROF, request["seconds"])  # unhandled: it ends the process
    reply, arrays = read(request)
    header = json.dumps(reply).encode()
    if len(header) > MOST_TEXT:
        reason = f"names and texts of {len(header)} bytes, at most {MOST_TEXT} are read"
        header, arrays = json.dumps({"reason": reason, "where": None}).encode(), []
    out.write(LENGTH.pack(len(header)) + header)
    for array in arrays:
        out.write(array.reshape(-1).view("u1").data)
    out.flush()


def serve() -> None:
    """Answer requests, each in a fork, until the input ends."""
    import h5py  # noqa: F401  (once, for all forks)

    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    for number in (signal.SIGPROF, signal.SIGCHLD):  # whatever the parent made of them
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            _answer_and_exit(line)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            sys.exit(128 - status if status < 0 else status)


def _answer_and_exit(line: bytes) -> None:
    status = 1
    try:
        answer(line, sys.stdout.buffer)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.path += sys.argv[1:]
    serve()
