"""The worker environment: where it is, how it is built, and whether it is whole.

Lava is archived and pins old packages, so it lives in a virtual environment that nothing else
uses: a hash-checked list, no dependency resolution, no file of Lava edited.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from ...export.formats.cache_folder import cache_folder
from ...export.ir import InputError, MissingPackageError
from ...export.ir.errors import warn

LOCK = Path(__file__).parent / "requirements.txt"
MARKER = "spikewright-lava.json"
PREFIX_VARIABLE = "SPIKEWRIGHT_LAVA_PREFIX"
"""Environment variable that names the worker environment's folder; wins over everything."""
PYTHONS = ((3, 10), (3, 12))
"""The oldest and newest CPython for which all of the list exists and runs."""
_INSTALL = "spikewright lava install"


@dataclass(frozen=True, slots=True)
class Environment:
    """A built environment. `marker`: python, versions, lock, seconds, megabytes."""

    prefix: Path
    marker: dict[str, Any]

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return interpreter(self.prefix)

    @property
    def whole(self) -> bool:
        """Whether it was built from the present list and its interpreter still exists."""
        return self.marker.get("lock") == lock_digest() and self.python.exists()


def interpreter(prefix: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return prefix / "bin" / "python"


def lock_digest() -> str:
    """Return the SHA-256 of the pinned list."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def default_prefix() -> Path:
    """Return where the environment is looked for: the variable, the last --prefix, the cache."""
    forced = os.environ.get(PREFIX_VARIABLE)
    if forced:
        return Path(forced).absolute()
    try:
        last = Path((cache_folder() / "lava-prefix").read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return cache_folder() / "lava"
    # Where the folder is gone, so is the choice.
    return last if last.is_dir() else cache_folder() / "lava"


def find() -> Environment:
    """Return the built environment.

    Raises:
        MissingPackageError: if there is none, or it is broken or of another list.
    """
    prefix = default_prefix()
    found = _read(prefix)
    if found is None:
        raise MissingPackageError.of("lava", "run networks on Lava", _INSTALL)
    if not found.whole:
        raise MissingPackageError(
            f"the environment in {prefix} is broken or from another version of spikewright",
            node="lava",
            remedy=f"run: {_INSTALL} --force",
        )
    return found


def _read(prefix: Path) -> Environment | None:
    try:
        marker = json.loads((prefix / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Environment(prefix, marker) if isinstance(marker, dict) else None


def install(
    prefix: Path | None = None,
    *,
    force: bool = False,
    python: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Environment:
    """Build the environment aside, check that Lava imports in it, then move it into place.

    Args:
        prefix: the folder to make; default: the variable, the last one chosen, or the cache.
        python: the interpreter; default: this one if it fits, else one on the path.

    Raises:
        InputError: for an existing folder without `force` or that is not ours, no fitting Python,
            no network, or a list that does not install; nothing is left behind.
    """
    chosen = (prefix or default_prefix()).absolute()
    _refuse_existing(chosen, force)
    fitting = fitting_python(python)
    _remove_leftovers(chosen)
    aside, old = (chosen.with_name(f"{chosen.name}.{w}-{os.getpid()}") for w in ("part", "old"))
    start = perf_counter()
    try:
        _make(aside)
        _build(fitting, aside, say)
        found = _checked(aside, perf_counter() - start)
        if chosen.exists():
            os.replace(chosen, old)
        os.replace(aside, chosen)
    finally:
        for folder in (aside, old):
            shutil.rmtree(folder, ignore_errors=True)
    if prefix is not None:
        _remember(chosen)
    return Environment(chosen, found.marker)


def _remember(prefix: Path) -> None:
    """Keep where it is for the next call, which else needs the variable."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        (cache_folder() / "lava-prefix").write_text(f"{prefix}\n", encoding="utf-8")
    except (OSError, InputError):
        warn(f"cannot remember that Lava is in {prefix}: set {PREFIX_VARIABLE}={prefix}")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"cannot make a folder there ({error.strerror})",
            node=str(folder.parent),
            remedy="choose another: --prefix DIR",
        ) from None


def _remove_leftovers(prefix: Path) -> None:
    """Remove what installations left beside `prefix` that were killed."""
    for way in ("part", "old"):
        for folder in prefix.parent.glob(f"{glob.escape(prefix.name)}.{way}-*"):
            process = folder.name.rpartition("-")[2]
            if process.isdigit() and not _runs(int(process)):
                shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _ours(prefix: Path) -> bool:
    """Whether a folder is a worker environment, perhaps a broken one, or empty."""
    if not prefix.is_dir():
        return False
    if not any(prefix.iterdir()) or (prefix / MARKER).is_file():
        return True
    packages = prefix.glob("lib/python3*/site-packages/lava")
    return (prefix / "pyvenv.cfg").is_file() and any(packages)


def _refuse_existing(prefix: Path, force: bool) -> None:
    if not prefix.exists():
        return
    if not _ours(prefix):
        raise InputError(
            "exists and is no worker environment", node=str(prefix), remedy="choose another folder"
        )
    if not force:
        raise InputError("exists already", node=str(prefix), remedy="use --force to rebuild it")


def fitting_python(asked: str | None = None) -> str:
    """Return an interpreter of 3.10 to 3.12: the one asked for, this one, or one on the path.

    Raises:
        InputError: if there is none, or the one asked for is not one.
    """
    low, high = PYTHONS
    if asked is not None:
        return _asked(asked)
    if low <= sys.version_info[:2] <= high:
        return sys.executable
    for minor in range(high[1], low[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A shim may stand there for a version that is not installed: ask it.
        if found and _version(found) == (3, minor):
            return found
    mine = ".".join(map(str, sys.version_info[:2]))
    raise InputError(
        f"Python {mine}, Lava's packages exist for 3.10 to 3.12, and none of these is on the path",
        node="lava",
        remedy="install python3.12 (or say where it is: --python PATH)",
    )


def _asked(python: str) -> str:
    found = shutil.which(python)
    version = None if found is None else _version(found)
    if found is None or version is None:
        raise InputError("is no Python that runs", node=python, remedy="give the path of a python3")
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        raise InputError(
            f"is Python {version[0]}.{version[1]}, Lava's packages exist for 3.10 to 3.12",
            node=python,
            remedy="give one of these",
        )
    return found


def _version(python: str) -> tuple[int, int] | None:
    """Return the version of an interpreter, None if it does not run."""
    asking = [python, "-I", "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        done = subprocess.run(asking, capture_output=True, text=True, check=True, timeout=30)
        major, minor = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor


def _build(python: str, prefix: Path, say: Callable[[str], None]) -> None:
    say(f"making {prefix} with {python}")
    _call([python, "-m", "venv", str(prefix)], "make a virtual environment", _VENV_REMEDY)
    say("installing the pinned list (about 140 MB of downloads)")
    pip = [str(interpreter(prefix)), "-m", "pip", "install", "--quiet", "--no-deps"]
    pip += ["--ignore-requires-python", "--only-binary", ":all:", "--require-hashes"]
    pip += ["--disable-pip-version-check", "--requirement", str(LOCK)]
    _call(pip, "install the pinned list", _PIP_REMEDY)


_VENV_REMEDY = "on Debian and Ubuntu: apt install python3-venv"
_PIP_REMEDY = (
    "it needs a package index (check the network and `pip config list`) and wheels for this "
    "platform: Linux or macOS on x86-64 or arm64"
)


def _call(command: list[str], purpose: str, remedy: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")] or lines[-1:]
        reason = errors[0].strip() if errors else f"exit code {done.returncode}"
        raise InputError(f"cannot {purpose}: {reason}", node="lava install", remedy=remedy)


def _checked(prefix: Path, seconds: float) -> Environment:
    """Import Lava in the new environment; write the marker."""
    from .runner import run_job

    result = run_job(Environment(prefix, {}), {"kind": "status"}, {}, time_limit_s=120).card
    size = sum(p.stat().st_size for p in prefix.rglob("*") if p.is_file() and not p.is_symlink())
    marker = {
        "python": result["python"],
        "versions": result["versions"],
        "lock": lock_digest(),
        "seconds": round(seconds, 1),
        "megabytes": round(size / 1e6),
    }
    (prefix / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")
    return Environment(prefix, marker)
