"""A NIR file as it lies on disk: nodes, edges and metadata, read by h5py with sizes checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..ir import FormatError, MissingPackageError

LARGEST_ARRAY = 1 << 28
"""Elements of one array that are read; a file that declares more is refused unread."""


class NirFile:
    """What the file holds: nodes as (type, fields), edges, metadata."""

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[str, dict[str, Any]]] = {}
        self.edges: list[tuple[str, str]] = []
        self.metadata: dict[str, Any] = {}


def load_nir(path: Path) -> NirFile:
    try:
        import h5py
    except ImportError:
        raise MissingPackageError.of("h5py", "read NIR files", "pip install h5py") from None
    if not path.is_file():
        raise FormatError("no such file")
    try:
        with h5py.File(path, "r") as file:
            return _parse(file)
    except (OSError, RuntimeError, KeyError) as error:
        line = " ".join(str(error).split())
        raise FormatError(f"not a readable NIR file ({line})") from None


def _parse(file: Any) -> NirFile:
    if "node" not in file or "nodes" not in file["node"]:
        raise FormatError("HDF5, but no NIR graph (node/nodes is missing)")
    raw, root = NirFile(), file["node"]
    for name, group in root["nodes"].items():
        kind = _value(group["type"], f"{name}.type")
        fields = {
            key: _values(item, f"{name}.{key}")
            for key, item in group.items()
            if key not in ("type", "metadata")
        }
        raw.nodes[str(name)] = (str(kind), fields)
    raw.edges = [(str(a), str(b)) for a, b in _edges(root)]
    raw.metadata = _values(root["metadata"], "metadata") if "metadata" in root else {}
    return raw


def _edges(root: Any) -> Iterator[tuple[str, str]]:
    if "edges" not in root:
        return
    edges = _value(root["edges"], "edges")
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise FormatError(f"edges have shape {edges.shape}, pairs are needed")
    for source, target in edges:
        yield _text(source), _text(target)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _values(item: Any, where: str) -> Any:
    """Return a dataset's value, or a group's by key."""
    if hasattr(item, "items"):
        return {str(key): _values(inner, f"{where}.{key}") for key, inner in item.items()}
    return _value(item, where)


def _value(dataset: Any, where: str) -> Any:
    if not hasattr(dataset, "shape") or dataset.size is None:
        raise FormatError("no value", node=where)
    if dataset.size > LARGEST_ARRAY:
        raise FormatError(
            f"declares {dataset.size} elements, at most {LARGEST_ARRAY} are read", node=where
        )
    value = dataset[()]
    return _text(value) if isinstance(value, bytes) else value
