"""A NIR file as it lies on disk: nodes, edges and metadata, read by h5py with sizes checked.

What comes from elsewhere is not trusted: only links within the file are followed, nothing is read
that lies in another file, every size is known before memory is taken, and no value is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import FormatError, MissingPackageError
from .card import shown

LARGEST_ARRAY = 1 << 27
"""Elements of one array that are read; a file that declares more is refused unread."""
LARGEST_FILE = 1 << 30
"""Bytes of all arrays of one file together."""
MOST_OBJECTS = 100_000
"""Groups and datasets of one file."""
DEEPEST = 32
"""Groups within groups."""
LONGEST_NAME = 150
DENSEST = 1100
"""Bytes that one stored byte can stand for: what deflate reaches at most (1032) and some."""
SMALL = 1 << 20
"""Bytes that may stand for no stored ones (a file of constants)."""


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
    try:
        import h5py
    except ImportError:
        raise MissingPackageError.of("h5py", "read NIR files", "pip install h5py") from None
    if not path.is_file():
        raise FormatError("no such file")
    try:
        with h5py.File(path, "r") as file:
            return _Parser(h5py, path).parse(file)
    except (ArithmeticError, OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        line = " ".join(str(error).split())
        raise FormatError(f"not a readable NIR file ({line})") from None


class _Parser:
    """Reads group by group and keeps count of what it took."""

    def __init__(self, h5py: Any, path: Path) -> None:
        self.h5py, self.path = h5py, path
        self.objects = self.bytes = 0
        self.seen: set[int] = set()

    def parse(self, file: Any) -> NirFile:
        top = self.members(file, "file")
        root = self.members(top.get("node"), "node")
        if "nodes" not in root:
            raise FormatError("HDF5, but no NIR graph (node/nodes is missing)")
        nodes, edges = self.graph(root, "", 0)
        metadata = self.fields(root["metadata"], "metadata", 0) if "metadata" in root else {}
        if not isinstance(metadata, dict):
            raise FormatError("is no group", node="metadata")
        version = self.value(top["version"], "version") if "version" in top else None
        return NirFile(nodes, edges, metadata, None if version is None else str(version)[:40])

    def graph(self, root: dict[str, Any], where: str, depth: int) -> tuple[Any, Any]:
        """Return nodes and edges of a graph or subgraph."""
        nodes = {}
        for name, group in self.members(root["nodes"], f"{where}nodes").items():
            at = f"{where}{name}"
            items = self.members(group, at)
            if "type" not in items:
                raise FormatError("no type", node=at)
            kind = str(self.value(items.pop("type"), f"{at}.type"))
            nodes[name] = kind, self._node(kind, items, at, depth)
        edges = self.edges(root["edges"]) if "edges" in root else iter(())
        return nodes, list(edges)

    def _node(self, kind: str, items: dict[str, Any], at: str, depth: int) -> dict[str, Any]:
        items.pop("metadata", None)
        if kind != "NIRGraph":
            return {key: self.fields(item, f"{at}.{key}", depth + 1) for key, item in items.items()}
        if "nodes" not in items:
            raise FormatError("a subgraph without nodes", node=at)
        self._descend(at, depth)
        nodes, edges = self.graph(items, f"{at}.", depth + 1)
        return {"nodes": nodes, "edges": edges}

    def members(self, group: Any, where: str) -> dict[str, Any]:
        """Return what a group holds, by name; links out of the file are refused unopened."""
        if not hasattr(group, "items"):
            raise FormatError("HDF5, but no NIR graph (a group is missing)", node=where)
        found = {}
        for name in group:
            if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
                raise FormatError(
                    "a link, perhaps to another file; only what lies in this one is read",
                    node=f"{where}.{name}",
                )
            if len(name) > LONGEST_NAME:
                raise FormatError(f"a name of {len(name)} characters", node=where)
            found[str(name)] = group[name]
            self._once(found[str(name)], f"{where}.{name}")
        return found

    def _once(self, item: Any, where: str) -> None:
        """Refuse what was reached before: groups in each other would make endless ways."""
        self.seen.add(self.h5py.h5o.get_info(item.id).addr)
        self.objects += 1
        if len(self.seen) < self.objects:
            raise FormatError("lies under two names", node=where[:200])
        if self.objects > MOST_OBJECTS:
            raise FormatError(f"more than {MOST_OBJECTS} objects", node=where)

    def _descend(self, where: str, depth: int) -> None:
        if depth >= DEEPEST:
            raise FormatError(f"groups nested deeper than {DEEPEST}", node=where[:80])

    def edges(self, dataset: Any) -> Iterator[tuple[str, str]]:
        edges = self.value(dataset, "edges")
        if getattr(edges, "size", 1) == 0:
            return
        if getattr(edges, "ndim", 0) != 2 or edges.shape[1] != 2:
            raise FormatError(f"edges have shape {edges.shape}, pairs are needed")
        for source, target in edges:
            yield _text(source), _text(target)

    def fields(self, item: Any, where: str, depth: int) -> Any:
        """Return a dataset's value, or a group's by key."""
        if hasattr(item, "items"):
            self._descend(where, depth)
            inner = self.members(item, where).items()
            return {key: self.fields(value, f"{where}.{key}", depth + 1) for key, value in inner}
        return self.value(item, where)

    def value(self, dataset: Any, where: str) -> Any:
        if not hasattr(dataset, "shape") or dataset.size is None:
            raise FormatError("no value", node=where)
        self._judge(dataset, where)
        value = dataset[()]
        return _text(value) if isinstance(value, bytes) else value

    def _judge(self, dataset: Any, where: str) -> None:
        """Refuse a dataset that lies elsewhere, holds no plain values or would take too much."""
        if dataset.is_virtual or dataset.external:
            raise FormatError("its values lie in another file, which is not read", node=where)
        text = self.h5py.check_string_dtype(dataset.dtype) is not None
        if dataset.dtype.kind not in "fiubS" and not text:
            raise FormatError(
                f"dtype {shown(dataset.dtype)}, numbers or text are needed", node=where
            )
        size = prod(int(n) for n in dataset.shape)
        if size > LARGEST_ARRAY:
            raise FormatError(
                f"declares {size} elements, at most {LARGEST_ARRAY} are read", node=where
            )
        taken, stored = size * dataset.dtype.itemsize, dataset.id.get_storage_size()
        if taken > SMALL + DENSEST * stored:
            raise FormatError(f"declares {taken} bytes, the file holds {stored}", node=where)
        if text and self.h5py.check_string_dtype(dataset.dtype).length is None:
            self._judge_texts(dataset, size, where)
        self.bytes += taken
        if self.bytes > LARGEST_FILE:
            raise FormatError(
                f"the file declares more than {LARGEST_FILE} bytes of arrays", node=where
            )

    def _judge_texts(self, dataset: Any, size: int, where: str) -> None:
        """Refuse text that says it is longer than the file: HDF5 would make room for it first."""
        place, stored = dataset.id.get_offset(), dataset.id.get_storage_size()
        if not size or not stored:
            return
        if place is None:
            raise FormatError("text in chunks, which no version of nir writes", node=where)
        whole = self.path.stat().st_size
        if place + stored > whole:
            raise FormatError("lies beyond the end of the file", node=where)
        with self.path.open("rb") as file:
            file.seek(place)
            records = np.frombuffer(file.read(stored), np.uint8)
        # HDF5 holds a length in 4 bytes, little-endian, and where the text lies.
        lengths = records.reshape(size, -1)[:, :4].astype(np.int64) @ (1 << 8 * np.arange(4))
        if lengths.sum() > whole:
            raise FormatError(f"text of {lengths.sum()} bytes, more than the file", node=where)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
