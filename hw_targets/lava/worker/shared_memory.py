"""Blocks of shared memory that outlive the processes of a killed worker: noted, then unlinked.

Lava's processes talk through blocks of shared memory, which a manager unlinks at a clean end; that
end can hang, so that the group is killed instead. Each block's name is therefore written into the
job's folder before the block is made, and whoever ends the group unlinks what is noted there.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

FOLDER = "shared_memory"


def note_names(folder: Path) -> None:
    """Have every block that this process and its children make noted in the job's folder."""
    noted = folder / FOLDER
    noted.mkdir()
    module: Any = shared_memory
    fresh = module._make_filename

    def named() -> str:
        name: str = fresh()
        (noted / name.lstrip("/")).touch()
        return name

    module._make_filename = named


def unlink(folder: Path) -> None:
    """Unlink the blocks noted in a job's folder, whose processes are gone or going."""
    try:
        shm_unlink = import_module("_posixshmem").shm_unlink  # what SharedMemory.unlink calls
    except ImportError:  # no POSIX, no blocks that stay
        return
    for name in (folder / FOLDER).glob("*"):
        with suppress(FileNotFoundError):
            shm_unlink(f"/{name.name}")
