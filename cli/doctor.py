"""`doctor`: what this installation can do, and how to get the rest."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import Any

from . import arguments as a
from .output import emit_json, print_table

_DISTRIBUTIONS = {"PIL": "pillow", "lightning_fabric": "lightning-fabric"}


def command(json: a.Json = False) -> None:
    """Print versions, the native engine's instruction set, threads and optional packages."""
    from .. import __version__
    from ..sim.native import ISA_VARIABLE, isa_info

    packages = [_package(name, install) for name, install in optional().items()]
    fields: dict[str, Any] = {
        "spikewright": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": _threads(),
        "native": isa_info(),
        "packages": packages,
    }
    if json:
        emit_json("doctor", fields)
        return
    native, threads = fields["native"], fields["threads"]
    print(f"spikewright {__version__}, Python {fields['python']}, {fields['platform']}")
    if native["compiled"]:
        forced = f" (forced by {ISA_VARIABLE})" if native["forced"] else ""
        print(f"native engine: {native['chosen']}{forced} of {', '.join(native['available'])}")
    else:
        print("native engine: not built (no C++17 compiler at installation); the reference runs")
    limit = threads["OMP_NUM_THREADS"] or "not set"
    print(f"threads: {threads['usable']} of {fields['cpus']} CPUs usable, OMP_NUM_THREADS {limit}")
    print()
    print_table(packages, ("package", "version", "install"))


def optional() -> dict[str, str]:
    """Return what may be missing, by import name, and the line that installs it."""
    from ..export.ir.errors import WITH_TORCH  # numpy with it, which --help does without

    return {
        "torch": WITH_TORCH,
        "lightning_fabric": WITH_TORCH,
        "pyarrow": "pip install pyarrow",
        "PIL": "pip install pillow",
        "onnxruntime": "pip install onnxruntime",
        "onnx": "pip install onnx",
        "nir": "pip install nir",
        "h5py": "pip install h5py",
    }


def _threads() -> dict[str, Any]:
    """Return the CPUs that this process may use, and the limit that BLAS and torch obey."""
    from ..sim.executor import usable_cpus

    return {"usable": usable_cpus(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}


def _package(name: str, install: str) -> dict[str, Any]:
    from importlib import metadata

    if find_spec(name) is None:
        return {"package": name, "version": None, "install": install}
    version = metadata.version(_DISTRIBUTIONS.get(name, name))
    return {"package": name, "version": version, "install": ""}
