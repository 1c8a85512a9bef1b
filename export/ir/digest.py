"""Digest: one short name for what a graph computes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import numpy as np

from .graph import Graph
from .nodes import Array

ADDED = ("padding_end",)
"""Fields that came later: where they are None they do not count, so that old digests stay."""


def digest(graph: Graph) -> str:
    """Return sha256 (hex) over level, nodes, arrays, edges and profile; metadata does not count."""
    hashed = sha256()
    head = [graph.level, graph.profile.to_json() if graph.profile else None]
    hashed.update(_bytes([*head, [list(edge) for edge in graph.edges]]))
    for name, node in graph.nodes.items():
        for field, value in node.field_values().items():
            if value is None and field in ADDED:
                continue
            hashed.update(_bytes([name, node.kind, field]))
            if isinstance(value, np.ndarray):
                hashed.update(_bytes([value.dtype.name, list(value.shape)]))
                hashed.update(little_endian(value).tobytes())
            else:
                hashed.update(_bytes(value))
    return hashed.hexdigest()


def little_endian(array: Array) -> Array:
    """Return the array in little-endian byte order, as files hold it on every machine."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def plain(value: Any) -> Any:
    """Return a numpy scalar as Python's own number; json's `default`.

    Raises:
        TypeError: for what JSON cannot hold.
    """
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=plain).encode()
