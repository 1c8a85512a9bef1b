"""An ONNX file as it lies on disk: nodes and constants, with sizes and places checked.

What comes from elsewhere is not trusted: external data is read from the file's own folder only, and
no array is taken that the file does not hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from ..ir import Array, FormatError, Shape
from ..ir.missing import near_files
from .files import open_regular

LARGEST_FILE = 1 << 31
"""Bytes of a model, and of its constants together."""
MOST_NODES = 20_000
STANDARD = ("", "ai.onnx")
"""Both names of the domain of ONNX's own operators."""
HELD: dict[int, int] = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.DOUBLE: 8,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.BOOL: 1,
    onnx.TensorProto.INT8: 1,
    onnx.TensorProto.UINT8: 1,
    onnx.TensorProto.INT32: 4,
    onnx.TensorProto.INT64: 8,
}
"""Bytes of the element types that are read."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """Return a model, its external data not yet read.

    Raises:
        FormatError: for what is no ONNX model, or one of ours, which has no way back.
    """
    if not path.is_file():
        raise FormatError("no such file", remedy=near_files(path, "an .onnx file"))
    if path.stat().st_size > LARGEST_FILE:
        raise FormatError(f"{path.stat().st_size} bytes, at most {LARGEST_FILE} are read")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, RecursionError, ValueError) as error:
        raise FormatError(f"not a readable ONNX file ({_line(error)})") from None
    if not model.graph.node:
        raise FormatError("not a readable ONNX file (no nodes)")
    if len(model.graph.node) > MOST_NODES:
        raise FormatError(f"{len(model.graph.node)} nodes, at most {MOST_NODES} are read")
    if own := [f.name for f in model.functions if f.domain in STANDARD]:
        raise FormatError(
            f"a function of its own in place of the operator {own[0][:60]}",
            remedy="inline it: onnx.inliner.inline_local_functions",
        )
    if any(entry.key == "spikewright" for entry in model.metadata_props):
        raise FormatError(
            "written by spikewright, which does not read its ONNX back",
            remedy="give the .spk or .nir of the network",
        )
    return model


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def constants(tensors: Iterable[onnx.TensorProto], folder: Path) -> dict[str, Array]:
    """Return the constants by name.

    Raises:
        FormatError: naming the tensor, for external data outside `folder`, an element type that is
            not read, or values that do not fill the shape.
    """
    found: dict[str, Array] = {}
    total = 0
    for tensor in tensors:
        name = tensor.name[:80]
        if tensor.data_type not in HELD:
            raise FormatError(f"element type {tensor.data_type} is not read", node=name)
        if any(n < 0 for n in tensor.dims):
            raise FormatError(f"shape {tuple(tensor.dims)}", node=name)
        total += prod(tensor.dims) * HELD[tensor.data_type]
        if total > LARGEST_FILE:
            raise FormatError(f"constants of more than {LARGEST_FILE} bytes", node=name)
        found[tensor.name] = _array(tensor, folder, name)
    return found


def embed(tensors: Iterable[onnx.TensorProto], values: Mapping[str, Array]) -> None:
    """Put external data, once read, into the model itself."""
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))


def _array(tensor: onnx.TensorProto, folder: Path, name: str) -> Array:
    size = prod(tensor.dims) * HELD[tensor.data_type]
    held = onnx.TensorProto()
    held.CopyFrom(tensor)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        held.raw_data = _external(tensor, folder, size, name)
        held.data_location = onnx.TensorProto.DEFAULT
        del held.external_data[:]
    try:
        array: Array = numpy_helper.to_array(held)
    except (ValueError, TypeError) as error:
        raise FormatError(
            f"its values do not fill {tuple(tensor.dims)} ({_line(error)})", node=name
        ) from None
    return array


def _external(tensor: onnx.TensorProto, folder: Path, size: int, name: str) -> bytes:
    """Return `size` bytes of a file in `folder`; nothing outside it is opened, by any name."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    place = _place(entries.get("location", ""), folder, name)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise FormatError("offset and length of external data are no numbers", node=name) from None
    with open_regular(place) as file:
        there = os.fstat(file.fileno()).st_size
        if length != size or offset < 0 or offset + size > there:
            raise FormatError(
                f"external data of {length} bytes at {offset} does not fill the {size} needed",
                node=name,
            )
        file.seek(offset)
        return file.read(size)


def _place(location: str | bytes, folder: Path, name: str) -> Path:
    """Return the file of external data, which lies in `folder`."""
    if not isinstance(location, str) or not location.isprintable():  # bytes that are no UTF-8, NUL
        raise FormatError(f"external data {location[:60]!r} is no name of a file", node=name)
    root, place = os.path.realpath(folder), os.path.realpath(folder / location)
    if not location or Path(location).is_absolute() or not Path(place).is_relative_to(root):
        raise FormatError(
            f"external data {location[:60]!r} lies outside the folder of the file", node=name
        )
    if not os.path.isfile(place):
        raise FormatError(f"external data {location[:60]!r} does not exist", node=name)
    return Path(place)


def shape_of_input(info: onnx.ValueInfoProto, given: Shape | None) -> Shape:
    """Return the shape of one sample: the declared one without its first axis, the batch.

    Raises:
        FormatError: where an axis has no size and none is given.
    """
    if given is not None:
        return given
    dims = [d.dim_value for d in info.type.tensor_type.shape.dim][1:]
    if not dims or min(dims) < 1:
        raise FormatError(
            f"shape {tuple(dims)} of a sample is not known",
            node=info.name[:80],
            remedy="give --input C,Y,X",
        )
    return tuple(dims)


def batch_of_input(info: onnx.ValueInfoProto) -> int | None:
    """Return the batch size that the file was exported with; None where any may enter."""
    dims = info.type.tensor_type.shape.dim
    size = dims[0].dim_value if len(dims) > 1 else 0
    return size if size > 0 else None


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {
        a.name: onnx.helper.get_attribute_value(a)
        for a in node.attribute
        if a.type != onnx.AttributeProto.UNDEFINED
    }


def check_counts(node: onnx.NodeProto, opset: int, name: str) -> None:
    """Raise FormatError for a node with too few or too many inputs or outputs for its operator."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except (onnx.defs.SchemaError, UnicodeDecodeError):
        return  # no operator of ONNX's, which no rule is for
    for what, count, least, most in (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), max(1, schema.min_output), schema.max_output),
    ):
        if not least <= count <= most:
            wanted = least if least == most else f"{least} to {most}"
            raise FormatError(f"{count} {what}, {node.op_type} has {wanted}", node=name)


def label(name: str) -> str:
    """Return a tensor's name as a node of ours can hold it."""
    if not isinstance(name, str):  # bytes, where the file holds no UTF-8
        return "node"
    kept = "".join("." if c in "/\\:" else c for c in name if c.isprintable() and not c.isspace())
    return kept.strip(".")[:150] or "node"


def whole(values: Any) -> Shape:
    """Return whole numbers as a shape."""
    return tuple(int(n) for n in np.asarray(values).reshape(-1))
