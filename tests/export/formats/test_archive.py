"""Archives: exact round trips, same bytes, and one line for every damaged file."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spikewright.export.formats.archive import (
    archive_bytes,
    read_archive,
    read_archive_bytes,
    write_archive,
)
from spikewright.export.ir import (
    KINDS,
    PROFILES,
    Array,
    AvgPool,
    BatchNorm,
    Conv1d,
    Conv2d,
    Flatten,
    FormatError,
    Graph,
    GraphError,
    Input,
    Linear,
    Neuron,
    Output,
)
from spikewright.export.ir.digest import digest
from tests.fuzz.graphs import random_graph


def same(one: Graph, two: Graph) -> None:
    assert (one.level, one.order, one.edges, one.profile) == (
        two.level,
        two.order,
        two.edges,
        two.profile,
    )
    for name, node in one.nodes.items():
        other = two.nodes[name]
        assert type(node) is type(other)
        for field, value in node.field_values().items():
            found = getattr(other, field)
            if isinstance(value, np.ndarray):
                assert value.dtype == found.dtype, (name, field)
                assert np.array_equal(value, found), (name, field)
            else:
                assert value == found, (name, field)


def f32(value: object) -> Array:
    return np.array(value, np.float32)


def f64(value: object) -> Array:
    return np.array(value, np.float64)


def float_graph() -> Graph:
    rng = np.random.default_rng(0)
    return Graph.chain(
        {
            "in": Input((2, 6, 6), mean=f32(0.1), std=f32(0.4)),
            "conv": Conv2d(
                rng.normal(size=(4, 2, 3, 3)).astype(np.float32),
                rng.normal(size=4),
                padding=(1, 1),
                scale=np.array(2, np.float16),
            ),
            "bn": BatchNorm(np.zeros(4), np.ones(4), np.ones(4), np.zeros(4), 1e-3),
            "n": Neuron((4, 6, 6), f64(1), tau=f64(2), v_scale=f64(0.5)),
            "pool": AvgPool((2, 2), (2, 2), (0, 0), (1, 0)),
            "out": Output("spike_count", scale=0.25),
        },
        "float",
        metadata={"source": "test", "nested": {"a": [1, 2.5, None]}},
    )


def full_graph() -> Graph:
    """Fields that the random integer graphs leave at their defaults."""
    neuron = Neuron(
        (3,),
        f32([1, 2, 3]),
        beta=f32(0.5),
        alpha=f64(0.25),
        bias=f32(-1),
        v_reset=f32(0.125),
        v_scale=f64([1, 2, 4]),
    )
    rng = np.random.default_rng(0)
    return Graph.chain(
        {
            "in": Input((2, 6), "latency", 0.5, 0, 1),
            "conv": Conv1d(rng.normal(size=(1, 2, 3)), np.zeros(1), scale=f32(2), bits=8),
            "bn": BatchNorm(np.zeros(4), np.ones(4), np.ones(4), np.zeros(4), axis=1),
            "flat": Flatten(),
            "fc": Linear(rng.normal(size=(3, 4)), np.ones(3), f32([1, 2, 3])),
            "n": neuron,
            "out": Output("leaky", bias=f32(3), beta=f32(0.75)),
        },
        "float",
    )


def fields_in(graph: Graph) -> set[str]:
    """Return kind.field of every field that does not hold its default."""
    found = set()
    for node in graph.nodes.values():
        for declared in dataclasses.fields(node):
            value, default = getattr(node, declared.name), declared.default
            if declared.default_factory is not dataclasses.MISSING:
                default = declared.default_factory()
            other_kind = isinstance(value, np.ndarray) != isinstance(default, np.ndarray)
            if other_kind or not np.array_equal(value, default):  # type: ignore[arg-type]
                found.add(f"{node.kind}.{declared.name}")
    return found


def test_every_kind_and_field_comes_back(tmp_path: Path) -> None:
    graphs = [random_graph(np.random.default_rng(seed)) for seed in range(100)]
    graphs += [float_graph(), full_graph(), graphs[0].replace(profile=PROFILES["loihi2"])]
    seen: set[str] = set()
    for k, graph in enumerate(graphs):
        write_archive(graph, tmp_path / f"{k}.spk")
        back = read_archive(tmp_path / f"{k}.spk")
        same(graph, back)
        assert dict(back.metadata) == dict(graph.metadata) and digest(back) == digest(graph)
        seen |= fields_in(graph)
    known = {f"{name}.{f.name}" for name, kind in KINDS.items() for f in dataclasses.fields(kind)}
    assert known - seen == set()


def test_numbers_come_back_whatever_their_byte_order(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=">f4").reshape(2, 3)
    nodes = {
        "in": Input((3,), scale=np.float32(0.5)),  # type: ignore[arg-type]
        "fc": Linear(weight.T[:, :].T),
        "out": Output(scale=np.float32(0.1)),  # type: ignore[arg-type]
    }
    graph = Graph.chain(nodes, "float", metadata={"accuracy": np.float64(0.5), "seen": np.int64(3)})
    write_archive(graph, tmp_path / "net.spk")
    back = read_archive(tmp_path / "net.spk")
    found = back.nodes["fc"]
    assert isinstance(found, Linear) and found.weight.dtype == np.float32
    assert np.array_equal(found.weight, weight) and digest(back) == digest(graph)
    assert back.input.scale == 0.5 and back.output.scale == float(np.float32(0.1))
    assert dict(back.metadata) == {"accuracy": 0.5, "seen": 3}


def test_bytes_in_memory_are_read_as_the_file(tmp_path: Path) -> None:
    for graph in (float_graph(), full_graph(), random_graph(np.random.default_rng(4))):
        content = archive_bytes(graph)
        back = read_archive_bytes(content, "memory")
        same(graph, back)
        assert digest(back) == digest(graph) and dict(back.metadata) == dict(graph.metadata)
    for at in range(0, len(content), 11):
        changed = content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]
        with pytest.raises(FormatError, match="memory: "):
            read_archive_bytes(changed, "memory")
    for wrong in (b"", b"hello", content[:200], (2**62).to_bytes(8, "little") + b"{}"):
        with pytest.raises(FormatError, match="not a readable safetensors file"):
            read_archive_bytes(wrong, "memory")


READS = """
import os, runpy, sys
runpy.run_path("conftest.py")
writes = []
def watch(event, args):
    flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event == "open" and (set(str(args[1])) & set("wax+") or (args[2] or 0) & flags):
        if args[0] != os.devnull:
            writes.append(args[0])
    elif event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "tempfile.mkstemp"):
        writes.append((event, args))
import spikewright as sw
sw.write(sw.read("digits-if"), sys.argv[1] + "/a.spk")
sw.write(sw.read("digits-if"), sys.argv[1] + "/a.nir")
sys.addaudithook(watch)
for name in ("a.spk", "a.nir"):
    assert sw.read(sys.argv[1] + "/" + name).level == "float"
print(writes)
"""


def test_reading_writes_nowhere(tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-c", READS, str(tmp_path)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    nodes = {"in": Input((2,)), "a/b": Linear(np.eye(2)), "out": Output()}
    with pytest.raises(GraphError, match="a/b: a node name"):
        write_archive(Graph.chain(nodes, "float"), tmp_path / "net.spk")
    odd = float_graph().replace(metadata={"set": {1}})
    with pytest.raises(FormatError, match="metadata: cannot be held in a card: set is not JSON"):
        write_archive(odd, tmp_path / "net.spk")
    assert list(tmp_path.iterdir()) == []


def test_same_graph_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_archive(random_graph(np.random.default_rng(9)), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_digest_sees_every_weight() -> None:
    one = Graph.chain({"in": Input((2,)), "fc": Linear(np.eye(2)), "out": Output()}, "float")
    two = one.replace({**one.nodes, "fc": Linear(np.eye(2) * 1.0001)})
    assert digest(one) != digest(two) and digest(one) == digest(one.replace(metadata={"x": 1}))


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    path.write_text("precious")
    with pytest.raises(FormatError, match="exists already; give force=True"):
        write_archive(float_graph(), path)
    assert path.read_text() == "precious"
    write_archive(float_graph(), path, force=True)
    assert read_archive(path).level == "float"
    assert [p.name for p in tmp_path.iterdir()] == ["net.spk"]


def rewritten(tmp_path: Path, change: object) -> Path:
    """Write an archive whose card went through `change`."""
    write_archive(float_graph(), tmp_path / "good.spk", force=True)
    from safetensors import safe_open

    with safe_open(str(tmp_path / "good.spk"), "np") as archive:
        card = json.loads(archive.metadata()["card"])
        tensors = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118
    change(card, tensors)  # type: ignore[operator]
    save_file(tensors, str(tmp_path / "bad.spk"), {"card": json.dumps(card)})
    return tmp_path / "bad.spk"


DAMAGES = {
    "version": lambda card, tensors: card.update(version=99),
    "schema": lambda card, tensors: card.update(schema="other"),
    "level": lambda card, tensors: card.update(level="quantum"),
    "kind": lambda card, tensors: card["nodes"]["n"].update(kind="Banana"),
    "missing array": lambda card, tensors: tensors.pop("conv/weight"),
    "unknown field": lambda card, tensors: card["nodes"]["n"]["fields"].update(colour=3),
    "NaN weight": lambda card, tensors: tensors["conv/weight"].fill(np.nan),
    "other weight": lambda card, tensors: tensors["conv/weight"].fill(1),
    "edge to nowhere": lambda card, tensors: card["edges"].append(["n", "x", 0]),
    "no nodes": lambda card, tensors: card.pop("nodes"),
    "wrong shape": lambda card, tensors: card["nodes"]["in"]["fields"].update(shape=[3, 6, 6]),
    "huge shape": lambda card, tensors: (
        card["nodes"]["in"]["fields"].update(shape=[2, 10**9, 10**9]),
        card["nodes"]["n"]["fields"].update(shape=[4, 10**9, 10**9]),
    ),
    "negative shape": lambda card, tensors: card["nodes"]["in"]["fields"].update(shape=[2, -6, 6]),
    "short stride": lambda card, tensors: card["nodes"]["conv"]["fields"].update(stride=[1]),
    "infinite stride": lambda card, tensors: card["nodes"]["conv"]["fields"].update(
        stride=[float("inf"), 1]
    ),
    "text for a number": lambda card, tensors: card["nodes"]["bn"]["fields"].update(eps="tiny"),
    "NaN for a number": lambda card, tensors: card["nodes"]["bn"]["fields"].update(eps=np.nan),
    "number for an array": lambda card, tensors: card["nodes"]["n"]["fields"].update(v_threshold=1),
    "bad profile": lambda card, tensors: card.update(profile={"weight_bits": "eight"}),
    "unknown profile field": lambda card, tensors: card.update(profile={"colour": 1}),
    "missing edge": lambda card, tensors: card["edges"].pop(0),
    "edge of numbers": lambda card, tensors: card["edges"].append([1, 2, 3]),
    "edges that are none": lambda card, tensors: card.update(edges={"a": "b"}),
    "nodes in a list": lambda card, tensors: card.update(nodes=[1, 2]),
    "boolean weights": lambda card, tensors: tensors.update(
        {"conv/weight": tensors["conv/weight"] > 0}
    ),
    "one axis too many": lambda card, tensors: tensors.update(
        {"conv/weight": tensors["conv/weight"][None]}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_one_line(damage: str, tmp_path: Path) -> None:
    path = rewritten(tmp_path, DAMAGES[damage])
    with pytest.raises(FormatError) as caught:
        read_archive(path)
    said = str(caught.value)
    assert str(path) in said and "\n" not in said and len(said) < 300
    assert "Error" not in said, "an exception's name is not an explanation"


def test_deep_nesting_is_one_line(tmp_path: Path) -> None:
    save_file({"x": np.zeros(2)}, str(tmp_path / "deep"), {"card": "[" * 100_000})
    with pytest.raises(FormatError, match="the card is not JSON"):
        read_archive(tmp_path / "deep")


def test_files_of_another_kind(tmp_path: Path) -> None:
    write_archive(float_graph(), tmp_path / "good.spk")
    content = (tmp_path / "good.spk").read_bytes()
    for name, data in {
        "empty": b"",
        "text": b"hello",
        "cut": content[: len(content) // 2],
        "huge": (2**62).to_bytes(8, "little") + b"{}",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FormatError, match="not a readable safetensors file"):
            read_archive(tmp_path / name)
    save_file({"x": np.zeros(2)}, str(tmp_path / "foreign"))
    with pytest.raises(FormatError, match="no card of ours"):
        read_archive(tmp_path / "foreign")
    with pytest.raises(FormatError, match="no such file"):
        read_archive(tmp_path / "absent.spk")


def test_dtypes_that_numpy_lacks_are_named(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    save_torch({"w": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "bf16.spk", {"card": "{}"})
    with pytest.raises(FormatError, match="w: dtype BF16, which numpy lacks"):
        read_archive(tmp_path / "bf16.spk")


def test_wider_floats_are_refused_before_writing(tmp_path: Path) -> None:
    weight = np.eye(2, dtype=np.longdouble)
    if weight.dtype.itemsize == 8:
        pytest.skip("long double is float64 here")
    nodes = {"in": Input((2,)), "fc": Linear(weight), "out": Output()}
    with pytest.raises(GraphError, match="at most float64 is held"):
        write_archive(Graph.chain(nodes, "float"), tmp_path / "net.spk")
    assert list(tmp_path.iterdir()) == []
