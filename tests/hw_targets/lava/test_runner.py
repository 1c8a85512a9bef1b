"""The worker's process: limits, crashes, interrupts; no process and no half file is left."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import ExecutorError
from spikewright.hw_targets.lava.environment import Environment
from spikewright.hw_targets.lava.job_folder import LOCK, job_folder
from spikewright.hw_targets.lava.runner import _result, run_job
from spikewright.hw_targets.lava.worker.shared_memory import FOLDER, unlink

from .worker import environment

PATIENCE_S = 600
"""After which something is taken to hang; on a machine however busy it is done before."""
LIF = {"shape": [4], "vth": 3, "du": 0, "dv": 0, "bias_exp": 0, "bias_mant": 1}
ENDLESS: dict[str, Any] = {
    "kind": "network",
    "run_config": "Loihi2SimCfg",
    "monitors": False,
    "processes": [
        {"name": "a", "kind": "lif", "parameters": LIF, "arrays": []},
        {"name": "b", "kind": "lif", "parameters": LIF, "arrays": []},
    ],
    "connections": [["a", "b"]],
    "records": [["b", "v"]],
    "segments": [{"steps": 10_000_000, "set": []}],
}


@pytest.fixture(name="worker")
def _worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    found = environment()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return found


@pytest.fixture(name="blocks")
def _blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """Tell, after a job, what blocks of shared memory it made; they are Linux's files."""
    made: list[Path] = []

    def noted(folder: Path) -> None:
        made.extend(Path("/dev/shm") / p.name for p in (folder / FOLDER).glob("*"))
        assert any(path.exists() for path in made)
        unlink(folder)

    monkeypatch.setattr("spikewright.hw_targets.lava.job_folder.unlink", noted)
    return lambda: made


def assert_gone(blocks: list[Path]) -> None:
    assert len(blocks) > 3
    assert [path for path in blocks if path.exists()] == []


def processes(folder: Path) -> list[int]:
    """The processes of jobs below `folder`, found by their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(int(entry.name))
    return found


def wait_for(folder: Path, count: int) -> list[int]:
    for _ in range(PATIENCE_S * 10):
        found = processes(folder)
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{len(processes(folder))} processes of {count} started")


def jobs(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith("spikewright-lava")]


def test_a_good_end_leaves_nothing(
    worker: Environment, tmp_path: Path, blocks: Callable[[], list[Path]]
) -> None:
    run_job(worker, {**ENDLESS, "segments": [{"steps": 3, "set": []}]}, {}, time_limit_s=PATIENCE_S)
    assert_gone(blocks())
    assert processes(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_time_limit_ends_every_process(
    worker: Environment,
    tmp_path: Path,
    blocks: Callable[[], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit is reached when every process runs, however long they take to start."""
    wait = subprocess.Popen.wait

    def once_all_run(self: Any, timeout: float | None = None) -> int:
        if timeout is None:
            return wait(self)
        wait_for(tmp_path, 4)
        return wait(self, timeout=0.1)

    monkeypatch.setattr(subprocess.Popen, "wait", once_all_run)
    with pytest.raises(
        ExecutorError, match=r"lava: took longer than 6 s; .*--time-limit \(log: .*\.log\)"
    ):
        run_job(worker, ENDLESS, {}, time_limit_s=6)
    assert_gone(blocks())
    assert processes(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert len(list((tmp_path / "cache" / "spikewright").glob("lava-error-*.log"))) == 1


def test_a_cache_that_cannot_be_written_hides_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    log = tmp_path / "spikewright-lava-x" / "log.txt"
    log.parent.mkdir()
    log.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ExecutorError, match=r"took longer than 6 s; .*\(no log: the cache can"):
        _result(log.parent, None, 6, 100)


def test_a_killed_worker_leaves_nothing(
    worker: Environment, tmp_path: Path, blocks: Callable[[], list[Path]]
) -> None:
    def kill_the_leader() -> None:
        found = wait_for(tmp_path, 4)
        os.kill(next(pid for pid in found if os.getpgid(pid) == pid), signal.SIGKILL)

    thread = threading.Thread(target=kill_the_leader)
    thread.start()
    with pytest.raises(ExecutorError, match="the worker ended by signal 9"):
        run_job(worker, ENDLESS, {}, time_limit_s=PATIENCE_S)
    thread.join()
    assert_gone(blocks())
    assert processes(tmp_path) == []
    assert jobs(tmp_path) == []


def test_an_interrupt_ends_every_process(
    worker: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Any, timeout: float | None = None) -> int:
        monkeypatch.undo()
        wait_for(tmp_path, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run_job(worker, ENDLESS, {}, time_limit_s=PATIENCE_S)
    assert processes(tmp_path) == []
    assert jobs(tmp_path) == []


def test_an_error_inside_is_one_line(worker: Environment) -> None:
    wrong = {**ENDLESS, "connections": [["a", "nobody"]]}
    with pytest.raises(ExecutorError, match=r"KeyError: 'nobody'; ") as raised:
        run_job(worker, wrong, {})
    assert "\n" not in str(raised.value)


def test_a_broken_environment_says_how_it_is_repaired(tmp_path: Path) -> None:
    """An interpreter without the packages: the worker does not even start."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    told = r"lava: ModuleNotFoundError: No module named 'numpy'; run: .*install --force"
    with pytest.raises(ExecutorError, match=told):
        run_job(Environment(tmp_path, {}), ENDLESS, {}, time_limit_s=PATIENCE_S)


def test_an_error_in_a_process_of_lavas_is_named(worker: Environment) -> None:
    shapes = {"shape": [4], "vth": 3, "du": 0, "dv": [1, 2, 3], "bias_exp": 0}
    broken = {"name": "b", "kind": "lif", "parameters": shapes, "arrays": []}
    job = {**ENDLESS, "processes": [ENDLESS["processes"][0], broken]}
    with pytest.raises(ExecutorError, match=r"lava: TypeError: "):
        run_job(worker, job, {}, time_limit_s=PATIENCE_S)


def test_a_memory_limit_is_one_line(worker: Environment) -> None:
    with pytest.raises(ExecutorError, match=r"limit 100 MB a process\); .*batch") as raised:
        run_job(worker, ENDLESS, {}, memory_limit_mb=100, time_limit_s=PATIENCE_S)
    assert "\n" not in str(raised.value)


def test_memory_that_ends_in_mid_run_is_one_line(worker: Environment, tmp_path: Path) -> None:
    """Lava starts; what it is to record (40 GB) then exceeds what its process may have."""
    wide = {**LIF, "shape": [1000]}
    made = [{"name": n, "kind": "lif", "parameters": wide, "arrays": []} for n in ("a", "b")]
    job = {**ENDLESS, "processes": made}
    with pytest.raises(ExecutorError, match=r"limit 3000 MB a process\); .*batch") as raised:
        run_job(worker, job, {}, memory_limit_mb=3000, time_limit_s=PATIENCE_S)
    assert "\n" not in str(raised.value)
    assert processes(tmp_path) == []
    assert jobs(tmp_path) == []


_STARTER = """
import json, sys
from pathlib import Path
from spikewright.hw_targets.lava.environment import Environment
from spikewright.hw_targets.lava.runner import _result, run_job
from spikewright.hw_targets.lava.worker.shared_memory import FOLDER, unlink
run_job(Environment(Path(sys.argv[1]), {}), json.loads(sys.argv[2]), {}, time_limit_s=600)
"""


def test_a_killed_spikewright_leaves_no_process_and_no_folder(
    worker: Environment, tmp_path: Path
) -> None:
    import json

    command = [sys.executable, "-c", _STARTER, str(worker.prefix), json.dumps(ENDLESS)]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as starter:
        wait_for(tmp_path, 3)
        assert len(jobs(tmp_path)) == 1
        names = [p.name for p in tmp_path.glob(f"spikewright-lava-*/{FOLDER}/*")]
        starter.kill()
    for _ in range(PATIENCE_S * 10):
        if not processes(tmp_path) and not jobs(tmp_path):
            assert_gone([Path("/dev/shm") / name for name in names])
            return
        time.sleep(0.1)
    raise AssertionError(f"left: {processes(tmp_path)} {jobs(tmp_path)}")


def test_leftovers_are_removed_and_what_runs_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, fresh, held = (tmp_path / f"spikewright-lava-{n}" for n in ("left", "fresh", "held"))
    for folder in (left, fresh, held):
        folder.mkdir()
        (folder / LOCK).touch()
        (folder / "result.npz.part").write_bytes(b"half")
    for folder in (left, held):
        os.utime(folder, (0, 0))
    with (held / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with job_folder() as mine:
            assert mine.is_dir()
            assert jobs(tmp_path) != []
        assert sorted(jobs(tmp_path)) == [fresh.name, held.name]


def test_no_folder_and_no_room_for_a_job_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobodys = Environment(tmp_path, {})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(ExecutorError, match=r"missing/.*cannot write .* No such file.*set TMPDIR"):
        run_job(nobodys, {}, {})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    unlimited, limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1], 1000
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited))
    try:
        with pytest.raises(ExecutorError, match=r"lava: cannot write .*File too large"):
            run_job(nobodys, {}, {"x": np.zeros(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.iterdir())
