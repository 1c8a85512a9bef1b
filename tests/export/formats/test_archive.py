"""Archives: exact round trips, same bytes, and one line for every damaged file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spikewright.export.formats.archive import read_archive, write_archive
from spikewright.export.ir import (
    PROFILES,
    AvgPool,
    BatchNorm,
    Conv2d,
    FormatError,
    Graph,
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


def float_graph() -> Graph:
    rng = np.random.default_rng(0)
    return Graph.chain(
        {
            "in": Input((2, 6, 6), mean=np.float32(0.1), std=np.float32(0.4)),
            "conv": Conv2d(rng.normal(size=(4, 2, 3, 3)).astype(np.float32), padding=(1, 1)),
            "bn": BatchNorm(np.zeros(4), np.ones(4), np.ones(4), np.zeros(4), 1e-3),
            "n": Neuron((4, 6, 6), np.float64(1), tau=np.float64(2), v_scale=np.float64(0.5)),
            "pool": AvgPool((2, 2), (2, 2), (0, 0)),
            "out": Output("spike_count", scale=0.25),
        },
        "float",
        metadata={"source": "test", "nested": {"a": [1, 2.5, None]}},
    )


def test_every_kind_and_field_comes_back(tmp_path: Path) -> None:
    graphs = [random_graph(np.random.default_rng(seed)) for seed in range(60)]
    graphs.append(float_graph())
    graphs.append(graphs[0].replace(profile=PROFILES["loihi2"]))
    for k, graph in enumerate(graphs):
        write_archive(graph, tmp_path / f"{k}.spk")
        back = read_archive(tmp_path / f"{k}.spk")
        same(graph, back)
        assert dict(back.metadata) == dict(graph.metadata) and digest(back) == digest(graph)


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
    with pytest.raises(FormatError, match="exists already; give --force"):
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
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_one_line(damage: str, tmp_path: Path) -> None:
    path = rewritten(tmp_path, DAMAGES[damage])
    with pytest.raises(FormatError) as caught:
        read_archive(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


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
