"""Odd surroundings: `python -m tests.kills.surroundings`.

No home, a home that is a file or read-only, a working folder that is read-only or gone, no folder
for temporary files: reading, and writing to an absolute path, works or is refused in one line, and
nothing is written elsewhere. Prints the faults; returns 1 where there is one.
"""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from . import child
from .child import EVENTS, LIVES, WRITES
from .full import LIBC, REMOUNT, mount
from .run import prepare
from .writers import FOR_LAVA, SOURCE, _commanded

READ_ONLY = 1
TINY = ("--data", "digits", "--limit", "4")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Variables (None: not set), and what else is done in the child first."""

    variables: dict[str, str | None] = field(default_factory=dict)
    act: Callable[[], None] = lambda: None

    def enter(self) -> None:
        for name, value in self.variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        tempfile.tempdir = None
        self.act()


def _unknown_user() -> None:
    """As in a container that runs under a number."""

    def getpwuid(number: int) -> Any:
        raise KeyError(number)

    pwd.getpwuid = getpwuid


def _no_temporary_folder() -> None:
    """As where /tmp, /var/tmp and the folder at hand can not be written."""
    tempfile.tempdir = "/dev/null/none"


def _deleted_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def surroundings(base: Path) -> dict[str, Surroundings]:
    """Return them by name; some need a file system of their own in `base`."""
    file, read_only, full = str(base / "a_file"), base / "read_only", base / "full"
    homeless = {"HOME": None, "XDG_CACHE_HOME": None}
    found = {
        "no HOME": Surroundings(homeless),
        "no HOME and no such user": Surroundings(homeless, _unknown_user),
        "HOME a file": Surroundings({**homeless, "HOME": file}),
        "a working folder that is gone": Surroundings({}, _deleted_folder),
        "TMPDIR missing": Surroundings({"TMPDIR": str(base / "missing")}),
        "TMPDIR a file": Surroundings({"TMPDIR": file}),
        "no folder for temporary files": Surroundings({}, _no_temporary_folder),
    }
    if mount(read_only, "size=64k") and mount(read_only, "size=64k", REMOUNT | READ_ONLY):
        found["HOME read-only"] = Surroundings({**homeless, "HOME": str(read_only)})
        found["a working folder to read"] = Surroundings({}, partial(os.chdir, read_only))
        mount(full, "size=4k")
        (full / "all").write_bytes(bytes(4096))
        found["TMPDIR full"] = Surroundings({"TMPDIR": str(full)})
    return found


def commands(base: Path) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Return command lines with absolute paths, and the exit codes that they may have."""
    source, out = str(base / SOURCE), base / "out"
    return {
        "inspect": (("inspect", str(base / "n.nir")), (0,)),
        "run": (("run", source, *TINY), (0,)),
        "export": (("export", str(base / FOR_LAVA), "--to", "lava", "-o", f"{out}/n.net"), (0,)),
        "trace": (("run", source, *TINY, "--trace", f"{out}/t.npz"), (0,)),
        "lower": (("lower", "digits-if", "--limit", "8", "-o", f"{out}/n.spk"), (0,)),
        "lava": (("lava", "status"), (1, 2)),
        "here": (("export", source, "--to", "onnx", "-o", "here/n.onnx"), (2,)),
    }


class Elsewhere:
    """The audit hook: prints what is made outside a folder."""

    def __init__(self, allowed: Path) -> None:
        self.allowed = os.path.join(allowed, "")

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            opened = isinstance(flags, int) and flags & WRITES and not isinstance(path, int)
            if not opened or os.fsdecode(path) == os.devnull:
                return
        elif event not in EVENTS or event in ("os.remove", "os.rmdir"):
            return
        path = os.fsdecode(args[0])
        if not path.startswith(self.allowed):
            print(f"made elsewhere: {event} {path}")


def faults(base: Path, name: str, place: Surroundings) -> list[str]:
    """Run every command in its surroundings; return what was wrong."""
    wrong = []
    for words, codes in commands(base).values():
        for old in (base / "out").iterdir():
            old.unlink()

        def before() -> None:
            place.enter()
            sys.addaudithook(Elsewhere(base / "out"))

        end = child.run(partial(_commanded, list(words)), base, LIVES, before)
        refusals = [line for line in end.said.splitlines() if line.startswith("error: ")]
        clean = "Traceback" not in end.said and "made elsewhere" not in end.said
        if end.code not in codes or not clean or (end.code == 2) != (len(refusals) == 1):
            wrong.append(f"{name}, {' '.join(words)}: {end.code} {end.said[-600:]}")
    return wrong


def main() -> int:
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        os.environ["SPIKEWRIGHT_CACHE"] = str(base / "cache")
        os.environ["SPIKEWRIGHT_LAVA_PREFIX"] = ""
        prepare(base)
        for name in ("out", "read_only", "full"):
            (base / name).mkdir()
        (base / "a_file").write_text("no folder")
        nir = ("export", str(base / SOURCE), "--to", "nir", "-o", str(base / "n.nir"))
        child.run(partial(_commanded, list(nir)), base)
        try:
            for name, place in surroundings(base).items():
                wrong += (here := faults(base, name, place))
                print(f"{name}: {len(here)} faults", flush=True)
        finally:
            for mounted in ("read_only", "full"):
                LIBC.umount(bytes(base / mounted))
    print(*wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
