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
import pytest

from tests.cli.test_bad_input import refused

from .nir_files import by_hand, chain_file, edited, ends, lif, replace, written

Make = Callable[[Path], Any]
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
    "two names": (edited(two_names), "w.weight: lies under two names"),
    "nested metadata": (edited(nested_metadata), "nested deeper than 32"),
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
    "even kernel": (convolution(padding="same"), "c: padding 'same' of a kernel (2,)"),
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


@pytest.mark.parametrize("case", NIR)
def test_a_bad_nir_file_is_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, says = NIR[case]
    (tmp_path / "in").mkdir()
    for folder in (tmp_path, tmp_path / "in"):
        with h5py.File(folder / "secret.h5", "w") as secret:
            secret["weight"] = np.eye(4, dtype=np.float32)
        (folder / "secret.bin").write_bytes(np.eye(4, dtype=np.float32).tobytes())
    path = tmp_path / "in" / "bad.nir"
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
