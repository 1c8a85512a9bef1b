"""Full disks: `python -m tests.kills.full --quick`.

Every writer of the table is run where a file may not grow beyond a size (EFBIG), and on a disk that
has room for so many more bytes or files (ENOSPC; a file system in memory, where this process may
mount one). It ends in one line, leaves what was, and does its work when there is room.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .child import LIVES, End, Fate
from .run import LEFT, OLD, Place, judged_again, prepare
from .writers import QUICK, SOURCES, WRITERS, Writer

PAGE = 4096
REMOUNT = 32
MOST_FILES = 12
"""More than any writer needs for one group: its folder, two within, lock, files, links."""
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Room:
    """What is left: bytes of a file, or pages or files of a disk."""

    size: int | None = None
    pages: int | None = None
    files: int | None = None

    @property
    def said(self) -> str:
        """What the system says where there is no more of it."""
        return "File too large, at most" if self.size is not None else "No space left on device, "


def mount(folder: Path, options: str, flags: int = 0) -> bool:
    """Mount a file system in memory; return whether this process may."""
    return not LIBC.mount(b"none", bytes(folder), b"tmpfs", flags, options.encode())


@contextmanager
def disk(place: Place, room: Room, *, force: bool) -> Iterator[Path]:
    """Make a folder of its own file system with source, old files and so much more room."""
    folder = place.empty()
    if not mount(folder, "size=64m"):
        raise SystemExit("no file system can be mounted here")
    try:
        place.furnish(folder, force=force)
        status = os.statvfs(folder)
        if room.pages is not None:
            mount(folder, f"size={(status.f_blocks - status.f_bfree + room.pages) * PAGE}", REMOUNT)
        if room.files is not None:
            mount(folder, f"nr_inodes={status.f_files - status.f_ffree + room.files}", REMOUNT)
        yield folder
    finally:
        LIBC.umount(bytes(folder))


def mountable() -> bool:
    """Return whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        return mount(Path(folder), "size=64k") and not LIBC.umount(os.fsencode(folder))


def attempt(place: Place, room: Room, *, force: bool, again: bool) -> tuple[bool, list[str]]:
    """Run a writer in so much room, and `again` with enough; return whether it had, and faults."""
    fate = LIVES if room.size is None else Fate(size=room.size, full=True)
    with made(place, room, force=force) as folder:
        end = place.run(folder, force=force, fate=fate)
        faults = [*judged_line(place, room, end), *judged_files(place, folder, force=force)]
        if end.code and again:
            if room.size is None:
                mount(folder, "size=64m,nr_inodes=1000", REMOUNT)
            done = place.run(folder, force=force, again=True)
            faults += judged_again(place, force, folder, done)
    return end.code == 0, [f"{place.writer.name}, force={force}, {room}: {f}" for f in faults]


@contextmanager
def made(place: Place, room: Room, *, force: bool) -> Iterator[Path]:
    """Make a folder with source and old files: a disk of its own, or limited by its process."""
    if room.size is None:
        with disk(place, room, force=force) as folder:
            yield folder
    else:
        yield place.fresh(force=force)


def judged_line(place: Place, room: Room, end: End) -> Iterator[str]:
    """Yield what is wrong with what was said: one line that names the file and the limit."""
    if end.code == 0:
        return
    if end.code != 2:
        yield f"exit code {end.code}: {end.said[-500:]}"
    errors = [line for line in end.said.splitlines() if line.startswith("error: ")]
    if "Traceback" in end.said or len(errors) != 1 or not end.said.endswith(f"{errors[0]}\n"):
        yield f"not one line: {end.said[-500:]}"
        return
    names = [*place.writer.passing, *(name for group in place.writer.files for name in group)]
    named = any(errors[0].startswith(f"error: {name}") for name in names)
    if not named or f"cannot write: {room.said}" not in errors[0]:
        yield errors[0]


def judged_files(place: Place, folder: Path, *, force: bool) -> Iterator[str]:
    """Yield what may not stand there: half a file, half a group, a file of the writer's own."""
    for group in place.writer.files:
        contents = [_content(folder / name) for name in group]
        states = [_state(place, name, c) for name, c in zip(group, contents, strict=True)]
        if len(set(states)) > 1 or "half" in states or (force and "absent" in states):
            yield f"{group}: {states}"
    known = {name for group in place.writer.files for name in group} | set(place.writer.passing)
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    if extra := here - known - SOURCES.keys():
        yield f"left: {sorted(extra)}"
    if left := [path.name for path in folder.rglob(f"{LEFT}*")]:
        yield f"left: {left}"


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _state(place: Place, name: str, content: bytes | None) -> str:
    """Return absent, old, whole or half; a file of lines is whole with its last line."""
    if content is None or content == OLD:
        return "absent" if content is None else "old"
    if not name.endswith(".jsonl"):
        early = name in place.writer.early  # whole, before the accuracies are in it
        return "whole" if early or content == place.complete[name] else "half"
    try:
        for line in content.decode().splitlines(keepends=True):
            assert line.endswith("\n") and json.loads(line)
    except (ValueError, AssertionError):
        return "half"
    return "whole"


def rooms(place: Place, *, disks: bool) -> Iterator[Room]:
    """Yield the rooms to try: nothing, half of each file, one page too few; files one by one."""
    sizes = sorted({len(content) for content in place.complete.values()})
    yield from (Room(size=size) for size in sorted({0, *(s // 2 for s in sizes)}))
    pages = -(-sizes[-1] // PAGE)
    if disks:
        yield from (Room(pages=count) for count in (0, pages // 2, pages - 1))
        yield from (Room(files=count) for count in range(MOST_FILES))


def few_rooms(place: Place, *, disks: bool) -> Iterator[Room]:
    """Yield half of the largest file, and for writers of a moment a file too few, too."""
    largest = max(len(content) for content in place.complete.values())
    yield Room(size=largest // 2)
    if disks:
        yield Room(pages=largest // PAGE // 2)
        yield from (Room(files=n) for n in (4, 6) if place.writer.name in QUICK)


def campaign(writer: Writer, base: Path, *, disks: bool, quick: bool) -> tuple[int, list[str]]:
    """Try a writer in every room; return how often there was too little, and the faults.

    Over old files in every second room, with `quick`; else in every one.
    """
    place, refused, faults = Place(base, writer), 0, []
    chosen = (few_rooms if quick else rooms)(place, disks=disks)
    for number, room in enumerate(chosen):
        for force in (number % 2 == 1,) if quick else (False, True):
            enough, wrong = attempt(place, room, force=force, again=not quick)
            refused += not enough
            faults += wrong
    return refused, [*faults, *([] if refused else [f"{writer.name}: it had room everywhere"])]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run every writer where there is too little room.")
    parser.add_argument("--quick", action="store_true", help="a few rooms each, not run again")
    parser.add_argument("--only", help="the name of one writer")
    options = parser.parse_args()
    refused, faults, disks = 0, list[str](), mountable()
    with tempfile.TemporaryDirectory() as base:
        prepare(Path(base))
        for writer in WRITERS:
            if options.only in (None, writer.name):
                times, wrong = campaign(writer, Path(base), disks=disks, quick=options.quick)
                print(f"{writer.name}: {times} refused, {len(wrong)} faults", flush=True)
                refused, faults = refused + times, faults + wrong
    print(*faults, sep="\n")
    print(f"{refused} refused, {len(faults)} faults{'' if disks else ', no disks to mount'}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
