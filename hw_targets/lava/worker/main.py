"""The worker's entry: read a job folder, do the job, leave a result that is whole or absent.

In:  job.json, arrays.npz.   Out: result.json and result.npz, each written aside and then renamed,
result.json last. Whatever is printed goes to the log that the starter opened.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

from .shared_memory import note_names, unlink

GRACE_S = 3.0
"""How long Lava has to tell of a process's exception itself, before the worker is ended."""
FAILED = 3
PACKAGES = ("lava-nc", "lava-dl", "numpy", "scipy", "networkx", "asteval", "h5py")


def main(folder: str) -> None:
    """Do the job in `folder`; leave result.json; exit code FAILED if it tells of an error."""
    place = Path(folder)
    logging.basicConfig(level=logging.WARNING)
    threading.Thread(target=_watch, args=(place,), daemon=True).start()
    job = json.loads((place / "job.json").read_text(encoding="utf-8"))
    job["folder"] = folder
    _limit_memory(job.get("memory_mb"))
    start = time.perf_counter()
    try:
        from .shim import prepare_lava

        note_names(place)
        prepare_lava()
        found = _jobs()[job["kind"]](job, _arrays(place / "arrays.npz"))
        result: dict[str, Any] = {"error": None}
    except BaseException as error:  # whatever happens inside becomes one line outside
        traceback.print_exc()
        found, result = {}, {"error": f"{type(error).__name__}: {error}"}
    result["seconds"] = time.perf_counter() - start
    result["python"] = ".".join(map(str, sys.version_info[:3]))
    result["versions"] = {name: metadata.version(name) for name in PACKAGES}
    _write(place, found, result)
    # Lava's stop waits for its processes and now and then for ever; the starter ends the group.
    sys.stdout.flush()
    os._exit(0 if result["error"] is None else FAILED)


def _jobs() -> dict[str, Any]:
    from . import network, netx

    def status(job: Any, arrays: Any) -> dict[str, Any]:
        import_module("lava.proc.lif.process")
        import_module("lava.proc.conv.process")
        return {}

    return {"status": status, "network": network.run, "netx": netx.run}


def _arrays(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _write(place: Path, arrays: dict[str, Any], result: dict[str, Any]) -> None:
    with (place / "result.npz.part").open("wb") as file:
        np.savez(file, **arrays)
    os.replace(place / "result.npz.part", place / "result.npz")
    (place / "result.json.part").write_text(json.dumps(result), encoding="utf-8")
    os.replace(place / "result.json.part", place / "result.json")


def _limit_memory(megabytes: int | None) -> None:
    """Bound the address space of each process of the worker."""
    if megabytes:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def _dead_child() -> int | None:
    """Return the exit status or signal of a child that failed, leaving it for Lava to reap."""
    if not hasattr(os, "waitid"):
        return None
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None or found.si_status == 0 else int(found.si_status)


def _watch(place: Path) -> None:
    """End the whole group when the starter is gone, or a process of Lava's died and it hangs."""
    starter = os.getppid()
    while os.getppid() == starter:
        time.sleep(0.5)
        status = _dead_child()
        if status is not None:
            time.sleep(GRACE_S)
            reason = f"a process of Lava's ended by itself (status or signal {status}; memory?)"
            _write(place, {}, {"error": reason})
            break
    else:
        _remove(place)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _remove(place: Path) -> None:
    """Remove the job's folder, for which nobody waits any more; Lava's processes may yet write."""
    unlink(place)
    for _ in range(10):
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            return
