"""Run an HDF5 file by lava-dl's netx, as its users do, and return what every layer did."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .network import run_config
from .recording import read, record

VARIABLES = ["s_out", "u", "v"]
_STUBS = (
    "torch",
    "lava.lib.dl.slayer",
    "lava.lib.dl.slayer.neuron",
    "lava.lib.dl.slayer.neuron.rf",
)


def run(job: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """Return {"layer/variable": values [step, *shape]} for each layer of the file that computes.

    The job names the file, `input_message_bits`, `reset_interval`, `reset_offset` and `steps`;
    `data` is the input, [*shape, step], in netx's own order (x, y, channel), or flat; `bias`
    is what an input layer with neurons is given at each step.
    """
    hdf5 = _netx()
    net = hdf5.Network(
        net_config=job["file"],
        input_message_bits=job["input_message_bits"],
        reset_interval=job["reset_interval"],
        reset_offset=job["reset_offset"],
    )
    if "bias" in arrays:
        net.in_layer.neuron.bias_mant.init = arrays["bias"]
    else:
        source = import_module("lava.proc.io.source").RingBuffer(data=arrays["data"])
        source.s_out.connect(net.inp)
    folder, steps = Path(job["folder"]), job["steps"]
    for k, layer in enumerate(net.layers):
        record(layer.neuron, folder, f"layer{k}", VARIABLES, steps)
    condition = import_module("lava.magma.core.run_conditions").RunSteps(num_steps=steps)
    net.run(condition=condition, run_cfg=run_config())
    job["held"] = net  # Lava stops what is collected, and its stop can hang
    layers = range(len(net.layers))
    found = {f"{k}/{v}": read(folder, f"layer{k}", v) for k in layers for v in VARIABLES}
    found["described"] = np.array(str(net))
    return found


class _Absent(ModuleType):
    """A module that netx imports from and does not use for the neurons that we write."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def _netx() -> Any:
    """Import netx without torch: only resonate-and-fire neurons need what is left out."""
    for name in _STUBS:
        sys.modules.setdefault(name, _Absent(name))
    return import_module("lava.lib.dl.netx.hdf5")
