"""The trace file (.npz): what a run recorded, for other tools.

For each neuron node NAME: `NAME/spikes`, `NAME/v` and, where current-based, `NAME/u`, each
[sample, time, *shape]; `input`, `output`; `card`, a JSON text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..export.formats.atomic import atomic_path
from ..export.ir import Array, FormatError
from ..export.ir.digest import digest
from .trace import Trace


def write_trace(trace: Trace, path: str | Path, *, force: bool = False) -> None:
    """Write a trace as npz (uncompressed by numpy's own writer, without pickle).

    Raises:
        FormatError: if `path` exists and `force` is not set.
    """
    arrays = {"input": _by_sample(trace.input), "output": _by_sample(trace.output)}
    for name, neuron in trace.neurons.items():
        for what in ("spikes", "v", "u"):
            value = getattr(neuron, what)
            if value is not None:
                arrays[f"{name.replace('/', '.')}/{what}"] = _by_sample(value)
    card = {
        "schema": "spikewright/trace/1",
        "executor": trace.executor,
        "level": trace.graph.level,
        "digest": digest(trace.graph),
        "samples": trace.samples,
        "time_steps": trace.time_steps,
    }
    arrays["card"] = np.array(json.dumps(card, sort_keys=True))
    with atomic_path(path, force=force) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _by_sample(values: Array) -> Array:
    return np.ascontiguousarray(np.swapaxes(values, 0, 1))


def read_trace(path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the card and the arrays [sample, time, ...] of a trace file.

    Raises:
        FormatError: for a file that is missing, damaged or no trace.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise FormatError("no such file", node=str(path)) from None
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise FormatError(f"not a readable npz ({error})", node=str(path)) from None
    if "card" not in arrays:
        raise FormatError("an npz, but no trace (it has no card)", node=str(path))
    card: dict[str, Any] = json.loads(str(arrays.pop("card")))
    return card, arrays
