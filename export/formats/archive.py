"""The archive (.spk): safetensors for the arrays, one JSON card in its metadata for the rest.

No pickle: reading runs no code. Version 1. Tensor `NODE/FIELD` holds an array field of a node; the
card holds level, profile, provenance, edges and every other field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import KINDS, Array, FormatError, Graph, Node, Profile, SpikewrightError, check
from ..ir.digest import digest
from ..ir.graph import LEVELS
from .atomic import atomic_path

VERSION = 1
SCHEMA = "spikewright/archive"


def write_archive(graph: Graph, path: str | Path, *, force: bool = False) -> None:
    """Write a graph of any level; the same graph gives the same bytes.

    Raises:
        FormatError: if `path` exists and `force` is not set.
    """
    from safetensors.numpy import save

    tensors: dict[str, Array] = {}
    nodes = {}
    for name, node in graph.nodes.items():
        fields = node.field_values()
        arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
        tensors |= {f"{name}/{k}": np.array(v, order="C") for k, v in arrays.items()}
        plain = {k: v for k, v in fields.items() if k not in arrays and v is not None}
        nodes[name] = {"kind": node.kind, "fields": plain, "arrays": sorted(arrays)}
    card = {
        "schema": SCHEMA,
        "version": VERSION,
        "level": graph.level,
        "digest": digest(graph),
        "profile": graph.profile.to_json() if graph.profile else None,
        "metadata": dict(graph.metadata),
        "nodes": nodes,
        "edges": [list(edge) for edge in graph.edges],
    }
    content = save(tensors, {"card": json.dumps(card, sort_keys=False)})
    with atomic_path(path, force=force) as temporary:
        temporary.write_bytes(content)


def read_archive(path: str | Path) -> Graph:
    """Return the graph of an archive, checked.

    Raises:
        FormatError: naming the file and what is wrong with it.
    """
    try:
        card, tensors = _load(Path(path))
        graph = _graph(card, tensors)
        found = digest(check(graph))
    except SpikewrightError as error:
        raise FormatError(_said(error), node=str(path), remedy=error.remedy) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__} {error}"
        raise FormatError(
            f"damaged card ({what})", node=str(path), remedy="write it again"
        ) from None
    if card.get("digest") != found:
        raise FormatError(
            f"content {found[:12]} is not the {str(card.get('digest'))[:12]} it was written with",
            node=str(path),
            remedy="write it again",
        )
    return graph


def _said(error: SpikewrightError) -> str:
    return f"{error.node}: {error.reason}" if error.node else error.reason


def _load(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FormatError("no such file")
    try:
        with safe_open(str(path), framework="np") as archive:
            metadata = archive.metadata() or {}
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FormatError(f"not a readable safetensors file ({error})") from None
    if "card" not in metadata:
        raise FormatError("no card of ours in this file", remedy="give a .spk that lower wrote")
    card = json.loads(metadata["card"])
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise FormatError("the card is not an archive's", remedy="give a .spk that lower wrote")
    if card.get("version") not in range(1, VERSION + 1):
        raise FormatError(
            f"version {card.get('version')}, this release reads 1..{VERSION}",
            remedy="update spikewright",
        )
    return card, tensors


def _graph(card: Mapping[str, Any], tensors: Mapping[str, Array]) -> Graph:
    if card["level"] not in LEVELS:
        raise FormatError(f"unknown level {card['level']!r}")
    nodes = {name: _node(name, entry, tensors) for name, entry in card["nodes"].items()}
    edges = [(str(s), str(t), int(port)) for s, t, port in card["edges"]]
    profile = None if card["profile"] is None else Profile.from_json(card["profile"])
    return Graph(nodes, edges, card["level"], profile, card["metadata"])


def _node(name: str, entry: Mapping[str, Any], tensors: Mapping[str, Array]) -> Node:
    kind = KINDS.get(entry["kind"])
    if kind is None:
        raise FormatError(f"unknown kind of node {entry['kind']!r}", node=name)
    fields = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry["fields"].items()
    }
    for field in entry["arrays"]:
        if f"{name}/{field}" not in tensors:
            raise FormatError(f"the array {field} is missing", node=name)
        fields[field] = tensors[f"{name}/{field}"]
    node: Node = kind(**fields)
    return node
