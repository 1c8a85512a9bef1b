"""Run one job in the worker: files in, files out, bounded in time and memory, nothing left behind.

The worker is the leader of a process group of its own. However the run ends (done, time-out,
interrupt, crash), the whole group is ended. A pickle never crosses: npz of plain arrays and JSON.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ...export.formats.cache_folder import cache_folder
from ...export.formats.npz_in import Npz
from ...export.ir import Array, ExecutorError, InputError
from .environment import Environment
from .job_folder import job_folder, no_folder

TIME_LIMIT_S = 1800.0
MEMORY_LIMIT_MB = 16_384
"""Of address space, for each of Lava's processes; most of it is shared and never touched."""
SOCKET_ROOM = 60
"""Bytes of a folder's path in which multiprocessing may put sockets: their own paths end at 104."""
KEPT_LOGS = 10
_BOOT = "import sys; sys.path.append(sys.argv[1]); from worker.main import main; main(sys.argv[2])"
_REPAIR = "run: spikewright lava install --force if it is broken"
_BROKEN = re.compile("ImportError|ModuleNotFoundError|PackageNotFoundError|SyntaxError")
"""What a worker says whose packages are not whole."""
_MEMORY = re.compile("MemoryError|Cannot allocate memory|failed to map|ended by itself")
_ERROR = re.compile(r"^\s*(\w*(?:Error|Exception)): (.+)$")


@dataclass(frozen=True, slots=True)
class Result:
    """What a job left: `card` (seconds, python, versions) and its arrays."""

    card: Mapping[str, Any]
    arrays: Mapping[str, Array]


def run_job(
    environment: Environment,
    job: Mapping[str, Any],
    arrays: Mapping[str, Array],
    *,
    time_limit_s: float = TIME_LIMIT_S,
    memory_limit_mb: int = MEMORY_LIMIT_MB,
) -> Result:
    """Return the result of a job.

    Raises:
        ExecutorError: for a time-out, a crash or an error inside, with the path of the log.
    """
    with job_folder() as folder:
        card = {**job, "memory_mb": memory_limit_mb}
        try:
            (folder / "job.json").write_text(json.dumps(card), encoding="utf-8")
            np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise no_folder(error) from None
        status = _run(environment, folder, time_limit_s)
        return _result(folder, status, time_limit_s, memory_limit_mb)


def _run(environment: Environment, folder: Path, time_limit_s: float) -> int | None:
    """Return the worker's exit status, None if the time ran out; end its group in any case."""
    command = [str(environment.python), "-I", "-c", _BOOT, str(Path(__file__).parent), str(folder)]
    # One thread each: Lava starts a process for every node.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    place = {"TMPDIR": str(folder)} if len(os.fsencode(folder)) <= SOCKET_ROOM else {}
    with (folder / "log.txt").open("wb") as log:
        worker = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, **threads, **place},
        )
        try:
            return worker.wait(timeout=time_limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(worker)


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End what is left of the worker's group; wait until it has (1 s; after a bad end 10 s)."""
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
        for _ in range(100 if worker.wait() == 0 else 1000):
            os.killpg(worker.pid, 0)
            time.sleep(0.01)


def _result(folder: Path, status: int | None, limit: float, megabytes: int) -> Result:
    if status is None:
        _fail(
            folder, f"took longer than {limit:g} s", "run less, or raise it: lava run --time-limit"
        )
    if (folder / "result.json").exists():
        card = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if card["error"] is not None:
            _fail_by(folder, _cause(folder / "log.txt") or card["error"], megabytes)
    else:
        cause = _cause(folder / "log.txt") if status == 1 else None
        if cause is not None:  # the worker itself does not start
            _fail_by(folder, cause, megabytes)
        killed = status is not None and status < 0
        how = f"signal {-status}" if killed and status else f"exit code {status}"
        remedy = "did the system lack memory? see the log" if killed else "see the log"
        _fail(folder, f"the worker ended by {how}", remedy)
    with Npz(folder / "result.npz") as file:
        return Result(card, {name: file.read(name) for name in file.names})


def _fail_by(folder: Path, reason: str, megabytes: int) -> NoReturn:
    if _MEMORY.search(reason):
        remedy = "run smaller batches (--batch), or raise it: lava run --memory-limit"
        _fail(folder, f"{reason} (limit {megabytes} MB a process)", remedy)
    _fail(folder, reason, _REPAIR if _BROKEN.match(reason) else "see the log")


def _cause(log: Path) -> str | None:
    """Return the first exception that the log names: Lava's own summary names none."""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _ERROR.match(line)
        if found:
            return f"{found[1]}: {found[2]}"
    return None


def _fail(folder: Path, reason: str, remedy: str) -> NoReturn:
    log = _kept_log(folder / "log.txt")
    where = f"log: {log}" if log is not None else "no log: the cache cannot be written"
    raise ExecutorError(reason, node="lava", remedy=f"{remedy} ({where})")


def _kept_log(log: Path) -> Path | None:
    """Copy a job's log into the cache, one for each failed job, the last few; None if it cannot."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        kept = cache_folder() / f"lava-error-{log.parent.name.rpartition('-')[2]}.log"
        shutil.copyfile(log, kept)
        old = sorted(cache_folder().glob("lava-error-*.log"), key=lambda p: p.stat().st_mtime)
        for path in old[:-KEPT_LOGS]:
            path.unlink(missing_ok=True)
    except (OSError, InputError):
        return None
    return kept
