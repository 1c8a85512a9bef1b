"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from threading import Thread

import pytest

from spikewright.export.formats import atomic, writing_folder
from spikewright.export.formats.atomic import atomic_path, atomic_paths
from spikewright.export.ir import FormatError


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(UnicodeEncodeError),
        atomic_path(tmp_path / "net.spk") as temporary,
        temporary.open("w", encoding="ascii") as file,
    ):
        file.write("half \N{GREEK SMALL LETTER ALPHA}")
    assert list(tmp_path.iterdir()) == []


def test_what_stood_there_stays_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    path.write_text("old")
    with pytest.raises(FormatError, match="exists already; give force=True"), atomic_path(path):
        pass
    with atomic_path(path, force=True) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.name == path.name
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["absent/net.spk", "x" * 300, "folder"])
def test_a_place_that_cannot_be_written_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(FormatError, match=r"cannot write: \w+"),
        atomic_path(tmp_path / name, force=True) as temporary,
    ):
        temporary.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def in_a_child(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, in `folder`."""
    root = Path(__file__).parents[3]
    start = f"""
import os, runpy, signal, sys
runpy.run_path({str(root / "conftest.py")!r})
from pathlib import Path
from spikewright.export.formats import atomic, writing_folder
from spikewright.export.formats.atomic import atomic_path, atomic_paths
from spikewright.export.ir import FormatError
os.chdir({str(folder)!r})
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def aged(folder: Path, seconds: float = 120) -> Path:
    """Return the one folder that a killed writer left, made older."""
    (left,) = folder.glob(".writing-*")
    os.utime(left, (time.time() - seconds,) * 2)
    return left


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = """
        with atomic_path("a") as temporary:
            temporary.write_text("half")
            die()
    """
    assert in_a_child(code, tmp_path).returncode == -9
    assert len(names(tmp_path)) == 1
    with atomic_path(tmp_path / "b") as temporary:
        temporary.write_text("b")
    assert len(names(tmp_path)) == 2, "it may be one that is about to lock its folder"
    aged(tmp_path)
    with atomic_path(tmp_path / "c") as temporary:
        temporary.write_text("c")
    assert names(tmp_path) == {"b", "c"}


def test_the_folder_of_a_writer_at_work_or_of_another_user_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("a")
        aged(tmp_path)
        with atomic_path(tmp_path / "b") as other:
            other.write_text("b")
    assert names(tmp_path) == {"a", "b"}
    stranger = tmp_path / ".writing-x"
    stranger.symlink_to(tmp_path)
    with atomic_path(tmp_path / "c") as temporary:
        temporary.write_text("c")
    assert names(tmp_path) == {"a", "b", "c", ".writing-x"}
    stranger.unlink()
    if os.geteuid() == 0:
        stranger.mkdir()
        os.chown(stranger, 12345, 12345)
        aged(tmp_path)
        with atomic_path(tmp_path / "d") as temporary:
            temporary.write_text("d")
        assert stranger.is_dir()


@pytest.mark.parametrize("links", [True, False])
def test_of_several_writers_at_once_one_wins(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with atomic_path(tmp_path / "a") as first:
        first.write_text("first")
        with pytest.raises(FormatError, match="exists already; give force=True"):
            overtaken(tmp_path / "a")
        (tmp_path / "a").unlink()
    assert (tmp_path / "a").read_text() == "first" and names(tmp_path) == {"a"}
    with atomic_path(tmp_path / "a", force=True) as again:
        again.write_text("again")
    assert (tmp_path / "a").read_text() == "again" and names(tmp_path) == {"a"}


def overtaken(path: Path) -> None:
    """Write a file that another process makes in the meantime."""
    with atomic_path(path) as temporary:
        temporary.write_text("second")
        path.write_text("third")


def no_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "no links here")


def test_processes_race_for_one_name(tmp_path: Path) -> None:
    code = """
        from multiprocessing import get_context
        import time
        def write(n, at):
            time.sleep(max(0, at - time.time()))
            try:
                with atomic_path("net") as temporary:
                    temporary.write_text(str(n))
            except FormatError:
                return
            print(n, flush=True)
        at = time.time() + 0.3
        children = [get_context("fork").Process(target=write, args=(n, at)) for n in range(3)]
        for child in children: child.start()
        for child in children: child.join()
    """
    for _ in range(3):
        done = in_a_child(code, tmp_path)
        winners = done.stdout.split()
        assert len(winners) == 1 and (tmp_path / "net").read_text() == winners[0], done.stderr
        assert names(tmp_path) == {"net"}
        (tmp_path / "net").unlink()


def old_pair(folder: Path) -> list[Path]:
    paths = [folder / "a.json", folder / "a.html"]
    for path in paths:
        path.write_text("old")
    return paths


def write_all(paths: list[Path], force: bool) -> None:
    with atomic_paths(paths, force=force) as temporary:
        for path in temporary:
            path.write_text("new")


def contents(paths: list[Path]) -> list[str | None]:
    return [path.read_text() if path.exists() else None for path in paths]


@pytest.mark.parametrize("force", [True, False])
def test_a_pair_appears_together_or_not_at_all(
    tmp_path: Path, force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = old_pair(tmp_path) if force else [tmp_path / "a.json", tmp_path / "a.html"]
    before, placed = contents(paths), writing_folder.place

    def second_fails(folder: Path, target: Path, *, force: bool) -> None:
        if target == paths[1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        placed(folder, target, force=force)

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "place", second_fails)
        with pytest.raises(FormatError, match=r"a\.html: cannot write: No space left"):
            write_all(paths, force)
    assert contents(paths) == before
    write_all(paths, force)
    assert contents(paths) == ["new", "new"] and names(tmp_path) == {"a.json", "a.html"}


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("event", range(1, 9))
def test_a_writer_killed_at_any_step_leaves_no_half_pair(
    tmp_path: Path, force: bool, event: int
) -> None:
    """Killed at each call that places a file; the next writer takes half a pair back."""
    paths = old_pair(tmp_path) if force else [tmp_path / "a.json", tmp_path / "a.html"]
    before = contents(paths)
    code = f"""
        events = 0
        def counted(call):
            def counting(*args, **options):
                global events
                events += 1
                if events == {event}: die()
                result = call(*args, **options)
                events += 1
                if events == {event}: die()
                return result
            return counting
        os.link, os.replace = counted(os.link), counted(os.replace)
        with atomic_paths(["a.json", "a.html"], force={force}) as temporary:
            for path in temporary:
                path.write_text("new")
    """
    done = in_a_child(code, tmp_path)
    assert done.returncode in (0, -9), done.stderr
    if done.returncode:
        aged(tmp_path)
    with atomic_path(tmp_path / "other") as temporary:
        temporary.write_text("other")
    assert contents(paths) in (before, ["new", "new"])
    assert not list(tmp_path.glob(".writing-*"))


@pytest.mark.parametrize("locked", [False, True])
def test_pairs_of_two_writers_do_not_mix(
    tmp_path: Path, locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer that comes between the files of a pair waits until both are placed."""
    paths, placed, others = old_pair(tmp_path), writing_folder.place, list[Thread]()

    def write(content: str) -> None:
        with atomic_paths(paths, force=True) as temporary:
            for path in temporary:
                path.write_text(content)

    def met(folder: Path, target: Path, *, force: bool) -> None:
        placed(folder, target, force=force)
        if not others:
            others.append(Thread(target=write, args=("second",)))
            others[0].start()
            others[0].join(0.3)

    monkeypatch.setattr(atomic, "place", met)
    file = os.open(tmp_path, os.O_RDONLY)
    if locked:  # by the user, for something else: nobody waits for ever
        monkeypatch.setattr(writing_folder, "PATIENCE_S", 0.05)
        assert writing_folder._try_lock(file)
    write("first")
    others[0].join()
    os.close(file)
    if not locked:
        assert contents(paths) == ["second", "second"]
    assert names(tmp_path) == {"a.json", "a.html"}


def test_half_a_pair_does_not_keep_the_next_from_its_name(tmp_path: Path) -> None:
    code = """
        place = writing_folder.place
        def once(*args, **options):
            place(*args, **options)
            die()
        atomic.place = once
        with atomic_paths(["a.json", "a.html"]) as temporary:
            for path in temporary:
                path.write_text("new")
    """
    assert in_a_child(code, tmp_path).returncode == -9
    assert (tmp_path / "a.json").exists() and not (tmp_path / "a.html").exists()
    aged(tmp_path)
    with atomic_paths([tmp_path / "a.json", tmp_path / "a.html"]) as temporary:
        for path in temporary:
            path.write_text("second")
    assert contents([tmp_path / "a.json", tmp_path / "a.html"]) == ["second", "second"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with atomic_path("a") as temporary:
                temporary.write_bytes(bytes(5000))
        except FormatError as error:
            print(error)
    """
    assert "a: cannot write: File too large" in in_a_child(code, tmp_path).stdout
    assert names(tmp_path) == set()
    with pytest.raises(FormatError, match=r"NUL in the path"), atomic_path(tmp_path / "a\0b"):
        pass
