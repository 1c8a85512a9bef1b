"""One managed environment a peer, in a cache folder: what each needs to load and run NIR files.

Packages come without their dependencies, named one by one: norse and spikingjelly declare
torchvision (whose wheel brings CUDA builds of torch), sinabs declares a chip driver, snntorch
declares nothing. None of those is needed for NIR. Our tests of live modules run there too.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

TORCH = "torch==2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
COMMON = ("filelock", "typing-extensions", "sympy", "networkx>=3.2", "jinja2", "fsspec", "numpy")
TESTS = ("pytest>=8.3", "hypothesis>=6.112", "safetensors>=0.4.3", "pyyaml>=6.0.1")
CURRENT = ("nir==1.0.8", "nirtorch==2.6")


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer: its packages without dependencies, and what those need with theirs."""

    name: str
    version: str
    bare: tuple[str, ...]
    needs: tuple[str, ...] = ("h5py",)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("norse", "1.1.0", ("norse==1.1.0", *CURRENT)),
        Peer("snntorch", "1.0.0", ("snntorch==1.0.0", *CURRENT)),
        Peer(
            "spikingjelly",
            "2.0.0",
            ("spikingjelly==2.0.0", *CURRENT),
            ("h5py", "loguru>=0.7,<1", "tqdm", "scipy", "matplotlib"),
        ),
        Peer(
            "sinabs",
            "3.1.3",
            ("sinabs==3.1.3", "nir==1.0.4", "nirtorch==2.0.2"),
            ("h5py", "pbr", "matplotlib"),
        ),
    )
}


def python_of(peer: Peer, cache: Path) -> Path:
    """Return the interpreter of the peer's environment, made if it is not there yet."""
    recipe = repr((peer, TORCH, COMMON, TESTS, sys.version_info[:2]))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder = cache / f"{peer.name}-{peer.version}-{key}"
    ready = folder / ".ready"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not ready.is_file():
        rmtree(folder, ignore_errors=True)
        print(f"making the environment of {peer.name} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        label = "+cpu" if sys.platform == "linux" else ""
        _install(
            python, "--no-deps", "--retries", "1", "--extra-index-url", TORCH_INDEX, TORCH + label
        )
        _install(python, *COMMON, *TESTS, *peer.needs)
        _install(python, "--no-deps", *peer.bare)
        ready.touch()
    return python


def _install(python: Path, *what: str) -> None:
    # What is left out on purpose (above) is no news.
    quiet = ("--quiet", "--disable-pip-version-check", "--no-warn-conflicts")
    subprocess.run([str(python), "-m", "pip", "install", *quiet, *what], check=True)
