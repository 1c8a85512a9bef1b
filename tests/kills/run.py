"""The campaign: `python -m tests.kills.run --kills 200 --out docs/kills.md`.

Every writer of the table is killed at its file events, on a bare folder and over old files, and in
the middle of its files; then it is run again. Prints a table by writer; returns 1 where there is a
fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import spikewright as sw

from . import child
from .child import LIVES, End, Fate
from .writers import QUICK, SOURCES, WRITERS, Writer

OLD = b"what stood there before"
LEFT = ".writing-"
Files = dict[str, bytes]


@dataclass(slots=True)
class Row:
    """What became of the kills of a writer, new or over old files."""

    writer: Writer
    force: bool
    events: int = 0
    killed: int = 0
    before: int = 0
    after: int = 0
    halves: int = 0
    faults: list[str] = field(default_factory=list)


def prepare(folder: Path) -> None:
    """Import what writers import, and make the network that they read."""
    os.environ.setdefault("SPIKEWRIGHT_CACHE", str(folder / "cache"))
    import h5py
    import nir
    import onnx
    import torch

    from spikewright import api
    from spikewright.cli import main
    from spikewright.trainer.data import load

    del h5py, nir, onnx, torch, api, main, load
    for name, target in SOURCES.items():
        end = child.run(partial(lower, target, name), folder)
        if end.code:
            raise SystemExit(end.said)


def lower(target: str, name: str) -> int:
    """Write the network that writers read."""
    sw.write(sw.lower("digits-if", target=target), name)
    return 0


def without_training() -> None:
    """Leave out the demo's training, which takes most of its minute and writes nothing."""
    from spikewright.cli import demo

    demo.missing_to_train = lambda: "torch"


class Place:
    """A folder for each run of a writer, and what a run that nobody killed makes there."""

    def __init__(self, base: Path, writer: Writer) -> None:
        self.base, self.writer, self.runs = base, writer, 0
        whole = self.fresh(force=False)
        end = self.run(whole, force=False)
        if end.code:
            raise SystemExit(f"{writer.name}: exit code {end.code}: {end.said}")
        self.complete, self._events = self.files(whole), {False: end.events}

    def events(self, *, force: bool) -> int:
        """Return at how many events a run that nobody kills passes."""
        if force not in self._events:
            self._events[force] = self.run(self.fresh(force=force), force=force).events
        return self._events[force]

    def fresh(self, *, force: bool) -> Path:
        """Return a new folder with the source; with `force` also with old files."""
        folder = self.empty()
        self.furnish(folder, force=force)
        return folder

    def empty(self) -> Path:
        """Return a new folder."""
        self.runs += 1
        folder = self.base / f"{self.writer.name.replace(' ', '_').replace('/', '_')}-{self.runs}"
        folder.mkdir()
        return folder

    def furnish(self, folder: Path, *, force: bool) -> None:
        """Put the source into a folder; with `force` old files, too."""
        for source in SOURCES:
            shutil.copyfile(self.base / source, folder / source)
        for name in [name for group in self.writer.files for name in group] if force else []:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(OLD)

    def run(self, folder: Path, *, force: bool, again: bool = False, fate: Fate = LIVES) -> End:
        before = without_training if self.writer.name == "demo" else lambda: None
        return child.run(partial(self.writer, force=force, again=again), folder, fate, before)

    def files(self, folder: Path) -> Files:
        """Return the files of a folder without the source and what writers have not placed."""
        paths = [path for path in folder.rglob("*") if path.is_file()]
        names = [path.relative_to(folder).as_posix() for path in paths]
        kept = [name for name in names if name not in SOURCES and LEFT not in name]
        return {name: comparable(name, (folder / name).read_bytes()) for name in kept}


def comparable(name: str, content: bytes) -> bytes:
    """Return what is the same in two runs: the numbers of a training without its speed."""
    if not name.endswith(".jsonl") or content == OLD:
        return content
    lines = [json.loads(line) for line in content.decode().splitlines(keepends=False)]
    return json.dumps([{k: v for k, v in x.items() if k != "images_per_s"} for x in lines]).encode()


def kill(place: Place, row: Row, fate: Fate) -> None:
    """Kill a writer, judge what it left, run it again, judge that."""
    folder = place.fresh(force=row.force)
    end = place.run(folder, force=row.force, fate=fate)
    if end.code >= 0:
        return  # it was done before
    row.killed += 1
    faults = [*judged_at_once(place, row, folder)]
    age(folder)
    again = place.run(folder, force=row.force, again=True)
    faults += judged_again(place, row.force, folder, again)
    row.faults += [f"{place.writer.name}, force={row.force}, {fate}: {fault}" for fault in faults]


def judged_at_once(place: Place, row: Row, folder: Path) -> Iterator[str]:
    """Yield what a killed writer may not leave; count what it left."""
    files = place.files(folder)
    for name, content in files.items():
        whole = content == place.complete.get(name) or (row.force and content == OLD)
        if name in place.writer.early and not whole:
            sw.read(folder / name)  # its digest is compared
        elif not whole and name not in place.writer.passing and not name.endswith(".jsonl"):
            yield f"{name} is half a file of {len(content)} bytes"
    groups = [[files.get(name) for name in group] for group in place.writer.files]
    new = [[files.get(name) == place.complete[name] for name in g] for g in place.writer.files]
    row.halves += any(any(group) and not all(group) for group in new)
    row.after += all(all(group) for group in new)
    row.before += not any(any(group) for group in new)
    if row.force and any(content is None for group in groups for content in group):
        yield "an old file is gone"


def judged_again(place: Place, force: bool, folder: Path, again: End) -> Iterator[str]:
    """Yield what may not be after the next run: it is done, or says that all is there already."""
    files = place.files(folder)
    if again.code not in ((0,) if force else (0, 2)):
        yield f"run again, exit code {again.code}: {again.said[-200:]}"
    if "Traceback" in again.said:
        yield f"run again, a traceback: {again.said[-300:]}"
    if again.code == 2 and "exists already" not in again.said:
        yield f"run again: {again.said[-200:]}"
    for group in place.writer.files:
        for name in group:
            if files.get(name) != place.complete[name]:
                yield f"run again, {name} is not what it is without a kill"
    extra = files.keys() - place.complete.keys() - set(place.writer.passing)
    left = [path.name for path in folder.rglob(f"{LEFT}*")]
    if extra or left:
        yield f"run again, left: {sorted(extra)} {left}"


def age(folder: Path) -> None:
    """Make what a killed writer left older: a young folder may be one not yet locked."""
    for left in folder.rglob(f"{LEFT}*"):
        os.utime(left, (time.time() - 120,) * 2)


def fates(place: Place, force: bool, most: int) -> list[Fate]:
    """Return at most so many events, evenly spread, and each file's beginning and middle."""
    events = place.events(force=force)
    chosen = sorted({1 + round(i * (events - 1) / max(most - 1, 1)) for i in range(most)})
    sizes = {len(c) // 2 for n, c in place.complete.items() if not n.endswith(".jsonl")}
    return [*(Fate(event=e) for e in chosen), *(Fate(size=s) for s in sorted({0, *sizes}))]


def campaign(writers: Sequence[Writer], kills: int, base: Path) -> Iterator[Row]:
    """Yield a row for each writer, new and over old files."""
    prepare(base)
    each = -(-kills // (2 * len(writers)))
    for writer in writers:
        place = Place(base, writer)
        for force in (False, True):
            row = Row(writer, force, place.events(force=force))
            for fate in fates(place, force, each):
                kill(place, row, fate)
            yield row


HEAD = "| writer | over old files | events | kills | old | new | half a pair | faults |"

PROMISED = """# Kills

`make kills` writes this page. It kills every command and call that writes (SIGKILL at an event of
its files; the system's own end in the middle of a write), runs it again and compares every byte.

- Each file is absent, what it was before, or whole. A pair (`.html` and `.json`, ONNX and its Scan)
  may stand by half after a kill; the next write into that folder takes the half back or, with
  `--force`, puts the old file back.
- `.writing-…` folders that killed writers left are removed by the next writer of the same user, a
  minute later; those of writers at work stay.
- A training goes on with `--resume` and ends in the same bytes. Lines of `--metrics` are appended:
  the last may be cut, `--resume` drops it. `lower` writes the network before it measures: a kill in
  between leaves it whole, without its accuracies.
- Of several writers of one name at once, one wins without `--force`; with it, one whole group
  stands.
- Not promised: a power cut (files are not synced), TensorBoard's files, systems without file locks.

"old" counts kills behind which no new file stood, "new" those behind which all did.
"""


def line(row: Row) -> str:
    """Return a row of the table."""
    counts = (row.events, row.killed, row.before, row.after, row.halves, len(row.faults))
    words = " | ".join(str(count) for count in counts)
    return f"| {row.writer.name} | {'yes' if row.force else 'no'} | {words} |"


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill every writer at its file events.")
    parser.add_argument("--kills", type=int, default=200, help="at events, in all")
    parser.add_argument("--quick", action="store_true", help="only writers of a moment")
    parser.add_argument("--only", help="the name of one writer")
    parser.add_argument("--out", type=Path, help="where the table goes")
    options = parser.parse_args()
    writers = [w for w in WRITERS if not options.quick or w.name in QUICK]
    writers = [w for w in writers if options.only in (None, w.name)]
    lines, faults, killed, began = [HEAD, "|:--|:--|--:|--:|--:|--:|--:|--:|"], [], 0, time.time()
    with tempfile.TemporaryDirectory() as base:
        for row in campaign(writers, options.kills, Path(base)):
            lines.append(line(row))
            print(lines[-1], flush=True)
            faults += row.faults
            killed += row.killed
    print(*faults, sep="\n")
    print(f"{killed} kills, {len(faults)} faults, {time.time() - began:.0f} s")
    if options.out is not None:
        summary = f"{killed} kills, {len(faults)} faults."
        options.out.write_text("\n".join([PROMISED, summary, "", *lines, ""]), encoding="utf-8")
    return bool(faults) or killed < options.kills


if __name__ == "__main__":
    sys.exit(main())
