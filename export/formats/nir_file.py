"""A NIR file as it lies on disk: nodes, edges and metadata, out of the tree that `hdf5` reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import FormatError
from .hdf5 import Tree, read_hdf5

DEEPEST = 32
"""Subgraphs within subgraphs."""


@dataclass(slots=True)
class NirFile:
    """What the file holds: nodes as (type, fields), edges, metadata, the version of nir."""

    nodes: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    version: str | None = None


def load_nir(path: Path) -> NirFile:
    """Return what a NIR file holds, unjudged; nodes within subgraphs stay within.

    A subgraph's fields are `nodes` and `edges`, its nodes again (type, fields).

    Raises:
        FormatError: for what is no NIR, or more than fits the limits above.
    """
    return _Parser().parse(read_hdf5(path, ("node", "version"), "NIR"))


class _Parser:
    """Names what is missing or of another kind on the way down."""

    def parse(self, file: Tree) -> NirFile:
        root = self.members(file.get("node"), "node")
        if "nodes" not in root:
            raise FormatError("HDF5, but no NIR graph (node/nodes is missing)")
        nodes, edges = self.graph(root, "", 0)
        metadata = root.get("metadata", {})
        version = file.get("version")
        return NirFile(
            nodes,
            edges,
            self.members(metadata, "metadata"),
            None if version is None else str(version)[:40],
        )

    def graph(self, root: Tree, where: str, depth: int) -> tuple[Any, Any]:
        """Return nodes and edges of a graph or subgraph."""
        if depth > DEEPEST:
            raise FormatError(f"graphs nested deeper than {DEEPEST}", node=where[:80])
        nodes = {}
        for name, group in self.members(root["nodes"], f"{where}nodes").items():
            at = f"{where}{name}"
            items = dict(self.members(group, at))
            if "type" not in items:
                raise FormatError("no type", node=at)
            kind = items.pop("type")
            nodes[name] = str(kind), self._node(str(kind), items, at, depth)
        return nodes, list(self.edges(root.get("edges"), f"{where}edges"))

    def _node(self, kind: str, items: Tree, at: str, depth: int) -> Tree:
        items.pop("metadata", None)
        if kind != "NIRGraph":
            return items
        if "nodes" not in items:
            raise FormatError("a subgraph without nodes", node=at)
        nodes, edges = self.graph(items, f"{at}.", depth + 1)
        return {"nodes": nodes, "edges": edges}

    def members(self, group: Any, where: str) -> Tree:
        """Return what a group holds, by name."""
        if not isinstance(group, dict):
            raise FormatError("HDF5, but no NIR graph (a group is missing)", node=where)
        return group

    def edges(self, value: Any, where: str) -> Iterator[tuple[str, str]]:
        edges = np.empty((0, 2)) if value is None else np.asarray(value)
        if edges.size == 0:
            return
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise FormatError(f"edges of shape {edges.shape}, pairs are needed", node=where)
        for source, target in edges:
            yield _text(source), _text(target)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
