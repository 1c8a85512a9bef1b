"""`doctor`: what this installation can do, and how to get the rest."""

from __future__ import annotations

import os
import platform
from importlib import metadata, util
from typing import Any

from . import arguments as a
from .output import emit_json, print_table

OPTIONAL = {
    "torch": "pip install torch --index-url https://download.pytorch.org/whl/cpu",
    "lightning_fabric": "pip install 'spikewright[train]'",
    "pyarrow": "pip install 'spikewright[train]'",
    "PIL": "pip install 'spikewright[train]'",
    "onnxruntime": "pip install onnxruntime",
    "nir": "pip install nir",
    "h5py": "pip install h5py",
}
_DISTRIBUTIONS = {"PIL": "pillow", "lightning_fabric": "lightning-fabric"}


def command(json: a.Json = False) -> None:
    """Print versions, the native engine's instruction set, threads and optional packages."""
    from .. import __version__
    from ..sim.native import isa_info

    packages = [_package(name, install) for name, install in OPTIONAL.items()]
    fields: dict[str, Any] = {
        "spikewright": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "native": isa_info(),
        "packages": packages,
    }
    if json:
        emit_json("doctor", fields)
        return
    native = fields["native"]
    print(f"spikewright {__version__}, Python {fields['python']}, {fields['platform']}")
    if native["compiled"]:
        print(
            f"native engine: {native['chosen']} of {', '.join(native['available'])}; "
            f"{fields['cpus']} CPUs"
        )
    else:
        print("native engine: not built (no C++17 compiler at installation); the reference runs")
    print_table(packages, ("package", "version", "get it by"))


def _package(name: str, install: str) -> dict[str, Any]:
    found = util.find_spec(name) is not None
    version = metadata.version(_DISTRIBUTIONS.get(name, name)) if found else None
    return {"package": name, "version": version, "get it by": "" if found else install}
