"""Digest: one short name for what a graph computes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import numpy as np

from .graph import Graph


def digest(graph: Graph) -> str:
    """Return sha256 (hex) over level, nodes, arrays, edges and profile; metadata does not count."""
    hashed = sha256()
    head = [graph.level, graph.profile.to_json() if graph.profile else None]
    hashed.update(_bytes([*head, [list(edge) for edge in graph.edges]]))
    for name, node in graph.nodes.items():
        for field, value in node.field_values().items():
            hashed.update(_bytes([name, node.kind, field]))
            if isinstance(value, np.ndarray):
                hashed.update(_bytes([str(value.dtype), list(value.shape)]))
                hashed.update(value.tobytes())
            else:
                hashed.update(_bytes(value))
    return hashed.hexdigest()


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
