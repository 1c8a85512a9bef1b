"""Our graph inside a NIR file: metadata that every other reader ignores.

NIR 1.0.8 has no place for integers, reset modes, comparisons, attention or dt. The graph's
metadata holds `spikewright`, the bytes of an archive (safetensors, no code), which restores the
graph exactly; and, for people and other tools, `dt`, `scheme`, `dialect`, and a node's integers and
reset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np

from ..ir import WEIGHTS, Array, FormatError, Graph, Neuron, Node
from .archive import archive_bytes, read_archive_bytes
from .nir_dialect import Dialect
from .nir_file import NirFile

KEY = "spikewright"
SEAL = "nodes_sha256"
SPEC = "spikewright/nir/1"


def graph_metadata(graph: Graph, dt: float, dialect: Dialect) -> dict[str, Any]:
    """Return the metadata of the file: the archive, and dt and scheme in plain sight."""
    content = np.frombuffer(archive_bytes(graph), np.uint8)
    readout = graph.output.readout
    scheme = {"scheme": dialect.decay, "dialect": dialect.name}
    return {KEY: content, "spec": SPEC, "dt": dt, **scheme, "readout": readout}


def node_metadata(node: Node) -> dict[str, Any]:
    """Return what a NIR node has no field for, in plain sight."""
    if isinstance(node, WEIGHTS) and node.bits is not None:
        scale = np.ones(1) if node.scale is None else np.atleast_1d(node.scale)
        shift = {"q_shift": node.weight_shift}
        return {"q_weight": node.weight, "q_scale": scale, "q_bits": node.bits, **shift}
    if isinstance(node, Neuron):
        found: dict[str, Any] = {
            "reset": node.reset,
            "compare": node.compare,
            "max_spikes_per_step": node.max_spikes_per_step,
            "refractory_steps": node.refractory_steps,
        }
        if node.v_threshold.dtype.kind == "i":
            found |= {"v_threshold_int": np.atleast_1d(node.v_threshold)}
            found |= {"state_shift": node.state_shift, "state_bits": node.state_bits}
        return found
    return {}


def restore(content: Array) -> Graph:
    """Return the graph whose archive `content` is.

    Raises:
        FormatError: for bytes that are no archive, or one that was changed.
    """
    if content.dtype != np.uint8 or content.ndim != 1:
        raise FormatError(f"metadata/{KEY} is {content.dtype} {content.shape}, bytes are needed")
    try:
        return read_archive_bytes(content.tobytes(), f"metadata/{KEY}")
    except FormatError as error:
        reason = f"metadata/{KEY}: {error.reason}"
        raise FormatError(reason, remedy="export it again") from None


def seal(file: BytesIO, found: str) -> None:
    """Add to a file of ours, in memory, the fingerprint of its plain nodes."""
    import h5py

    with h5py.File(file, "r+") as opened:
        opened[f"node/metadata/{SEAL}"] = found


def untouched(raw: NirFile) -> bool:
    """Return whether the plain nodes of a file are those that stood beside the graph it holds.

    Another tool that reads, changes and writes a file keeps its metadata, which then tells of a
    network that is no more.
    """
    seal = raw.metadata.get(SEAL)
    return isinstance(seal, str) and seal == fingerprint(raw)


def fingerprint(raw: NirFile) -> str:
    """Return sha256 (hex) over nodes and edges: shapes and values, whatever dtype and order."""
    hashed = sha256(json.dumps(sorted(raw.edges)).encode())
    for name, (kind, fields) in sorted(raw.nodes.items()):
        hashed.update(json.dumps([name, kind]).encode())
        for key, value in sorted(fields.items()):
            array = np.asarray(value)
            numbers = array.dtype.kind in "fiub"
            if key == "v_reset" and numbers and not array.any():
                continue  # which older versions of nir leave out
            shape = array.shape if array.size > 1 else ()
            hashed.update(json.dumps([key, shape]).encode())
            flat = array.astype(np.float64) if numbers else array.astype(str)
            hashed.update(flat.tobytes())
    return hashed.hexdigest()


def is_ours(metadata: Mapping[str, Any]) -> bool:
    """Return whether a file's metadata holds a graph of ours."""
    return KEY in metadata
