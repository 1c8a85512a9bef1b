"""The archive (.spk): safetensors for the arrays, one JSON card in its metadata for the rest.

No pickle: reading runs no code. Tensor `NODE/FIELD` holds an array field of a node; the card holds
level, profile, provenance, edges and every other field. Version 2 seals the provenance (metadata),
version 1 did not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import KINDS, Array, FormatError, Graph, Node, Profile, SpikewrightError, check
from ..ir.digest import digest, little_endian, plain
from ..ir.graph import LEVELS
from ..ir.missing import near_files
from .atomic import atomic_path
from .card import entry, mapping, plain_fields, shown
from .provenance import check_metadata, metadata_digest

VERSION = 2
SCHEMA = "spikewright/archive"
LARGEST_VALUE = 1 << 26
"""The most elements a node may emit a sample and step: keeps a forged shape from filling memory."""
HELD_DTYPES = {"BOOL", "F16", "F32", "F64", *(f"{s}{n}" for s in "IU" for n in (8, 16, 32, 64))}
"""The dtypes of safetensors that plain numpy has."""


def write_archive(graph: Graph, path: str | Path, *, force: bool = False) -> None:
    """Write a graph of any level; the same graph gives the same bytes.

    Raises:
        FormatError: if `path` exists and `force` is not set, or the metadata is not JSON.
        GraphError: if the graph breaks a rule of its level, and so could not be read again.
    """
    content = archive_bytes(graph)
    with atomic_path(path, force=force) as temporary:
        temporary.write_bytes(content)


def archive_bytes(graph: Graph) -> bytes:
    """Return the bytes of an archive; errors as `write_archive` has them."""
    from safetensors.numpy import save

    check(graph)
    tensors = {
        f"{name}/{field}": little_endian(value)
        for name, node in graph.nodes.items()
        for field, value in _arrays(node).items()
    }
    try:
        card = _card(graph)
        check_metadata(graph.replace(metadata=card["metadata"]))
        return save(tensors, {"card": json.dumps(card, default=plain)})
    except (TypeError, ValueError) as error:
        raise FormatError(f"cannot be held in a card: {error}", node="metadata") from None


def _arrays(node: Node) -> dict[str, Array]:
    return {k: v for k, v in node.field_values().items() if isinstance(v, np.ndarray)}


def _card(graph: Graph) -> dict[str, Any]:
    nodes = {}
    # As JSON gives it back, so that its digest is that of what is read.
    metadata = json.loads(json.dumps(dict(graph.metadata), default=plain, allow_nan=False))
    for name, node in graph.nodes.items():
        arrays = _arrays(node)
        rest = {k: v for k, v in node.field_values().items() if k not in arrays and v is not None}
        nodes[name] = {"kind": node.kind, "fields": rest, "arrays": sorted(arrays)}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "level": graph.level,
        "digest": digest(graph),
        "profile": graph.profile.to_json() if graph.profile else None,
        "metadata": metadata,
        "metadata_digest": metadata_digest(metadata),
        "nodes": nodes,
        "edges": [list(edge) for edge in graph.edges],
    }


def read_archive(path: str | Path) -> Graph:
    """Return the graph of an archive, checked.

    Raises:
        FormatError: naming the file and what is wrong with it.
    """
    return _in_one_line(lambda: _checked(*_load(Path(path))), str(path))


def read_archive_bytes(content: bytes, where: str) -> Graph:
    """Return the graph of an archive in memory; `where` names it in errors, as `read_archive`."""
    return _in_one_line(lambda: _checked(*_load_bytes(content)), where)


def _in_one_line(read: Callable[[], Graph], where: str) -> Graph:
    try:
        return read()
    except SpikewrightError as error:
        said = f"{error.node}: {error.reason}" if error.node else error.reason
        remedy = error.remedy or "write it again"
        raise FormatError(said, node=where, remedy=remedy) from None
    except _DAMAGE as error:
        said = f"damaged card ({type(error).__name__}: {error})"
        raise FormatError(said, node=where, remedy="write it again") from None


_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def _checked(card: Mapping[str, Any], tensors: Mapping[str, Array]) -> Graph:
    graph = _graph(card, tensors)
    for name, shape in graph.shapes.items():
        if prod(shape) > LARGEST_VALUE:
            raise FormatError(f"shape {shape} exceeds {LARGEST_VALUE} elements", node=name)
    found, held = digest(check(graph)), card.get("digest")
    if held != found:
        raise FormatError(f"content {found[:12]} is not the {shown(held)} it was written with")
    _check_sealed(card, graph)
    return graph


def _check_sealed(card: Mapping[str, Any], graph: Graph) -> None:
    """Refuse metadata that were changed since, or that no command could rely on."""
    if card["version"] > 1:
        found, held = metadata_digest(graph.metadata), entry(card, "metadata_digest")
        if held != found:
            raise FormatError(f"metadata {found[:12]} are not the {shown(held)} written with it")
    check_metadata(graph)


def _load(path: Path) -> tuple[Mapping[str, Any], dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        if path.is_dir():
            raise FormatError("a folder, a .spk file is needed", remedy="check the path")
        raise FormatError("no such file", remedy=near_files(path, "a .spk file"))
    try:
        with safe_open(str(path), framework="np") as archive:
            metadata = archive.metadata() or {}
            if "card" not in metadata:
                raise FormatError("no card of ours in this file", remedy="give a .spk of lower's")
            tensors = {name: _tensor(archive, name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FormatError(f"not a readable safetensors file ({error})") from None
    return _card_of(metadata["card"]), tensors


def _load_bytes(content: bytes) -> tuple[Mapping[str, Any], dict[str, Array]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        for name, held in header.items():
            if name != "__metadata__":
                _refuse_dtype(name, held["dtype"])
        tensors = load(content)
        text = header["__metadata__"]["card"]
    except (SafetensorError, *_DAMAGE) as error:
        raise FormatError(f"not a readable safetensors file ({error})") from None
    return _card_of(text), tensors


def _card_of(text: str) -> Mapping[str, Any]:
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the card is not JSON ({error})") from None
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise FormatError("the card is not an archive's", remedy="give a .spk that lower wrote")
    if type(card.get("version")) is not int or not 1 <= card["version"] <= VERSION:
        raise FormatError(
            f"version {shown(card.get('version'))}, this release reads 1..{VERSION}",
            remedy="update spikewright",
        )
    held: Mapping[str, Any] = card
    return held


def _tensor(archive: Any, name: str) -> Array:
    _refuse_dtype(name, archive.get_slice(name).get_dtype())
    values: Array = archive.get_tensor(name)
    return values


def _refuse_dtype(name: str, held: str) -> None:
    if held not in HELD_DTYPES:  # asked first: another package may have taught numpy the rest
        raise FormatError(f"dtype {held}, which numpy lacks", node=name)


def _graph(card: Mapping[str, Any], tensors: Mapping[str, Array]) -> Graph:
    level, profile = entry(card, "level"), entry(card, "profile")
    if level not in LEVELS:
        raise FormatError(f"unknown level {shown(level)}")
    nodes = {
        name: _node(name, mapping(value, name), tensors)
        for name, value in mapping(entry(card, "nodes"), "nodes").items()
    }
    if profile is not None:
        profile = Profile.from_json(plain_fields(Profile, mapping(profile, "profile"), set()))
    metadata = mapping(entry(card, "metadata"), "metadata")
    return Graph(nodes, _edges(entry(card, "edges")), level, profile, metadata)


def _edges(values: Any) -> list[tuple[str, str, int]]:
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, list) or [type(v) for v in value] != [str, str, int]:
            raise FormatError(f"an edge is {shown(value)}, [source, target, port] is needed")
    return [(source, target, port) for source, target, port in values]


def _node(name: str, held: Mapping[str, Any], tensors: Mapping[str, Array]) -> Node:
    try:
        kind, names = entry(held, "kind"), entry(held, "arrays")
        if not isinstance(kind, str) or kind not in KINDS:
            raise FormatError(f"unknown kind of node {shown(kind)}")
        if not isinstance(names, list) or not all(f"{name}/{field}" in tensors for field in names):
            raise FormatError(f"arrays {shown(names)} are not all in the file")
        arrays = {field: tensors[f"{name}/{field}"] for field in names}
        values = mapping(entry(held, "fields"), "fields")
        rest = plain_fields(KINDS[kind], values, set(arrays))
        node: Node = KINDS[kind](**rest, **arrays)
    except FormatError as error:
        raise FormatError(error.reason, node=name, remedy=error.remedy) from None
    return node
