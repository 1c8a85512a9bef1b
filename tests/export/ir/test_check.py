"""Every rule of every level, each broken once: the message names node, limit and value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    AvgPool,
    BatchNorm,
    BoundsError,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool,
    check,
)
from spikewright.export.ir.graph import Level
from spikewright.export.ir.nodes import MaxPool

NAN = float("nan")


def integer(**changes: Node) -> Graph:
    nodes: dict[str, Node] = {
        "in": Input((2, 6, 6), "direct", scale=0.01, low=-127, high=127),
        "conv": Conv2d(np.full((3, 2, 3, 3), 5, np.int8), bits=4, scale=np.ones(3)),
        "lif": Neuron((3, 4, 4), np.int32(90), dv=np.int32(2048)),
        "pool": SumPool((2, 2), (2, 2), (0, 0)),
        "flat": Flatten(),
        "fc": Linear(np.ones((4, 12), np.int8)),
        "out": Output("integrate"),
    }
    return Graph.chain({**nodes, **changes}, "integer")


def floating(level: Level = "float", **changes: Node) -> Graph:
    ones = np.ones(3)
    nodes: dict[str, Node] = {
        "in": Input((2, 6, 6)),
        "conv": Conv2d(np.full((3, 2, 3, 3), 0.5), bias=np.zeros(3)),
        "bn": BatchNorm(ones, ones, ones, ones),
        "lif": Neuron((3, 4, 4), np.array(1.0), tau=np.array(2.0)),
        "pool": AvgPool((2, 2), (2, 2), (0, 0)),
        "flat": Flatten(),
        "fc": Linear(np.ones((4, 12))),
        "out": Output("integrate"),
    }
    return Graph.chain({**nodes, **changes}, level)


def lif(**fields: Any) -> Neuron:
    threshold = fields.pop("v_threshold", np.int32(90))
    return Neuron((3, 4, 4), threshold, **{"dv": np.int32(2048), **fields})


def real(**fields: Any) -> Neuron:
    return Neuron((3, 4, 4), np.array(fields.pop("v_threshold", 1.0)), **fields)


def test_good_graphs_pass() -> None:
    for graph in (integer(), floating()):
        assert check(graph) is graph
    folded = floating(
        "folded", bn=Scale(np.ones((3, 1, 1))), lif=real(beta=np.array(0.5)), pool=Flatten()
    )
    with pytest.raises(GraphError, match="fc: weight takes 12 features, input is \\(48,\\)"):
        check(folded)
    assert check(folded.replace({**folded.nodes, "fc": Linear(np.ones((4, 48)))}))


CODES = np.full((3, 2, 3, 3), 5, np.int8)
OF_INTEGER: list[tuple[dict[str, Any], str]] = [
    ({"in": Input((2, 6, 6), "Direct", 1.0, 0, 1)}, "in: encoding is 'Direct', allowed: direct, "),  # type: ignore[arg-type]
    ({"in": Input((2, 6, 6), "direct", None, 0, 1)}, "in: direct encoding needs a scale above 0"),
    ({"in": Input((2, 6, 6), "direct", -1.0, 0, 1)}, "a scale above 0, found -1.0"),
    ({"in": Input((2, 6, 6), "direct", NAN, 0, 1)}, "in: scale is nan, a finite number"),
    ({"in": Input((2, 6, 6), "spikes")}, "in: low..high is None..None, allowed -32768..32767"),
    ({"in": Input((2, 6, 6), "spikes", None, 0, 2**15)}, "low..high is 0..32768, allowed"),
    ({"in": Input((2, 6, 6), "spikes", None, 3, 2)}, "low..high is 3..2, allowed"),
    (
        {"in": Input((2, 6, 6), "direct", 1.0, 0, 1, std=np.zeros((2, 1, 1)))},
        "in: std must be above 0",
    ),
    (
        {"in": Input((2, 6, 6), "direct", 1.0, 0, 1, mean=np.zeros((3, 1, 1)))},
        r"in: mean of shape \(3, 1, 1\) does not broadcast to \(2, 6, 6\)",
    ),
    ({"conv": Conv2d(CODES.astype(np.int16))}, "conv: weight has dtype int16, .* holds int8"),
    ({"conv": Conv2d(CODES.astype(np.float32))}, "conv: weight has dtype float32"),
    ({"conv": Conv2d(CODES, bias=np.zeros(3, np.int32))}, "conv: .* carries no bias; move it"),
    ({"conv": Conv2d(CODES, bits=3)}, r"conv: weights 5..5 leave 3 bits \(-4..3\)"),
    ({"conv": Conv2d(CODES, bits=9)}, "conv: bits is 9, allowed 2..8"),
    ({"conv": Conv2d(CODES, scale=np.ones(2))}, r"conv: scale has shape \(2,\), .* is \(3,\)"),
    ({"conv": Conv2d(CODES, scale=np.array([1, 2, NAN]))}, "conv: scale holds 1 NaN .* of 3"),
    ({"conv": Conv2d(CODES, weight_shift=17)}, "conv: weight_shift is 17, allowed 0..16"),
    ({"lif": lif(beta=np.float32(0.5))}, "lif: beta belongs to the float levels; quantise"),
    ({"lif": lif(dv=np.int32(4097))}, r"lif: dv must lie within 0..4096, found 4097..4097"),
    ({"lif": lif(du=np.int32(-1))}, "lif: du must lie within 0..4096"),
    ({"lif": lif(bias=np.array(0.5))}, "lif: bias has dtype float64, integers within int32"),
    ({"lif": lif(v_threshold=np.int64(2**31))}, "lif: v_threshold has dtype int64, .* int32"),
    ({"lif": lif(bias=np.zeros(4, np.bool_))}, "lif: bias has dtype bool, numbers are needed"),
    ({"lif": lif(bias=np.zeros(0, np.int32))}, "lif: bias is empty"),
    (
        {"lif": lif(bias=np.zeros(3, np.int32))},
        r"bias of shape \(3,\) does not broadcast to \(3, 4, 4\)",
    ),
    ({"lif": lif(state_bits=31)}, "lif: state_bits is 31, allowed 2..30"),
    ({"lif": lif(state_bits=8.0)}, "lif: state_bits is 8.0, allowed 2..30"),
    ({"lif": lif(state_shift=-1)}, "lif: state_shift is -1, allowed 0..16"),
    ({"lif": lif(max_spikes_per_step=0)}, "lif: max_spikes_per_step is 0, allowed 1..32768"),
    ({"lif": lif(refractory_steps=True)}, "lif: refractory_steps is True, allowed 0..32768"),
    ({"lif": lif(reset="none")}, "lif: reset is 'none', allowed: hard, soft, soft_after_decay"),
    ({"lif": lif(compare="<")}, "lif: compare is '<', allowed: >, >="),
    ({"lif": lif(u_range="clip")}, "lif: u_range is 'clip', allowed: saturate, wrap"),
    ({"lif": lif(v_threshold=np.int32(0), reset="soft")}, "lif: v_threshold 0 must be above 0"),
    ({"lif": lif(v_threshold=np.int32(-5), max_spikes_per_step=2)}, "v_threshold -5 must be above"),
    ({"lif": lif(leak_subtract=np.int32(-1))}, "lif: leak_subtract is negative"),
    ({"lif": lif(v_low=-129, state_bits=8)}, "lif: v_low..v_high -129..127 leaves 8 bits"),
    ({"lif": lif(v_low=5, v_high=4)}, "lif: v_low..v_high 5..4 leaves 30 bits"),
    ({"lif": lif(v_reset=np.int32(9), v_high=8)}, "lif: v_reset 9..9 leaves .* -536870911..8"),
    ({"lif": lif(v_init=np.int32(-9), v_low=-8)}, "lif: v_init -9..-9 leaves the state range -8"),
    ({"lif": lif(v_min=np.int32(9), v_high=8)}, "lif: v_min 9 is above the state range"),
    ({"lif": replace(lif(), shape=(3, 4, 5))}, r"lif: declared shape \(3, 4, 5\), input is"),
    ({"pool": AvgPool((2, 2), (2, 2), (0, 0))}, "pool: AvgPool does not exist at the integer"),
    ({"pool": MaxPool((2, 2), (2, 2), (2, 2))}, r"pool: padding \(2, 2\) fills a whole window"),
    ({"pool": SumPool((5, 5), (2, 2), (0, 0))}, r"pool: kernel \(5, 5\) does not fit map \(4, 4\)"),
    ({"fc": Linear(np.ones((4, 11), np.int8))}, r"fc: weight takes 11 features, input is \(12,\)"),
    ({"out": Output("mean")}, "out: readout is 'mean', allowed: none, integrate, leaky, spike"),  # type: ignore[arg-type]
    ({"out": Output("integrate", dv=np.int32(5))}, "out: readout integrate has no dv; use .*leaky"),
    ({"out": Output("leaky", dv=np.int32(5000))}, "out: dv must lie within 0..4096"),
    ({"out": Output("none", bias=np.int32(5))}, "out: readout none has no place for a bias"),
    ({"out": Output("integrate", scale=float("inf"))}, "out: scale is inf, a finite number"),
    ({"out": Output("integrate", bias=np.zeros(3, np.int32))}, r"out: bias of shape \(3,\)"),
]


@pytest.mark.parametrize(("changes", "message"), OF_INTEGER, ids=lambda v: None)
def test_an_integer_graph_that_breaks_one_rule(changes: dict[str, Node], message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        check(integer(**changes))
    assert caught.value.node == next(iter(changes)) and "\n" not in str(caught.value)


WEIGHT = np.full((3, 2, 3, 3), 0.5)
ONE = np.ones(3)
OF_FLOAT: list[tuple[dict[str, Any], str]] = [
    ({"conv": Conv2d(np.where(np.arange(9).reshape(3, 3) == 4, np.inf, WEIGHT))}, "holds 6 NaN"),
    ({"conv": Conv2d(CODES)}, "conv: weight has dtype int8, a float graph holds floats"),
    ({"conv": Conv2d(WEIGHT, bias=np.zeros(2))}, r"conv: bias has shape \(2,\), .* is \(3,\)"),
    ({"conv": Conv2d(WEIGHT, groups=2)}, "conv: 3 channels in 2 groups"),
    ({"conv": Conv2d(WEIGHT, stride=(1, 0))}, "conv: kernel, stride and dilation must be at least"),
    ({"conv": Conv2d(WEIGHT, padding=(-1, 0))}, r"conv: padding \(-1, 0\) is negative"),
    ({"conv": Conv2d(WEIGHT, stride=(1,))}, r"conv: stride \(1,\) has not the 2 entries"),
    ({"bn": BatchNorm(ONE, -ONE, ONE, ONE)}, "bn: var . eps must be above 0, found -0.99"),
    ({"bn": BatchNorm(ONE, ONE, ONE, ONE, axis=1)}, r"bn: mean is \(3,\), the axis has 4 entries"),
    ({"bn": BatchNorm(ONE, ONE, ONE, ONE, eps=NAN)}, "bn: eps is nan, a finite number"),
    ({"lif": real()}, "lif: needs exactly one of beta and tau"),
    ({"lif": real(beta=np.array(0.5), tau=np.array(2.0))}, "lif: needs exactly one of beta and"),
    ({"lif": real(beta=np.array(1.5))}, "lif: beta must lie within 0..1, found 1.5..1.5"),
    ({"lif": real(beta=np.array(1.0), alpha=np.array(-0.1))}, "lif: alpha must lie within 0..1"),
    ({"lif": real(tau=np.array(0.5))}, "lif: tau must be at least 1 step, found 0.5"),
    ({"lif": real(tau=np.array(2.0), leak_subtract=np.array(1.0))}, "lif: leak_subtract goes with"),
    ({"lif": real(beta=np.array(1.0), dv=np.int32(5))}, "lif: dv belongs to the integer level"),
    ({"out": Output("spike_count", beta=np.array(0.5))}, "out: readout spike_count has no beta"),
]


@pytest.mark.parametrize(("changes", "message"), OF_FLOAT, ids=lambda v: None)
def test_a_float_graph_that_breaks_one_rule(changes: dict[str, Node], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        check(floating(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "bn: BatchNorm does not exist at the folded level; fold the graph"),
        ({"bn": Scale(ONE.reshape(3, 1, 1))}, "lif: tau does not exist at the folded level"),
        (
            {"bn": Scale(ONE.reshape(3, 1, 1)), "lif": real(beta=np.array(0.5))},
            "pool: AvgPool does not exist at the folded level",
        ),
    ],
)
def test_a_folded_graph_that_is_not_folded(changes: dict[str, Node], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        check(floating("folded", **changes))


def two(*edges: Any, **nodes: Node) -> Graph:
    kept: dict[str, Node] = {"in": Input((2,), "spikes", low=0, high=1), **nodes}
    return Graph({**kept, "out": Output("none")}, edges, "integer")


FC = Linear(np.eye(2, dtype=np.int8))
STRUCTURES = [
    (two(("in", "out"), a=FC), "a: 0 inputs, needs 1"),
    (two(("in", "a"), ("in", "out"), a=FC), "a: not on a way from the Input to the Output"),
    (two(("in", "a"), ("a", "out"), a=Add()), "a: 1 inputs, needs 2 or more"),
    (two(("in", "a", 0), ("in", "a", 0), ("a", "out"), a=Add()), r"a: input ports \[0, 0\]"),
    (two(("in", "a", 0), ("in", "a", 2), ("a", "out"), a=Add()), r"a: input ports \[0, 2\]"),
    (two(("in", "a", 0), ("in", "a", 1), ("a", "out"), a=FC), "a: 2 inputs, needs 1"),
    (two(("in", "out"), ("out", "a", 0), ("in", "a", 1), a=Add()), "out: an Output feeds|a: not"),
    (two(("in", "a b"), ("a b", "out"), **{"a b": FC}), "a b: a node name is 1..200 characters"),
    (two(("in", "a/b"), ("a/b", "out"), **{"a/b": FC}), "without spaces or slashes"),
    (two(("in", "out"), b=Input((2,))), "in, b: 2 Input nodes, a graph has exactly 1"),
    (
        Graph({"in": Input((2,)), "fc": FC}, [("in", "fc")], "integer"),
        "0 Output nodes, a graph has exactly 1",
    ),
]


@pytest.mark.parametrize(("graph", "message"), STRUCTURES, ids=lambda v: None)
def test_a_graph_that_does_not_hang_together(graph: Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        check(graph)


def test_an_overflow_is_refused_with_its_node() -> None:
    wide = Conv2d(np.full((3, 2, 3, 3), 127, np.int8))
    with pytest.raises(BoundsError, match="lif: worst-case membrane") as caught:
        check(integer(conv=wide, lif=lif(state_shift=16)))
    assert caught.value.remedy is not None


def test_an_empty_delay_is_refused() -> None:
    with pytest.raises(GraphError, match=r"d: (shape \(0,\) is empty|declared shape)"):
        check(two(("in", "d"), ("d", "out"), d=Delay((0,))))
