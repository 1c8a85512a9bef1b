"""Where nothing can be written: odd places and names, homes that are none."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikewright.export.formats.archive import write_archive
from tests.export.formats.test_lava import network
from tests.kills.writers import _commanded as commanded

ROOT = Path(__file__).parents[2]
CALL = f"""
import runpy, sys
runpy.run_path({str(ROOT / "conftest.py")!r})
from spikewright.cli.main import main
"""
DATA = ["--data", "npz:x.npz", "-T", "2"]
WRITES = {
    ".nir": ["export", "net.spk", "--to", "nir", "-o"],
    ".onnx": ["export", "net.spk", "--to", "onnx", "-o"],
    ".net": ["export", "net.spk", "--to", "lava", "-o"],
    ".npz": ["run", "net.spk", *DATA, "--trace"],
    ".html": ["report", "net.spk", *DATA, "--targets", "generic-45nm", "-o"],
}
READS = (
    ["inspect", "net.spk"],
    ["run", "net.spk", *DATA],
    ["verify", "net.spk", *DATA],
    ["estimate", "net.spk", *DATA, "--target", "generic-45nm"],
    ["check", "net.spk", "--target", "loihi2"],
    ["inspect", "net.nir"],
    ["inspect", "net.net"],
    ["targets"],
    ["models"],
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder at hand, with a small network and data in it."""
    monkeypatch.chdir(tmp_path)
    write_archive(network(), tmp_path / "net.spk")
    np.savez(tmp_path / "x.npz", x=np.ones((2, 2, 6, 6), np.float32), y=np.array([0, 1]))
    return tmp_path


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that is refused with exit code 2; return the one line that says so."""
    assert commanded(words) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


@pytest.mark.parametrize("suffix", WRITES)
def test_an_odd_place_is_one_line(
    suffix: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = WRITES[suffix]
    (place / f"folder{suffix}").mkdir()
    os.mkfifo(place / f"pipe{suffix}")
    before = {path.name for path in place.iterdir()}
    for force in ([], ["--force"]):
        pipe = refused([*words, f"pipe{suffix}", *force], capsys)
        assert pipe == f"error: pipe{suffix}: cannot write: a device or a pipe has this name"
        missing = refused([*words, f"missing/x{suffix}", *force], capsys)
        assert "cannot write: no folder missing" in missing
        assert "File name too long" in refused([*words, "x" * 300 + suffix, *force], capsys)
        refused([*words, f"folder{suffix}", *force], capsys)
    assert {path.name for path in place.iterdir()} == before
    assert stat.S_ISFIFO((place / f"pipe{suffix}").lstat().st_mode)


@pytest.mark.parametrize("suffix", WRITES)
def test_a_name_with_escapes_is_printed_written_out(
    suffix: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the user's to choose; the terminal takes no order from it, nor its encoding harm."""
    name = f"a\x1b[2J\n\u202e\udcff{suffix}"
    commanded([*WRITES[suffix], name])
    assert (place / name).is_file()
    printed = "".join(capsys.readouterr())
    assert not set("\x1b\u202e\udcff") & set(printed)
    again = refused([*WRITES[suffix], name], capsys)
    assert all(part in again for part in (r"a\x1b[2J", r"\u202e\udcff", "exists already"))


def test_a_mere_read_writes_nowhere_without_a_home(place: Path) -> None:
    """No HOME, no TMPDIR, no cache that can be made: reading commands open no file for writing."""
    for suffix in (".nir", ".net"):
        commanded([*WRITES[suffix], f"net{suffix}"])
    code = f"""
import os
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MAKES = ("os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "os.symlink")
made = []
def watch(event, args):
    opened = event == "open" and isinstance(args[2], int) and args[2] & WRITES
    if (opened and args[0] != os.devnull and not isinstance(args[0], int)) or event in MAKES:
        made.append((event, args))
sys.addaudithook(watch)
for words in {READS!r}:
    sys.argv = ["spikewright", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code in (None, 0, 1), (words, end.code)
print("made", made)
"""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", CALL + code],
        env={**kept, "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.endswith("made []\n"), done.stdout + done.stderr


def test_odd_surroundings_change_nothing_or_are_one_line() -> None:
    """No home, no folder for temporary files, a working folder that is gone: elsewhere nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills.surroundings"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_training_in_a_folder_that_is_gone_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The libraries of torch end the process there."""
    (place / "gone").mkdir()
    monkeypatch.chdir("gone")
    (place / "gone").rmdir()
    for words in (["demo"], ["train", "knn", "digits"], ["inspect", "/m.py:net"]):
        assert refused(words, capsys).startswith("error: the working folder is gone")
