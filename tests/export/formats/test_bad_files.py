"""Files that nobody should have written: one line, exit code 2, bounded memory, no other file read.

Each is made here and given to the command line as a user would give it.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spikewright.export.ir import Array
from tests.cli.test_bad_input import refused

from .nir_files import by_hand, chain_file, edited, ends, lif, replace, written

Make = Callable[[Path], Any]
FLOAT = onnx.TensorProto.FLOAT
MOST_MEMORY = 64 << 20
"""Bytes that a refusal may take."""


def cut(at: int) -> Make:
    def make(path: Path) -> None:
        path.write_bytes(chain_file(path, n=lif((4,))).read_bytes()[:at])

    return make


def flipped(path: Path) -> None:
    """A good file with one byte in 50 replaced, its signature spared."""
    rng = np.random.default_rng(0)
    content = np.frombuffer(chain_file(path, n=lif((4,))).read_bytes(), np.uint8).copy()
    places = rng.integers(64, len(content), len(content) // 50)
    content[places] = rng.integers(0, 256, len(places))
    path.write_bytes(content.tobytes())


def unbounded(file: Any) -> None:
    """4 TiB declared, nothing stored."""
    del file["node/nodes/w/weight"]
    shape = (1 << 20, 1 << 20)
    file.create_dataset("node/nodes/w/weight", shape=shape, chunks=(64, 64), dtype="f4")


def hollow(file: Any) -> None:
    """Within the limit of elements, but nothing stored."""
    del file["node/nodes/w/weight"]
    file.create_dataset("node/nodes/w/weight", shape=(1 << 13, 1 << 13), dtype="f8")


def two_names(file: Any) -> None:
    file["node/nodes/w/again"] = file["node/nodes/w/weight"]


def endless_text(path: Path) -> None:
    """The first edge says that its name is 4 GiB long."""
    edited(lambda file: None)(path)
    with h5py.File(path, "r") as file:
        edges: Any = file["node/edges"]
        place = edges.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))


def chunked_text(file: Any) -> None:
    del file["node/edges"]
    texts = np.array([["input", "w"], ["w", "n"]], object)
    file["node"].create_dataset("edges", data=texts, dtype=h5py.string_dtype(), chunks=(1, 2))


def nested_metadata(file: Any) -> None:
    group = file["node"].require_group("metadata")
    for _ in range(200):
        group = group.create_group("m")
    group["x"] = 1


def laughs(file: Any) -> None:
    """Thirty groups, each twice in the one before: 2^30 ways to the last."""
    group = file["node"].require_group("metadata")
    for _ in range(30):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner
    group["x"] = 1


def own_parent(file: Any) -> None:
    group = file["node"].require_group("metadata")
    group["again"] = group


def external_link(file: Any) -> None:
    del file["node/nodes/w/weight"]
    file["node/nodes/w/weight"] = h5py.ExternalLink("secret.h5", "/weight")


def soft_link(file: Any) -> None:
    file["node/metadata"] = h5py.SoftLink("/node/nodes")


def external_storage(file: Any) -> None:
    del file["node/nodes/w/weight"]
    file["node/nodes/w"].create_dataset(
        "weight", (4, 4), "f4", external=[("../secret.bin", 0, h5py.h5f.UNLIMITED)]
    )


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource("../secret.h5", "weight", (4, 4))
    del file["node/nodes/w/weight"]
    file["node/nodes/w"].create_virtual_dataset("weight", layout)


def references(file: Any) -> None:
    del file["node/nodes/w/weight"]
    target = file["node/nodes/n"].ref
    file["node/nodes/w"].create_dataset("weight", data=target, dtype=h5py.ref_dtype)


def subgraphs(depth: int) -> Make:
    """Graphs within graphs."""

    def make(path: Path) -> None:
        graph: Any = ({"a": {"type": "Identity"}}, [("a", "a")])
        for _ in range(depth):
            graph = ({"g": {"type": "NIRGraph", "graph": graph}}, [("g", "g")])
        by_hand(path, *graph)

    return make


def stateless_loop(path: Path) -> None:
    start, end = ends((4,))
    eye = nir.Linear(np.eye(4, dtype=np.float32))
    nodes = {"input": start, "n": lif((4,)), "a": eye, "b": eye, "output": end}
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "n"), ("n", "output")]
    written(path, nodes, edges)


def convolution(**fields: Any) -> Make:
    """A Conv1d over the input of (1, 4)."""

    def make(path: Path) -> None:
        weight, bias = np.ones((1, 1, 2), np.float32), np.zeros(1, np.float32)
        node = nir.Conv1d(4, weight, 1, 0, 1, 1, bias)
        for name, value in fields.items():
            setattr(node, name, value)
        chain_file(path, (1, 4), c=node)

    return make


def value(key: str, new: Any) -> Make:
    return edited(lambda file: replace(file, f"node/nodes/{key}", new))


def gone(key: str) -> Make:
    return edited(lambda file: file.__delitem__(key))


def metadata(**entries: Any) -> Make:
    return edited(lambda file: file["node"].create_group("metadata").update(entries))


def declares(*shape: int) -> Make:
    return value("input/shape", np.array(shape))


def odd_entry(path: Path) -> None:
    """No Input, so that the first node has to say what enters, and cannot."""
    convolution()(path)
    with h5py.File(path, "r+") as opened:
        file: Any = opened
        del file["node/nodes/input"]
        replace(file, "node/nodes/c/groups", "x")
        replace(file, "node/edges", np.array([[b"c", b"output"]]))


NIR: dict[str, tuple[Make, str]] = {
    "text": (lambda p: p.write_text("hello"), "not a readable NIR file"),
    "empty": (lambda p: p.write_bytes(b""), "not a readable NIR file"),
    "signature only": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "not a readable"),
    "cut early": (cut(900), "not a readable"),
    "cut late": (cut(4000), "not a readable"),
    "bytes flipped": (flipped, "bad.nir"),
    "no graph": (lambda p: h5py.File(p, "w").close(), "no NIR graph"),
    "node is a number": (edited(lambda f: replace(f, "node", 3)), "no NIR graph"),
    "no nodes": (gone("node/nodes"), "node/nodes is missing"),
    "nodes is an array": (edited(lambda f: replace(f, "node/nodes", np.ones(3))), "nodes: "),
    "no edges": (edited(lambda f: replace(f, "node/edges", np.empty((0, 2), "S1"))), "edges"),
    "edge shape": (edited(lambda f: replace(f, "node/edges", np.array([b"a"]))), "pairs"),
    "edges of numbers": (edited(lambda f: replace(f, "node/edges", np.ones((2, 2)))), "no such"),
    "edge to nowhere": (
        edited(lambda f: replace(f, "node/edges", np.array([[b"input", b"x"]]))),
        "x: an edge names no such node",
    ),
    "edges as text": (edited(lambda f: replace(f, "node/edges", "input")), "edges of shape ()"),
    "no Input, odd groups": (odd_entry, "c: the shape of what enters cannot be told"),
    "endless input": (value("input/shape", np.array([np.inf])), "input_type [inf] is no shape"),
    "no way through": (
        edited(lambda f: replace(f, "node/edges", np.array([[b"input", b"w"], [b"n", b"output"]]))),
        "no way from input to output",
    ),
    "no type": (gone("node/nodes/n/type"), "n: no type"),
    "unknown type": (value("w/type", "Banana"), "w: type Banana cannot be read"),
    "type of numbers": (value("w/type", np.ones(3)), "w: type [1. 1. 1.]"),
    "missing field": (gone("node/nodes/n/r"), "n: r is missing"),
    "no shape": (gone("node/nodes/input/shape"), "input: input_type is missing"),
    "half a shape": (value("input/shape", np.array([2.5])), "input: input_type [2.5] is no shape"),
    "negative shape": (declares(-4), "input: shape (-4,)"),
    "no axes": (declares(), "input: shape ()"),
    "huge input": (declares(1 << 40), "input: shape (1099511627776,)"),
    "negative tau": (value("n/tau", -np.ones(4)), "n: tau -1.0 must be above 0"),
    "tau below dt": (value("n/tau", 1e-6 * np.ones(4)), "below dt"),
    "NaN weight": (value("w/weight", np.full((4, 4), np.nan)), "w: weight holds NaN"),
    "infinite threshold": (value("n/v_threshold", np.full(4, np.inf)), "n: v_threshold holds NaN"),
    "text weight": (value("w/weight", "heavy"), "w: weight holds"),
    "complex weight": (value("w/weight", np.ones((4, 4), complex)), "w.weight: dtype"),
    "compound weight": (value("w/weight", np.zeros(4, [("a", "f4")])), "w.weight: dtype"),
    "references": (edited(references), "w.weight: dtype"),
    "empty weight": (value("w/weight", np.ones((0, 4))), "w: shape (0,)"),
    "weight of one axis": (value("w/weight", np.ones(4)), "w: a weight of 1 axes"),
    "shapes": (value("w/weight", np.ones((4, 5))), "w: weight takes 5 features"),
    "neuron shape": (value("n/v_threshold", np.ones(3)), "n: v_threshold has shape (3,)"),
    "tau of another shape": (value("n/tau", np.ones(3)), "n: tau has shape (3,)"),
    "huge": (edited(unbounded), "w.weight: declares 1099511627776 elements"),
    "hollow": (edited(hollow), "the file holds 0"),
    "endless text": (endless_text, "edges: text of 42949"),
    "text in chunks": (edited(chunked_text), "edges: text in chunks"),
    "two names": (edited(two_names), "w.weight: lies under two names"),
    "nested metadata": (edited(nested_metadata), "nested deeper than 100"),
    "a billion laughs": (edited(laughs), "lies under two names"),
    "its own parent": (edited(own_parent), "lies under two names"),
    "nested subgraphs": (subgraphs(40), "nested deeper than 32"),
    "subgraph in a ring": (subgraphs(3), "g: a subgraph with 0 Input nodes"),
    "link to another file": (edited(external_link), "w.weight: a link"),
    "soft link": (edited(soft_link), "node.metadata: a link"),
    "values in another file": (edited(external_storage), "w.weight: its values lie in another"),
    "a view of another file": (edited(virtual), "w.weight: its values lie in another"),
    "loop of weights": (stateless_loop, "a -> b: a loop without a neuron"),
    "two inputs": (
        lambda p: chain_file(p, second=nir.Input({"input": np.array([4])}), n=lif((4,))),
        "2 Input nodes, 1 is needed",
    ),
    "part of a delay": (
        lambda p: chain_file(p, d=nir.Delay(delay=np.full(4, 2.5e-4)), n=lif((4,))),
        "d: a delay of 2.500 steps",
    ),
    "negative delay": (lambda p: chain_file(p, d=nir.Delay(delay=np.full(4, -1e-4))), "d: delays"),
    "flatten beyond": (
        lambda p: chain_file(p, f=nir.Flatten({"input": np.array([4])}, 0, 3), n=lif((4,))),
        "f: flattens axes 0..3 of (4,)",
    ),
    "another padding": (convolution(padding="reflect"), "c: padding 'reflect'"),
    "half a stride": (convolution(stride=1.5), "c: stride [1.5] are no whole numbers"),
    "no stride": (convolution(stride=0), "c: kernel, stride and dilation must be at least 1"),
    "no groups": (convolution(groups=0), "c: 1 channels in 0 groups"),
    "huge padding": (convolution(padding=1 << 40), "c: padding [1099511627776] is too large"),
    "huge map": (convolution(padding=1 << 28), "c: shape"),
    "a kernel beyond": (convolution(dilation=9), "c: kernel (2,) does not fit"),
    "a negative dt": (metadata(dt=-1.0), "dt: dt -1.0 must be above 0"),
    "dt in words": (metadata(dt="slow"), "dt: dt nan must be above 0"),
    "our card cut": (metadata(spikewright=np.zeros(9, np.uint8)), "metadata/spikewright"),
    "our card in words": (metadata(spikewright="graph"), "metadata/spikewright"),
    "a long name": (
        edited(lambda f: f["node/nodes"].create_group("x" * 5000)),
        "nodes: a name of 5000 characters",
    ),
}


def folders(outer: Path) -> Path:
    """Return an inner folder; it and the outer one hold what no file may reach from elsewhere."""
    (outer / "in").mkdir()
    for folder in (outer, outer / "in"):
        with h5py.File(folder / "secret.h5", "w") as secret:
            secret["weight"] = np.eye(4, dtype=np.float32)
        (folder / "secret.bin").write_bytes(np.eye(4, dtype=np.float32).tobytes())
    return outer / "in"


@pytest.mark.parametrize("case", NIR)
def test_a_bad_nir_file_is_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, says = NIR[case]
    path = folders(tmp_path) / "bad.nir"
    make(path)
    line = refused_cheaply(capsys, path)
    assert says in line and str(path) in line, line
    assert len(line) < 600


def refused_cheaply(capsys: pytest.CaptureFixture[str], path: Path) -> str:
    tracemalloc.start()
    try:
        line = refused(capsys, "inspect", str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY, f"{peak >> 20} MiB"
    return line


def onnx_model(
    nodes: list[Any] | None = None, shape: Any = (4,), **constants: Any
) -> onnx.ModelProto:
    """x -> MatMul by w -> y, or other nodes."""
    held = {"w": np.eye(4, dtype=np.float32), **constants}
    tensors = [
        value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value, name)
        for name, value in held.items()
    ]
    made = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")]
    graph = helper.make_graph(
        made,
        "net",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def saved(**changes: Any) -> Make:
    return lambda path: path.write_bytes(onnx_model(**changes).SerializeToString())


def one(kind: str, *inputs: str, **fields: Any) -> Make:
    """A model of one operator."""
    return saved(nodes=[helper.make_node(kind, ["x", *inputs], ["y"], name="m", **fields)])


def images(kind: str, **fields: Any) -> Make:
    """A model of one operator with a kernel of 3 by 3 over images of 2 by 8 by 8."""
    node = helper.make_node(kind, ["x", "w"][: 1 + (kind == "Conv")], ["y"], name="m", **fields)
    return saved(nodes=[node], shape=(2, 8, 8), w=np.ones((3, 2, 3, 3), np.float32))


def tensor(**fields: Any) -> Make:
    """A weight whose message has these fields."""

    def make(path: Path) -> None:
        made = onnx_model()
        weight = made.graph.initializer[0]
        for key, value in fields.items():
            held = getattr(weight, key)
            if hasattr(held, "extend"):
                del held[:]
                held.extend(value)
            else:
                setattr(weight, key, value)
        path.write_bytes(made.SerializeToString())

    return make


def external(location: str, link: str = "", **entries: Any) -> Make:
    """A weight that lies in another file."""

    def make(path: Path) -> None:
        made = onnx_model()
        weight = made.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        place = location.format(outside=path.parent.parent)
        for key, value in {"location": place, **entries}.items():
            weight.external_data.add(key=key, value=str(value))
        if link:
            (path.parent / location).symlink_to(path.parent / link)
        path.write_bytes(made.SerializeToString())

    return make


def nested(depth: int) -> Make:
    """An If within an If within an If: by hand, since protobuf itself writes no deeper than 100."""

    def wrapped(number: int, content: bytes) -> bytes:
        """Field `number` of a message, length-delimited."""
        size, length = len(content), b""
        while size > 127:
            size, length = size >> 7, length + bytes([size & 127 | 128])
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    def make(path: Path) -> None:
        content = b""
        for _ in range(depth):  # GraphProto.node, NodeProto.attribute, AttributeProto.g
            content = wrapped(1, wrapped(4, b"If") + wrapped(5, wrapped(6, content)))
        path.write_bytes(wrapped(7, content))

    return make


def an_if(path: Path) -> None:
    node = helper.make_node("If", ["x"], ["y"], name="m", then_branch=onnx_model().graph)
    path.write_bytes(onnx_model(nodes=[node]).SerializeToString())


def cut_model(path: Path) -> None:
    path.write_bytes(onnx_model().SerializeToString()[:-20])


def random_bytes(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes())


def no_text(path: Path) -> None:
    """A name that is no UTF-8."""
    content = onnx_model(nodes=[helper.make_node("Gelu", ["x"], ["y"], name="namename")])
    path.write_bytes(content.SerializeToString().replace(b"namename", b"name\xff\xfe\xfdn"))


def two_outputs(path: Path) -> None:
    made = onnx_model()
    made.graph.output.add().name = "z"
    path.write_bytes(made.SerializeToString())


def our_own(path: Path) -> None:
    made = onnx_model()
    helper.set_model_props(made, {"spikewright": "{}"})
    path.write_bytes(made.SerializeToString())


OUTSIDE = "lies outside the folder"


def many(*operators: tuple[Any, ...], **constants: Any) -> dict[str, Any]:
    """Operators (kind, inputs, output, fields), each named after its kind."""
    nodes = [
        helper.make_node(kind, inputs, [out], name=kind, **fields)
        for kind, inputs, out, fields in operators
    ]
    return {"nodes": nodes, **constants}


def doubled(times: int) -> dict[str, Any]:
    """A constant that is put behind itself again and again."""
    chain = [("Concat", [f"d{k}", f"d{k}"], f"d{k + 1}", {"axis": 0}) for k in range(times)]
    return many(*chain, ("Add", ["x", f"d{times}"], "y", {}), d0=np.ones(1024, np.float32))


def wide(*sizes: int) -> Array:
    return np.array(sizes, np.int64)


IDIOMS: dict[str, tuple[dict[str, Any], str]] = {
    "a huge constant": (
        many(("ConstantOfShape", ["s"], "c", {}), ("Add", ["x", "c"], "y", {}), s=wide(1 << 40, 4)),
        "ConstantOfShape: a constant of 4398046511104 elements is computed",
    ),
    "a constant spread wide": (
        many(("Expand", ["w", "s"], "c", {}), ("Add", ["x", "c"], "y", {}), s=wide(1 << 50, 4, 4)),
        "Expand: a constant of ",
    ),
    "a table too long": (
        many(
            ("Range", ["a", "b", "c"], "r", {}),
            ("Add", ["x", "r"], "y", {}),
            a=np.float32(0),
            b=np.float32(1e30),
            c=np.float32(1e-30),
        ),
        "Range: a constant of ",
    ),
    "a constant that doubles": (doubled(40), "Concat: a constant of 4194304 elements is computed"),
    "an outer product": (
        many(
            ("Mul", ["p", "q"], "r", {}),
            ("Add", ["x", "r"], "y", {}),
            p=np.ones((1 << 14, 1), np.float32),
            q=np.ones((1, 1 << 14), np.float32),
        ),
        "Mul: a constant of 268435456 elements",
    ),
    "a bias of data": (
        many(("Gemm", ["x", "w", "x"], "y", {})),
        "Gemm: input 2 is no constant",
    ),
    "a constant that has no value": (
        many(("Gather", ["w", "k"], "g", {}), ("Add", ["x", "g"], "y", {}), k=wide(9)),
        "Gather: its constants cannot be computed",
    ),
    "a shape of another batch": (
        many(("Reshape", ["x", "s"], "y", {}), s=wide(1, -1)),
        "Reshape: gives (1, 28) of a batch of 7; keep the batch as the first axis",
    ),
    "a shape of other size": (
        many(("Reshape", ["x", "s"], "y", {}), s=wide(0, 3)),
        "Reshape: (7, 4) does not take the shape (0, 3)",
    ),
    "a shape of data": (
        many(("Reshape", ["x", "x"], "y", {})),
        "Reshape: input 1 depends on data",
    ),
    "a batch that moves": (
        many(("Transpose", ["x"], "y", {"perm": [1, 0]})),
        "Transpose: permutes the axes to (1, 0)",
    ),
    "a batch that is summed": (
        many(("ReduceSum", ["x", "s"], "y", {}), s=wide(0)),
        "ReduceSum: reduces the batch axis too",
    ),
    "a batch unsqueezed": (
        many(("Unsqueeze", ["x", "s"], "y", {}), s=wide(0)),
        "Unsqueeze: gives (1, 7, 4) of a batch of 7",
    ),
    "an axis unsqueezed twice": (
        many(("Unsqueeze", ["x", "s"], "y", {}), s=wide(1, -3)),
        "Unsqueeze: unsqueezes axes (1, -3), some of them twice",
    ),
    "a Pad of nothing that pads": (
        many(("Pad", ["x", "s"], "p", {}), ("MatMul", ["p", "w"], "y", {}), s=wide(0, 0, 0, 1)),
        "MatMul: a MatMul of a padded tensor; a Pad is read before Conv",
    ),
    "a reflected Pad": (
        many(("Pad", ["x", "s"], "y", {"mode": "reflect"}), s=wide(0, 1, 0, 1)),
        "Pad: a Pad of mode reflect, (0, 1) before and (0, 1) behind; pad the axes of a sample",
    ),
    "a Pad that cuts": (
        many(("Pad", ["x", "s"], "y", {}), s=wide(0, -1, 0, 0)),
        "Pad: a Pad of mode constant, (0, -1) before",
    ),
    "a Pad of ones": (
        many(("Pad", ["x", "s", "c"], "y", {}), s=wide(0, 1, 0, 0), c=np.float32(1)),
        "Pad: a Pad of 1; pad with zeros",
    ),
    "a padded output": (
        many(("Pad", ["x", "s"], "y", {}), s=wide(0, 1, 0, 0)),
        "y: the output is padded",
    ),
    "tensors joined": (
        many(("Concat", ["x", "x"], "y", {"axis": 1})),
        "Concat: no rule for the operator Concat; no node joins tensors",
    ),
    "a leak": (
        many(("LeakyRelu", ["x"], "y", {})),
        "LeakyRelu: no rule for the operator LeakyRelu; a rate is never below 0",
    ),
    "dropout at work": (
        many(("Dropout", ["x", "", "t"], "y", {}), t=np.array(True)),
        "Dropout: drops values at random; export it in evaluation mode",
    ),
    "a name that is made twice": (
        many(("Identity", ["x"], "w", {}), ("MatMul", ["x", "w"], "y", {})),
        "Identity: makes 'w', which is made already",
    ),
    "a constant of two axes": (
        many(("Add", ["x", "c"], "a", {}), ("Relu", ["a"], "y", {}), c=np.ones((1, 3), np.float32)),
        "Add: its fields cannot be used",
    ),
}


ONNX: dict[str, tuple[Make, str]] = {
    "text": (lambda p: p.write_text("hello"), "not a readable ONNX file"),
    "empty": (lambda p: p.write_bytes(b""), "no nodes"),
    "cut": (cut_model, "not a readable ONNX file"),
    "random bytes": (random_bytes, "not a readable ONNX file"),
    "HDF5": (lambda p: h5py.File(p, "w").close(), "not a readable ONNX file"),
    "nested deeper than protobuf goes": (nested(120), "not a readable ONNX file"),
    "an If": (an_if, "m: no rule for the operator If"),
    "a cycle": (
        saved(nodes=[helper.make_node("Add", ["x", "y"], ["y"], name="m")]),
        "m: nothing makes its input 'y'",
    ),
    "a name that is no text": (no_text, "bad.onnx: "),
    "two outputs": (two_outputs, "2 outputs, 1 is needed"),
    "one of ours": (our_own, "give the .spk or .nir"),
    "unknown operator": (one("Gelu"), "m: no rule for the operator Gelu; a rate is never"),
    "an operator of nobody": (one("Frobnicate"), "operator Frobnicate; known: Add, AveragePool"),
    "foreign domain": (one("Relu", domain="my.ops"), "no rule for the operator my.ops.Relu"),
    "Relu": (one("Relu"), "m: a Relu, where spiking networks have neurons; --convert relu"),
    "output of nothing": (
        saved(nodes=[helper.make_node("Identity", ["x"], ["z"])]),
        "y: no node makes the output",
    ),
    "no shape": (saved(shape=("n",)), "x: shape (0,) of a sample is not known; give --input"),
    "huge input": (saved(shape=(1 << 40,)), "exceeds"),
    "shapes": (saved(shape=(5,)), "m: weight takes 4 features, input is (5,)"),
    "weight that is computed": (one("MatMul", "x"), "m: input 1 is no constant"),
    "NaN weight": (saved(w=np.full((4, 4), np.nan, np.float32)), "m: a constant holds NaN"),
    "text weight": (tensor(data_type=onnx.TensorProto.STRING), "w: element type 8 is not read"),
    "complex weight": (tensor(data_type=onnx.TensorProto.COMPLEX64), "w: element type 14"),
    "negative size": (tensor(dims=[-4, 4]), "w: shape (-4, 4)"),
    "huge weight": (tensor(dims=[1 << 20, 1 << 20]), "w: constants of more than"),
    "hollow weight": (tensor(dims=[1 << 13, 1 << 13]), "w: its values do not fill"),
    "short weight": (tensor(raw_data=b"123"), "w: its values do not fill"),
    "overflowing size": (tensor(dims=[1 << 62, 4]), "w: constants of more than"),
    "parent folder": (external("../secret.bin"), OUTSIDE),
    "absolute path": (external("{outside}/secret.bin"), OUTSIDE),
    "through a link": (external("inner.bin", "../secret.bin"), OUTSIDE),
    "no location": (external(""), OUTSIDE),
    "the folder itself": (external("."), "does not exist"),
    "missing data": (external("absent.bin"), "'absent.bin' does not exist"),
    "data too short": (external("secret.bin", offset=1), "does not fill the 64 needed"),
    "negative offset": (external("secret.bin", offset=-1), "does not fill"),
    "offset in words": (external("secret.bin", offset="zero"), "are no numbers"),
    "length beyond": (external("secret.bin", length=1 << 60), "does not fill"),
    "negative padding": (images("Conv", pads=[0, 0, -1, 1]), "m: padding (0, 0, -1, 1)"),
    "padding of three": (images("Conv", pads=[1, 1, 1]), "m: padding (1, 1, 1)"),
    "no stride": (images("Conv", strides=[0, 1]), "m: kernel, stride and dilation"),
    "no groups": (images("Conv", group=0), "m: 3 channels in 0 groups"),
    "huge padding": (images("Conv", pads=[1 << 40] * 4), "m: shape"),
    "a kernel of nothing": (images("AveragePool", kernel_shape=[0, 0]), "m: kernel, stride"),
    "no kernel": (images("AveragePool"), "m: its fields cannot be used"),
    "an average of padding": (
        images("AveragePool", kernel_shape=[2, 2], pads=[3, 0, 0, 0]),
        "m: an average of padding alone",
    ),
    "same, of gaps": (
        images("AveragePool", kernel_shape=[1, 1], strides=[1, 4], auto_pad="SAME_UPPER"),
        "m: SAME_UPPER of kernel (1, 1) at strides (1, 4) on a map (8, 8), which runtimes read",
    ),
    "few windows of huge padding": (
        images("Conv", pads=[0, 0, 0, 1 << 40], strides=[1, 1 << 40]),
        "m: shape (8, 1099511627784) exceeds",
    ),
    "huge padding of an average": (
        images("AveragePool", kernel_shape=[2, 2], pads=[1 << 40] * 4),
        "exceeds 67108864 elements",
    ),
    "division by nothing": (
        saved(nodes=[helper.make_node("Div", ["x", "z"], ["y"], name="m")], z=np.float32(0)),
        "m: divides by what is no constant, or by 0",
    ),
    "constant of no value": (
        saved(nodes=[helper.make_node("Constant", [], ["y"], name="m")]),
        "m: a Constant without one value",
    ),
    "flattened elsewhere": (
        images("Flatten", axis=2),
        "m: gives (14, 64) of a batch of 7; keep the",
    ),
    **{name: (saved(**made), says) for name, (made, says) in IDIOMS.items()},
}


@pytest.mark.parametrize("case", ONNX)
def test_a_bad_onnx_file_is_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, says = ONNX[case]
    path = folders(tmp_path) / "bad.onnx"
    make(path)
    line = refused_cheaply(capsys, path)
    assert says in line and str(path) in line, line
    assert len(line) < 600
