"""Lava HDF5: netx's layout, exactly the integers, and refusals by node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikewright.export.formats.lava import why_not_lava, write_lava
from spikewright.export.ir import (
    Conv2d,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    SumPool,
)


def neuron(shape: tuple[int, ...], **fields: object) -> Neuron:
    plain = {"v_threshold": np.int32(64 * 300), "dv": np.int32(2048), "state_shift": 6}
    return Neuron(shape, **{**plain, "state_bits": 24, **fields})  # type: ignore[arg-type]


def network(**fields: object) -> Graph:
    rng = np.random.default_rng(0)
    codes = lambda *shape: rng.integers(-127, 128, shape).astype(np.int8)  # noqa: E731
    bias = {"bias": np.array([64, -128, 640], np.int32).reshape(3, 1, 1)}
    return Graph.chain(
        {
            "input": Input((2, 6, 6), "spikes", low=0, high=1),
            "conv": Conv2d(codes(3, 2, 3, 3), stride=(2, 2), padding=(1, 1), bits=8),
            "n1": neuron((3, 3, 3), **{**bias, **fields}),
            "flat": Flatten(),
            "fc": Linear(codes(5, 27), bits=8),
            "n2": neuron((5,), du=np.int32(1000), u_range="wrap"),
            "head": Linear(codes(2, 5), bits=8),
            "out": Output("integrate", state_shift=6, state_bits=24),
        },
        "integer",
    )


def test_the_layout_is_netxs(tmp_path: Path) -> None:
    graph = network()
    write_lava(graph, tmp_path / "n.net")
    opened: Any = h5py.File(tmp_path / "n.net")
    with opened as file:
        kinds = [file[f"layer/{k}/type"][0].decode() for k in range(5)]
        assert kinds == ["input", "conv", "flatten", "dense", "dense"]
        conv, dense, head = (file[f"layer/{k}"] for k in (1, 3, 4))
        assert np.array_equal(conv["weight"], graph.of_kind(Conv2d)["conv"].weight)
        assert conv["bias"][()].tolist() == [1, -2, 10]
        assert conv["neuron/vThMant"][()] == 300 and conv["neuron/vDecay"][()] == 2048
        assert conv["neuron/iDecay"][()] == 4096 and conv["stride"][()].tolist() == [2, 2]
        assert dense["neuron/iDecay"][()] == 1000 and dense["inFeatures"][()] == 27
        # The readout integrates below the largest threshold there is.
        assert head["neuron/vThMant"][()] == 2**17 - 1 and head["neuron/vDecay"][()] == 0


def test_same_graph_same_bytes(tmp_path: Path) -> None:
    for name in ("a.net", "b.net"):
        write_lava(network(), tmp_path / name)
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"reset": "soft"}, "reset is soft, Lava has hard"),
        ({"compare": ">="}, "compare is >=, Lava has >"),
        ({"state_bits": 30}, "state_bits is 30, Lava has 24"),
        ({"v_threshold": np.int32(100)}, "v_threshold is no multiple of 64"),
        ({"v_threshold": np.int32(2**17 * 64)}, "v_threshold 131072 exceeds 131071"),
        ({"v_reset": np.int32(64)}, "v_reset is not 0"),
        ({"dv": np.arange(27, dtype=np.int32).reshape(3, 3, 3)}, "dv varies within the layer"),
        ({"refractory_steps": 2}, "refractory_steps is 2, Lava has 0"),
        ({"v_min": np.int32(-64)}, "v_min is -64, Lava has None"),
        ({"du": np.int32(9)}, "u saturates, Lava's wraps"),
        (
            {"bias": 64 * np.arange(27, dtype=np.int32).reshape(3, 3, 3)},
            "bias varies within a channel, netx has one a channel",
        ),
        ({"bias": np.int32(64 * 2**15)}, "bias 32768 exceeds 32767"),
    ],
)
def test_a_neuron_lava_lacks_is_refused_by_name(
    tmp_path: Path, fields: dict[str, object], says: str
) -> None:
    graph = network(**fields)
    assert says in [reason for node, reason, _ in why_not_lava(graph) if node == "n1"]
    with pytest.raises(FormatError, match="n1"):
        write_lava(graph, tmp_path / "n.net")
    assert list(tmp_path.iterdir()) == []


def test_what_netx_would_skip_is_refused(tmp_path: Path) -> None:
    nodes = {}
    for name, node in network().nodes.items():
        nodes[name] = node
        if name == "n1":
            nodes["pool"] = SumPool((3, 3), (3, 3), (0, 0))
        if name == "fc":
            nodes[name] = replace(node, weight=np.ones((5, 3), np.int8))  # type: ignore[type-var]
    found = why_not_lava(Graph.chain(nodes, "integer"))
    assert ("pool", "SumPool cannot be written") in [reason[:2] for reason in found]
    assert all(remedy for _, _, remedy in found)


def test_every_node_that_netx_lacks_is_named(tmp_path: Path) -> None:
    nodes = dict(network().nodes)
    first = next(iter(nodes))
    pools = {f"pool{k}": SumPool((1, 1), (1, 1), (0, 0)) for k in range(3)}
    graph = Graph.chain({first: nodes.pop(first), **pools, **nodes}, "integer")
    with pytest.raises(FormatError) as refusal:
        write_lava(graph, tmp_path / "n.net")
    said = str(refusal.value)
    assert said.startswith("pool0: SumPool cannot be written (refused too: ")
    assert "pool1, pool2: SumPool cannot be written; netx has no pooling" in said
    assert all(node in said for node, _, _ in why_not_lava(graph))
    assert "\n" not in said


def refused(**nodes: Node) -> list[tuple[str, str]]:
    """Why netx cannot hold these nodes in a row."""
    return [reason[:2] for reason in why_not_lava(Graph.chain(nodes, "integer"))]


def test_what_netx_would_read_as_something_else_is_refused() -> None:
    ones = np.ones((4, 4), np.int8)
    vector = Input((4,), "spikes", low=0, high=1)
    tokens = Input((3, 4), "spikes", low=0, high=1)
    count, out = Output("spike_count"), Output("integrate", state_shift=6, state_bits=24)
    found = refused(input=tokens, fc=Linear(ones), n=neuron((3, 4)), out=count)
    assert ("input", "input of shape (3, 4), netx takes (features) or (C, y, x)") in found
    assert ("fc", "weighs each of (3,), netx only one vector") in found
    found = refused(input=vector, n=neuron((4,)), fc=Linear(ones), out=out)
    assert found == [("n", "stands behind a Input, netx needs weights before it")]
    found = refused(input=vector, fc=Linear(0 * ones), n=neuron((4,)), out=count)
    assert found == [("fc", "all weights are 0, on which netx overflows")]
    found = refused(input=vector, fc=Linear(ones), n=neuron((4,)), out=out)
    assert found == [("out", "stands behind a Neuron, netx needs weights before it")]
    found = refused(input=vector, fc=Linear(ones), out=count)
    assert found == [("fc", "feeds a count of spikes, netx needs a neuron behind weights")]


def test_one_bias_for_all_is_written_a_channel(tmp_path: Path) -> None:
    write_lava(network(bias=np.int32(128)), tmp_path / "n.net")
    opened: Any = h5py.File(tmp_path / "n.net")
    with opened as file:
        assert file["layer/1/bias"][()].tolist() == [2, 2, 2]


def test_a_float_graph_needs_lowering() -> None:
    graph = Graph.chain({"in": Input((2,)), "fc": Linear(np.eye(2)), "out": Output()}, "folded")
    assert why_not_lava(graph) == [
        ("network", "is folded, Lava takes integers", "lower it with --target loihi2")
    ]


@pytest.mark.parametrize("field", ["v_min", "leak_subtract"])
def test_a_field_by_channel_that_lava_has_not_is_named_with_its_range(field: str) -> None:
    sign = -1 if field == "v_min" else 1
    values = np.array([64, 128, 640], np.int32).reshape(3, 1, 1) * sign
    reasons = [reason for _, reason, _ in why_not_lava(network(**{field: values}))]
    assert f"{field} is {values.min()} to {values.max()}, Lava has None" in reasons
