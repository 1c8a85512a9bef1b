"""ONNX files that a hostile or unlucky hand made: each is one line, and nothing outside is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spikewright.export.formats.onnx_in import read_onnx
from spikewright.export.ir import FormatError, Linear

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 4])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 4])
WEIGHTED = helper.make_node("MatMul", ["x", "w"], ["y"])


def saved(
    folder: Path, nodes: list[Any], tensors: tuple[Any, ...] = (), functions: tuple[Any, ...] = ()
) -> Path:
    graph = helper.make_graph(nodes, "net", [X], [Y], list(tensors))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=list(functions), opset_imports=opsets)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def external(location: str, **entries: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=1, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def refused(path: Path, text: str, **options: Any) -> None:
    with pytest.raises(FormatError, match=text) as caught:
        read_onnx(path, **options)
    said = str(caught.value)
    assert "\n" not in said and "\x1b" not in said and len(said) < 500


PLACES = {
    "a\0b": "no name of a file",
    "\0": "no name of a file",
    "\x1b[31m": "no name of a file",
    "\u202e": "no name of a file",
    "": "outside the folder",
    "/etc/hostname": "outside the folder",
    "../secret": "outside the folder",
    "link": "outside the folder",
    "x" * 5000: "does not exist",
    ".": "does not exist",
    "pipe": "does not exist",
}


@pytest.mark.parametrize("location", PLACES)
def test_places_of_external_data(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    refused(saved(folder, [WEIGHTED], (external(location),)), PLACES[location])


def test_places_that_are_no_text(tmp_path: Path) -> None:
    path = saved(tmp_path, [WEIGHTED], (external("LOCATION"),))
    path.write_bytes(path.read_bytes().replace(b"LOCATION", b"\xff\xfeCATIO\xff"))
    refused(path, "no name of a file|not a readable ONNX")


def test_external_data_of_the_folder_is_read(tmp_path: Path) -> None:
    weight = np.arange(16, dtype=np.float32).reshape(4, 4)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w").write_bytes(bytes(8) + weight.tobytes())
    graph = read_onnx(saved(tmp_path, [WEIGHTED], (external("data/w", offset="8"),)))
    (node,) = graph.of_kind(Linear).values()
    assert np.array_equal(node.weight, weight.T)
    for offset in ("9", "-1", "9" * 5000, "x"):
        refused(saved(tmp_path, [WEIGHTED], (external("data/w", offset=offset),)), "external data")


RELU = helper.make_node("Relu", ["x"], ["y"])
COUNTS = {
    "Constant without output": (helper.make_node("Constant", [], [], value_float=1.0), "0 outputs"),
    "Relu without output": (helper.make_node("Relu", ["x"], []), "0 outputs, Relu has 1"),
    "Relu without input": (helper.make_node("Relu", [], ["y"]), "0 inputs, Relu has 1"),
    "Add of one": (helper.make_node("Add", ["x"], ["y"]), "1 inputs, Add has 2"),
    "MatMul of three": (helper.make_node("MatMul", ["x", "x", "x"], ["y"]), "3 inputs"),
    "Constant of nothing": (helper.make_node("Constant", [], ["w"]), r"numbers \(none\)"),
    "Constant of two": (
        helper.make_node("Constant", [], ["w"], value_float=1.0, value_int=2),
        r"without one value of numbers \(value_float, value_int\)",
    ),
    "Constant of text": (helper.make_node("Constant", [], ["w"], value_string=b"\xff"), "string"),
    "another domain": (helper.make_node("Relu", ["x"], ["y"], domain="own"), r"operator own\.Relu"),
}


@pytest.mark.parametrize("what", COUNTS)
def test_nodes_without_what_they_need(what: str, tmp_path: Path) -> None:
    node, text = COUNTS[what]
    path = saved(tmp_path, [node, WEIGHTED])
    refused(path, text)
    refused(path, text, convert="relu", measure=lambda model, names: dict.fromkeys(names, 1.0))


@pytest.mark.parametrize(("domain", "text"), [("own", r"operator own\.F"), ("", "of its own in")])
def test_functions_without_end(domain: str, text: str, tmp_path: Path) -> None:
    """A function that calls itself; one in place of an operator, which a runtime would take."""
    kind = "F" if domain else "Relu"
    again = helper.make_node(kind, ["a"], ["b"], domain=domain)
    opset = [helper.make_opsetid(domain, 17)]
    function = helper.make_function(domain, kind, ["a"], ["b"], [again], opset)
    node = helper.make_node(kind, ["x"], ["y"], domain=domain)
    path = saved(tmp_path, [node], (), (function,))
    refused(path, text, convert="relu", measure=lambda model, names: dict.fromkeys(names, 1.0))


def field(tag: int, content: bytes) -> bytes:
    """Return a field of a protobuf message: tag, length, content."""
    length, size = b"", len(content)
    while size >= 128:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([tag]) + length + bytes([size]) + content


@pytest.mark.parametrize(("depth", "text"), [(3, "operator If"), (3000, "not a readable ONNX")])
def test_subgraphs_without_end(depth: int, text: str, tmp_path: Path) -> None:
    """Each level is a graph of one node If with the next graph as its attribute."""
    graph = b""
    for _ in range(depth):
        branch = field(0x0A, b"then_branch") + field(0x32, graph) + b"\xa0\x01\x05"
        node = field(0x0A, b"c") + field(0x12, b"y") + field(0x22, b"If") + field(0x2A, branch)
        graph = field(0x0A, node)
    model = onnx.ModelProto()
    model.graph.input.append(X)
    model.graph.output.append(Y)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08" + field(0x3A, graph) + model.SerializeToString())
    refused(path, text)
