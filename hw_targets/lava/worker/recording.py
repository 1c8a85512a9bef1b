"""Recording: Lava's own LIF models, which also keep u, v and spikes of every step.

Lava's Monitor asks for each variable by a message to and fro at every step, which took eight times
as long as the network itself. A model here runs Lava's step unchanged, then copies what it holds
into a file mapped into memory; `monitors` in a job records through Lava's Monitors instead.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

VARIABLES = ("s_out", "v", "u")


@cache
def models() -> dict[Any, Any]:
    """Return the recording model of each LIF process class."""
    processes = import_module("lava.proc.lif.process")
    lif = import_module("lava.proc.lif.models")
    return {
        processes.LIF: _recorded(lif.PyLifModelBitAcc),
        processes.LIFReset: _recorded(lif.PyLifResetModelBitAcc),
    }


def record(process: Any, folder: Path, name: str, variables: list[str], steps: int) -> None:
    """Have a LIF process leave its variables in `folder` as [step, *shape]."""
    process.proc_params["record"] = (
        {variable: str(folder / f"{name}.{variable}.npy") for variable in variables},
        steps,
    )


def read(folder: Path, name: str, variable: str) -> Any:
    """Return what was recorded of a process: int32 [step, *shape]."""
    return np.load(folder / f"{name}.{variable}.npy", allow_pickle=False)


def _recorded(base: Any) -> Any:
    class Recorded(base):  # type: ignore[misc]
        """Lava's model, and a copy of its state after each step."""

        _files: dict[str, Any] | None = None

        def run_spk(self) -> None:
            super().run_spk()
            wanted = self.proc_params.get("record")
            if wanted is None:
                return
            if self._files is None:
                self._files = {v: _open(path, wanted[1], self.v) for v, path in wanted[0].items()}
            held = {"s_out": self._spikes, "v": self.v, "u": self.u}
            for variable, file in self._files.items():
                file[self.time_step - 1] = held[variable]

        def reset_voltage(self, spike_vector: Any) -> None:
            self._spikes = spike_vector
            super().reset_voltage(spike_vector)

    Recorded.__name__ = f"Recorded{base.__name__}"
    return Recorded


def _open(path: str, steps: int, like: Any) -> Any:
    opened: Any = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.int32, shape=(steps, *like.shape)
    )
    return opened
