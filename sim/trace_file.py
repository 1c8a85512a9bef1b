"""The trace file (.npz): what a run recorded, for other tools.

For each neuron node NAME: `NAME/spikes`, `NAME/v` and, where current-based, `NAME/u`, each
[sample, time, *shape]; `input`, `output`; `card`, a JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np

from ..export.formats.atomic import atomic_path
from ..export.formats.npz_in import Npz
from ..export.ir import Array, FormatError
from ..export.ir.digest import digest
from .trace import Trace

SCHEMA = "spikewright/trace/1"


def write_trace(trace: Trace, path: str | Path, *, force: bool = False) -> None:
    """Write a trace as npz; the same trace gives the same bytes.

    Raises:
        FormatError: if `path` exists and `force` is not set.
    """
    arrays = {"input": _by_sample(trace.input), "output": _by_sample(trace.output)}
    for name, neuron in trace.neurons.items():
        for what in ("spikes", "v", "u"):
            value = getattr(neuron, what)
            if value is None:
                continue
            # Float levels count spikes in floats; in the file a spike is an integer.
            kept = value.astype(np.int32) if what == "spikes" else value
            arrays[f"{name.replace('/', '.')}/{what}"] = _by_sample(kept)
    card = {
        "schema": SCHEMA,
        "executor": trace.executor,
        "level": trace.graph.level,
        "digest": digest(trace.graph),
        "samples": trace.samples,
        "time_steps": trace.time_steps,
    }
    arrays["card"] = np.array(json.dumps(card, sort_keys=True))
    with atomic_path(path, force=force) as temporary, temporary.open("wb") as file:
        _write_npz(file, arrays)


def _write_npz(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write what `np.savez` does, entries dated 1980 whatever the library."""
    with ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _by_sample(values: Array) -> Array:
    return np.ascontiguousarray(np.swapaxes(values, 0, 1))


def read_trace(path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the card and the arrays [sample, time, ...] of a trace file.

    Raises:
        FormatError: for a file that is missing, damaged or no trace.
    """
    with Npz(Path(path)) as file:
        arrays = {name: file.read(name) for name in file.names}
    if "card" not in arrays:
        raise FormatError("an npz, but no trace (it has no card)", node=str(path))
    return _card(path, arrays.pop("card")), arrays


def _card(path: str | Path, text: Array) -> dict[str, Any]:
    try:
        card = json.loads(str(text))
    except ValueError:
        card = None
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise FormatError(f"the card is not that of a {SCHEMA} file", node=str(path))
    return card
