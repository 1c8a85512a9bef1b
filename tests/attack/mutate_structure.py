"""Mutations of structure: files that are well formed, and say what they should not."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .mutate_bytes import mutated_bytes
from .mutate_tree import TEXTS, mutated_tree, odd_value

Rng = np.random.Generator
DTYPES = ("|O", "<U4", "|S4", "<M8[s]", "<c16", ">f8", "<f2", "|b1", "<u8", "|V8", "<f4,<i4", "i")
SIDES = (0, 1, 2, 3, 255, 70_000, 1 << 31, 1 << 40, 1 << 62, -1)


def mutated_structure(kind: str, content: bytes, rng: Rng) -> bytes:
    """Return a file of a format with its structure changed.

    Raises:
        KeyError: for a format whose files have none but their bytes.
    """
    return WAYS[kind](content, rng)


def _text(rng: Rng) -> str:
    return TEXTS[int(rng.integers(len(TEXTS)))]


def _json(text: str | bytes, rng: Rng) -> bytes:
    """Return JSON with its tree, or else its text, changed; now and then in itself."""
    if rng.random() < 0.1:
        return mutated_bytes(text.encode() if isinstance(text, str) else text, [b"[[{"], rng)
    tree = mutated_tree(json.loads(text), rng)
    return json.dumps(tree).encode()


def safetensors(content: bytes, rng: Rng) -> bytes:
    """Change the header: tensors, offsets, dtypes, and the JSON within its metadata."""
    (size,) = struct.unpack_from("<Q", content)
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    cards = header.get("__metadata__", {})
    if cards and rng.random() < 0.75:
        key = sorted(cards)[int(rng.integers(len(cards)))]
        try:
            cards[key] = _json(cards[key], rng).decode("utf-8", "replace")
        except ValueError:
            cards[key] = _text(rng)
    else:
        header = mutated_tree(header, rng)
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + rest


def spk(content: bytes, rng: Rng) -> bytes:
    """Change the card of an archive; three in four are sealed again, so that readers go on."""
    changed = _fields(content, rng) if rng.random() < 0.5 else safetensors(content, rng)
    return _sealed(changed) if rng.random() < 0.75 else changed


def _fields(content: bytes, rng: Rng) -> bytes:
    """Change what the card of an archive says beside its nodes, or the bytes of its arrays."""
    (size,) = struct.unpack_from("<Q", content)
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    card = json.loads(header["__metadata__"]["card"])
    if rng.random() < 0.5:
        card["metadata"] = mutated_tree(card["metadata"], rng)
    else:
        at = int(rng.integers(len(rest)))
        rest = rest[:at] + rng.bytes(1) + rest[at + 1 :]
    header["__metadata__"]["card"] = json.dumps(card)
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + rest


def _sealed(content: bytes) -> bytes:
    """Return an archive with the digests of what it now holds, or as it is where it has none."""
    from safetensors.numpy import load

    from spikewright.export.formats import archive
    from spikewright.export.formats.provenance import metadata_digest
    from spikewright.export.ir.digest import digest

    try:
        (size,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + size])
        card = json.loads(header["__metadata__"]["card"])
        graph = archive._graph(card, load(content))
        card["digest"], card["metadata_digest"] = digest(graph), metadata_digest(graph.metadata)
    except Exception:  # too odd to be sealed, which is what its reader is there for
        return content
    header["__metadata__"]["card"] = json.dumps(card)
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + content[8 + size :]


def yaml_text(content: bytes, rng: Rng) -> bytes:
    """Change a YAML tree, or put text of YAML's own kind into it."""
    import yaml

    if rng.random() < 0.2:
        lines = content.decode().split("\n")
        odd = ("a: &a [*a]", "? {}", "- x", "!!python/object/apply:os.system [true]", "<<: *b")
        lines.insert(int(rng.integers(len(lines))), odd[int(rng.integers(len(odd)))])
        return "\n".join(lines).encode()
    tree = mutated_tree(yaml.safe_load(content), rng)
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


def _zip(content: bytes, rng: Rng) -> bytes:
    """Change a zip: members missing, renamed, doubled, changed; or fields of its directory."""
    if rng.random() < 0.3:
        return _zip_field(content, rng)
    source = zipfile.ZipFile(io.BytesIO(content))
    members = [(info.filename, source.read(info)) for info in source.infolist()]
    at, way = int(rng.integers(len(members))), int(rng.integers(5))
    name, held = members[at]
    if way == 0:
        members.pop(at)
    elif way == 1:
        members[at] = (_text(rng).replace("\x00", "_") or "x", held)
    elif way == 2:
        members.append((name, held))
    elif way == 3 and held[:6] == b"\x93NUMPY":
        members[at] = (name, npy(held, rng))
    else:
        members[at] = (name, mutated_bytes(held, [held], rng) if held else b"x")
    packing = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing[int(rng.integers(4))]) as file:
        for name, held in members:
            file.writestr(name[:2000], held)
    return out.getvalue()


def _zip_field(content: bytes, rng: Rng) -> bytes:
    """Overwrite a field of a member's directory entry: flags, method, CRC, sizes, offset."""
    at = content.find(b"PK\x01\x02")
    if at < 0:
        return content
    offset, width = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (42, 4))[int(rng.integers(6))]
    value = int(rng.choice([0, 1, 8, 12, 14, 99, 0xFFFF])).to_bytes(4, "little")[:width]
    return content[: at + offset] + value + content[at + offset + width :]


def npy(content: bytes, rng: Rng) -> bytes:
    """Change the header of an array: dtype, shape, order; its text; what follows."""
    start = 10 + struct.unpack_from("<H", content, 8)[0]
    dtype, side = DTYPES[int(rng.integers(len(DTYPES)))], int(rng.choice(SIDES[:-1]))
    shape = tuple(int(rng.choice(SIDES)) for _ in range(int(rng.integers(5))))
    texts = (
        f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': ({side}, 8), }}",
        f"{{'descr': '<f4', 'fortran_order': True, 'shape': {shape}, }}",
        f"{{'descr': '<f4', 'fortran_order': 3, 'shape': {_text(rng)!r}, }}",
        f"{{'descr': {[('a', '<f4')]!r}, 'fortran_order': False, 'shape': (2,), }}",
        "(" * int(rng.integers(1, 400)),
        "__import__('os').system('true')",
    )
    text = texts[int(rng.integers(len(texts)))].encode("utf-8", "replace") + b"\n"
    return content[:8] + struct.pack("<H", min(len(text), 65535)) + text + content[start:]


def hdf5(content: bytes, rng: Rng) -> bytes:
    """Change an object of an HDF5 file, through h5py."""
    import h5py

    file = io.BytesIO(content)
    with h5py.File(file, "r+") as tree:
        names: list[str] = []
        tree.visit(names.append)
        for _ in range(int(rng.integers(1, 3))):
            name = names[int(rng.integers(len(names)))]
            if name in tree:
                _change_object(tree, name, names, rng)
    return file.getvalue()


def _change_object(tree: Any, name: str, names: list[str], rng: Rng) -> None:
    import h5py

    old, way = tree[name], int(rng.integers(8))
    if way == 0:
        del tree[name]
    elif way == 1:
        tree.move(name, f"{name.rpartition('/')[0]}/n{int(rng.integers(9))}{_name(rng)}")
    elif way == 2:
        del tree[name]
        links = (h5py.SoftLink("/node"), h5py.ExternalLink("/etc/passwd", "/"), tree)
        tree[name] = links[int(rng.integers(3))]
    elif way == 3:
        other = names[int(rng.integers(len(names)))]
        if other in tree and not other.startswith(name):
            del tree[name]
            tree.copy(other, name) if not name.startswith(other) else None
    elif way == 4:
        old.attrs["note"] = "x" * int(rng.integers(1, 200))
    elif isinstance(old, h5py.Dataset):
        value = _other_value(old, rng)
        del tree[name]
        tree.create_dataset(name, data=value)
    else:
        tree.create_group(f"{name}/{_name(rng)}")


def _name(rng: Rng) -> str:
    return _text(rng).replace("/", "_").replace("\x00", "_")[:300] or "empty"


def _other_value(old: Any, rng: Rng) -> Any:
    """Return another value for a dataset: shape, dtype, text, extremes."""
    value, way = np.asarray(old[()]), int(rng.integers(8))
    if value.dtype.kind == "O" or way == 0:
        texts = [_text(rng).replace("\x00", "_"), "input", "LIF", "NIRGraph", "1.0"]
        return texts[int(rng.integers(len(texts)))]
    if way == 1:
        return value.reshape(-1)[: int(rng.integers(value.size + 1))]
    if way == 2:
        return np.stack([value] * int(rng.integers(1, 4)))
    if way == 3:
        return value.astype(("f8", "i1", "u8", "f2", "?", "i8")[int(rng.integers(6))])
    if way == 4 and value.dtype.kind in "fiu":
        return value * value.dtype.type(0)
    if way == 5:
        extremes = (np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30, -1.0)
        changed = np.asarray(value, "f8").reshape(-1).copy()
        if changed.size:
            changed[int(rng.integers(changed.size))] = extremes[int(rng.integers(7))]
        return changed.reshape(value.shape)
    if way == 6:
        return np.asarray(int(rng.choice([0, -1, 7, 1 << 31, 1 << 62])))
    return -value if value.dtype.kind in "fi" else value


def onnx(content: bytes, rng: Rng) -> bytes:
    """Change a model: nodes, attributes, names, dimensions, weights, subgraphs, functions."""
    import onnx as package

    model = package.ModelProto.FromString(content)
    for _ in range(int(rng.integers(1, 4))):
        ONNX_WAYS[int(rng.integers(len(ONNX_WAYS)))](model, rng)
    changed: bytes = model.SerializeToString()
    return changed


def _pick(items: Any, rng: Rng) -> Any:
    return items[int(rng.integers(len(items)))] if len(items) else None


def _onnx_node(model: Any, rng: Rng) -> None:
    node = _pick(model.graph.node, rng)
    if node is None:
        return
    way, kinds = int(rng.integers(7)), ("Relu", "If", "Loop", "Scan", "Constant", "Gemm", "Conv")
    if way == 0:
        model.graph.node.remove(node)
    elif way == 1:
        node.op_type = _pick((*kinds, "", _clean(rng)), rng)
    elif way == 2:
        node.domain = _pick(("", "ai.onnx", "com.microsoft", _clean(rng)), rng)
    elif way == 3 and node.input:
        node.input[int(rng.integers(len(node.input)))] = _clean(rng)
    elif way == 4 and node.output:
        node.output[int(rng.integers(len(node.output)))] = _pick((_clean(rng), "x", "y"), rng)
    elif way == 5:
        del node.output[:]
    else:
        model.graph.node.append(node)


def _clean(rng: Rng) -> str:
    return _text(rng).encode("utf-8", "replace").decode()


def _onnx_attribute(model: Any, rng: Rng) -> None:
    node = _pick(model.graph.node, rng)
    attribute = _pick(node.attribute, rng) if node is not None else None
    if attribute is None:
        return
    way, numbers = int(rng.integers(6)), (0, -1, 3, 1 << 20, 1 << 62, -(1 << 62))
    if way == 0:
        node.attribute.remove(attribute)
    elif way == 1:
        attribute.i = _pick(numbers, rng)
    elif way == 2:
        attribute.ints[:] = [_pick(numbers, rng) for _ in range(int(rng.integers(6)))]
    elif way == 3:
        attribute.type = int(rng.integers(0, 13))
    elif way == 4:
        attribute.name = _clean(rng)
    else:
        attribute.f = _pick((float("nan"), float("inf"), -1.0), rng)


def _onnx_value(model: Any, rng: Rng) -> None:
    """Change an input or an output: its name, or its dimensions."""
    value = _pick([*model.graph.input, *model.graph.output], rng)
    if value is None:
        return
    shape, way = value.type.tensor_type.shape, int(rng.integers(4))
    if way == 0:
        value.name = _clean(rng)
    elif way == 1:
        value.type.tensor_type.elem_type = int(rng.integers(0, 20))
    elif way == 2 and shape.dim:
        _pick(shape.dim, rng).dim_value = int(rng.choice([0, -1, 3, 1 << 20, 1 << 40]))
    else:
        del shape.dim[int(rng.integers(len(shape.dim) + 1)) :]


def _onnx_weight(model: Any, rng: Rng) -> None:
    tensor = _pick(model.graph.initializer, rng)
    if tensor is None:
        return
    way = int(rng.integers(6))
    if way == 0:
        tensor.data_type = int(rng.integers(0, 24))
    elif way == 1 and tensor.dims:
        tensor.dims[0] = int(rng.choice([0, -1, 3, 1 << 20, 1 << 40]))
    elif way == 2:
        tensor.raw_data = mutated_bytes(tensor.raw_data or b"\x00", [b"\x00"], rng)
    elif way == 3:
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key = "location"
        entry.value = _pick(("/etc/passwd", "../x", "a\x00b", _clean(rng)), rng)
    elif way == 4:
        tensor.name = _clean(rng)
    else:
        model.graph.initializer.remove(tensor)


def _onnx_whole(model: Any, rng: Rng) -> None:
    """Change the model: versions, metadata, functions, graphs within graphs."""
    way = int(rng.integers(5))
    if way == 0 and model.opset_import:
        model.opset_import[0].version = int(rng.choice([0, -1, 5, 11, 99, 1 << 40]))
    elif way == 1:
        model.ir_version = int(rng.choice([0, -1, 3, 99]))
    elif way == 2 and model.metadata_props:
        prop = _pick(model.metadata_props, rng)
        try:
            prop.value = _json(prop.value, rng).decode("utf-8", "replace")
        except ValueError:
            prop.value = _clean(rng)
    elif way == 3:
        _nest(model, int(rng.choice([1, 5, 60])))
    else:
        function = model.functions.add()
        function.name = function.domain = "f"
        node = function.node.add()
        node.op_type = node.domain = "f"
        called = model.graph.node.add()
        called.op_type = called.domain = "f"


def _nest(model: Any, levels: int) -> None:
    graph = model.graph
    for _ in range(levels):
        node = graph.node.add()
        node.op_type = "If"
        attribute = node.attribute.add()
        attribute.name, attribute.type = "then_branch", 5
        graph = attribute.g


def png(content: bytes, rng: Rng) -> bytes:
    """Change a chunk, with its checksum made right again: sizes, kinds, order, number."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    index, way = int(rng.integers(len(chunks))), int(rng.integers(5))
    if way == 0:
        sides = [int(rng.choice([0, 1, 7, 8, 9, 4000, 30_000, 1 << 31])) for _ in range(2)]
        bits = [int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16])) for _ in range(2)]
        rest = bytes([*bits, 0, 0, int(rng.integers(3))])
        chunks[0] = (b"IHDR", struct.pack(">II", *sides) + rest)
    elif way == 1:
        chunks.pop(index)
    elif way == 2:
        chunks.insert(index, _pick(ODD_CHUNKS, rng))
    elif way == 3:
        chunks.insert(index, chunks[index])
    else:
        kind, held = chunks[index]
        chunks[index] = (kind, mutated_bytes(held or b"\x00", [held], rng))
    return content[:8] + b"".join(_chunk(kind, held) for kind, held in chunks)


ODD_CHUNKS = [
    (b"iCCP", b"p\x00\x00" + zlib.compress(bytes(1 << 20))),
    (b"zTXt", b"k\x00\x00" + zlib.compress(bytes(1 << 24))),
    (b"tEXt", b"k\x00\x1b[31m"),
    (b"PLTE", b"\x00" * 7),
    (b"tRNS", b"\xff" * 300),
    (b"acTL", struct.pack(">II", 1 << 30, 0)),
    (b"gAMA", bytes(4)),
    (b"eXIf", b"II*\x00\xff\xff\xff\xff"),
]


def _chunk(kind: bytes, held: bytes) -> bytes:
    return struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))


def parquet(content: bytes, rng: Rng) -> bytes:
    """Write a table of other columns: types, nulls, names, values."""
    import pyarrow as pa
    from pyarrow import parquet as files

    table = files.read_table(io.BytesIO(content))
    pictures: Any = table["img"].to_pylist()
    labels: list[Any] = [0, 1, 2, 3]
    way = int(rng.integers(6))
    if way == 0:
        labels = _pick(([None] * 4, ["a"] * 4, [0.5] * 4, [-1] * 4, [1 << 40] * 4), rng)
    elif way == 1:
        pictures[0]["bytes"] = mutated_bytes(pictures[0]["bytes"], [b"x"], rng)
    elif way == 2:
        pictures[0] = _pick((None, {"bytes": None, "path": "/etc/passwd"}), rng)
    elif way == 3:
        pictures = _pick((["text"] * 4, [b"bytes"] * 4, [{"path": "x"}] * 4, [1.5] * 4), rng)
    elif way == 4:
        pictures[0]["bytes"] = png(pictures[0]["bytes"], rng)
    names = ["img", "label"] if way != 5 else [_clean(rng)[:200], _pick(("img", "label"), rng)]
    out = io.BytesIO()
    packing = _pick(("snappy", "none", "gzip", "zstd", "brotli"), rng)
    columns = [pa.array(pictures), pa.array(labels)]
    files.write_table(pa.Table.from_arrays(columns, names), out, compression=packing)
    return out.getvalue()


def torch_file(content: bytes, rng: Rng) -> bytes:
    """Save another object than tensors by name, or change the zip."""
    import torch

    if rng.random() < 0.5 and content[:2] == b"PK":
        return _zip(content, rng)
    held: dict[Any, Any] = {"0.weight": torch.zeros(6, 8), "2.weight": torch.zeros(4, 6)}
    odd: list[Any] = [
        odd_value(rng),
        torch.zeros(3, dtype=torch.int8),
        torch.zeros(6, 8).to_sparse(),
    ]
    odd += [torch.empty(6, 8, device="meta"), torch.full((6, 8), float("nan"))]
    held[_pick(("0.weight", _text(rng), 3, None), rng)] = _pick(odd, rng)
    file = io.BytesIO()
    torch.save(_pick((held, {"state_dict": held}, [held], odd[0]), rng), file)
    return file.getvalue()


ONNX_WAYS: tuple[Callable[[Any, Rng], None], ...] = (
    _onnx_node,
    _onnx_attribute,
    _onnx_value,
    _onnx_weight,
    _onnx_whole,
)
WAYS: dict[str, Callable[[bytes, Rng], bytes]] = {
    "spk": spk,
    "nir": hdf5,
    "net": hdf5,
    "onnx": onnx,
    "npz": _zip,
    "png": png,
    "cifar10-parquet": parquet,
    "checkpoint": safetensors,
    "weights-safetensors": safetensors,
    "weights-pt": torch_file,
    "state": safetensors,
    "yaml": yaml_text,
}
"""By format, what changes its structure."""
