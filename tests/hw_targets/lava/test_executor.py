"""The executor `lava`: equal to the reference in every value, or refused by node."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Array,
    Conv1d,
    Conv2d,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.hw_targets.lava.build import build
from spikewright.hw_targets.lava.executor import Lava
from spikewright.sim.verify import verify

from .worker import environment

RNG = np.random.default_rng(0)
HEAD = Output("integrate", np.array([640, -64], np.int32), state_shift=6, state_bits=24)


def codes(*shape: int) -> Array:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def neuron(*shape: int, **fields: Any) -> Neuron:
    plain = {"v_threshold": np.int32(64 * 150), "dv": np.int32(1000), "u_range": "wrap"}
    return Neuron(shape, **{**plain, "state_shift": 6, "state_bits": 24, **fields})


def spikes(*shape: int, rate: float = 0.4) -> Array:
    return (RNG.random(shape) < rate).astype(np.int64)


def residual() -> Graph:
    """Maps: uneven kernels, groups, a current-based neuron, pools, additions of both kinds."""
    nodes: dict[str, Node] = {
        "in": Input((2, 7, 6), "frames", low=0, high=3),
        "c1": Conv2d(codes(4, 2, 3, 2), stride=(1, 2), padding=(1, 0), bits=8, weight_shift=1),
        "n1": neuron(
            4, 7, 3, du=np.int32(700), bias=np.array([64, -128, 0, 320], np.int32).reshape(4, 1, 1)
        ),
        "c2": Conv2d(codes(4, 1, 3, 3), padding=(2, 2), dilation=(2, 2), groups=4, bits=8),
        "id": Scale(np.array([20, -16, 31, 1], np.int32).reshape(4, 1, 1)),
        "meet": Add(),
        "n2": neuron(4, 7, 3, v_threshold=(64 * RNG.integers(50, 300, (4, 7, 3))).astype(np.int32)),
        "sum": Add(),
        "pool": SumPool((2, 2), (2, 1), (1, 0)),
        "flat": Flatten(),
        "fc": Linear(codes(5, 4 * 4 * 2), bits=8),
        "n3": neuron(5, v_threshold=np.int32(64 * 900), bias_in=np.int32(-64), du=np.int32(3000)),
        "head": Linear(np.abs(codes(2, 5)), bits=8),
        "out": HEAD,
    }
    edges = [
        *[("in", "c1"), ("c1", "n1"), ("n1", "c2"), ("c2", "meet", 0), ("n1", "id")],
        *[("id", "meet", 1), ("meet", "n2"), ("n2", "sum", 0), ("n1", "sum", 1), ("sum", "pool")],
        *[("pool", "flat"), ("flat", "fc"), ("fc", "n3"), ("n3", "head"), ("head", "out")],
    ]
    return Graph(nodes, edges, "integer")


def recurrent(steps: int = 2, synapses: int = 2) -> Graph:
    """A biased neuron that hears itself, through weights and a pair of relays."""
    loop = ["back", *[f"w{k}" for k in range(synapses)], "meet"]
    nodes: dict[str, Node] = {
        "in": Input((6,), "spikes", low=0, high=1),
        "fc": Linear(codes(4, 6), bits=8),
        "back": Delay((4,), steps),
        **{f"w{k}": Linear(RNG.integers(-9, 10, (4, 4)).astype(np.int8)) for k in range(synapses)},
        "meet": Add(),
        "n": neuron(4, bias=np.int32(64 * 40)),
        "head": Linear(codes(2, 4), bits=8),
        "out": HEAD,
    }
    edges: list[Any] = [("in", "fc"), ("fc", "meet", 0), ("meet", "n"), ("n", "head")]
    edges += [*pairwise(loop[:-1])]
    edges += [(loop[-2], "meet", 1), ("n", "back"), ("head", "out")]
    return Graph(nodes, edges, "integer")


def assert_equal(graph: Graph, x: Array) -> None:
    environment()
    found = verify(graph, x, ["reference", Lava()])
    assert found.equal, found
    assert found.values_compared > 0


def test_maps_additions_pools_and_delay_lines_are_equal() -> None:
    graph = residual()
    assert_equal(graph, RNG.integers(0, 4, (5, 3, 2, 7, 6)) * spikes(5, 3, 2, 7, 6))
    program = build(graph)
    assert program.relays == {"n1": 4 * 7 * 3}
    assert program.output.lag == 5
    assert program.pipelined


@pytest.mark.parametrize("channels", [192, 131])
def test_more_groups_than_int8_holds(channels: int) -> None:
    """Lava's Conv keeps `groups` as int8, and of 192 (or the prime 131) computes nothing."""
    nodes: dict[str, Node] = {
        "in": Input((channels, 4, 4), "spikes", low=0, high=1),
        "deep": Conv2d(codes(channels, 1, 3, 3), padding=(1, 1), groups=channels, bits=8),
        "n": neuron(channels, 4, 4),
        "pool": SumPool((4, 4), (4, 4), (0, 0)),
        "flat": Flatten(),
        "head": Linear(codes(2, channels) // 8, bits=8),
        "out": HEAD,
    }
    graph = Graph.chain(nodes, "integer")
    assert_equal(graph, spikes(3, 2, channels, 4, 4))
    assert build(graph).processes["pool"].kind == "conv"


def test_padding_that_differs_between_the_ends() -> None:
    """Lava's Conv knows one number for both: the kernel gets zeros; a pool becomes a matrix."""
    nodes: dict[str, Node] = {
        "in": Input((2, 6, 7), "spikes", low=0, high=1),
        "same": Conv2d(codes(3, 2, 2, 2), padding=(0, 0), padding_end=(1, 1), bits=8),
        "n": neuron(3, 6, 7),
        "pool": SumPool((3, 3), (2, 2), (0, 0), (1, 1)),
        "flat": Flatten(),
        "head": Linear(codes(2, 27) // 8, bits=8),
        "out": HEAD,
    }
    graph = Graph.chain(nodes, "integer")
    processes = build(graph).processes
    assert (processes["same"].kind, processes["pool"].kind) == ("conv", "sparse")
    assert processes["same"].arrays["weight"].shape[1:3] == (3, 3)
    assert_equal(graph, spikes(3, 2, 2, 6, 7))


def test_a_padding_that_int8_does_not_hold_twice() -> None:
    nodes: dict[str, Node] = {
        "in": Input((1, 3, 2), "spikes", low=0, high=1),
        "wide": Conv2d(codes(2, 1, 3, 3), stride=(32, 32), padding=(64, 64), bits=8),
        "n": neuron(2, 5, 4),
        "flat": Flatten(),
        "head": Linear(codes(2, 40) // 8, bits=8),
        "out": HEAD,
    }
    graph = Graph.chain(nodes, "integer")
    assert build(graph).processes["wide"].kind == "sparse"
    assert_equal(graph, spikes(3, 2, 1, 3, 2))


def test_a_loop_is_equal_and_biases_wait_for_their_layer() -> None:
    graph = recurrent()
    assert_equal(graph, spikes(9, 3, 6))
    assert not build(graph).pipelined


def test_a_readout_of_spikes_and_a_convolution_over_one_axis() -> None:
    nodes: dict[str, Node] = {
        "in": Input((3, 8), "direct", 0.1, -127, 127),
        "conv": Conv1d(codes(4, 3, 3), padding=(1,), stride=(2,), bits=8),
        "n": neuron(4, 4, v_threshold=np.int32(64 * 4000)),
        "flat": Flatten(),
        "out": Output("spike_count", state_shift=6, state_bits=24),
    }
    frame = np.broadcast_to(RNG.integers(-127, 128, (1, 2, 3, 8)), (6, 2, 3, 8))
    assert_equal(Graph.chain(nodes, "integer"), frame)


def test_steps_one_by_one_are_the_run() -> None:
    environment()
    graph, x = recurrent(), spikes(3, 2, 6)
    session = Lava().prepare(graph)
    stepped = [session.step(frame) for frame in x]
    assert np.array_equal(np.stack(stepped), session.run(x, "output").output)


def test_a_loop_with_more_synapses_than_steps_is_refused() -> None:
    with pytest.raises(ExecutorError, match=r"back: its loop passes 3 synapses.* delayed by 2"):
        build(recurrent(steps=2, synapses=3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reset": "soft"}, r"n1: reset is soft, Lava has hard; train with hard reset"),
        ({"compare": ">="}, r"n1: compares by >=.*target=.loihi2"),
        ({"state_shift": 0}, r"n1: state_shift is 0, Lava has 6; .*target=.loihi2"),
        ({"v_threshold": np.int32(100)}, r"n1: v_threshold is no multiple of 64"),
        ({"u_range": "saturate"}, r"n1: u saturates, Lava's wraps"),
        ({"bias": np.int32(2**22 + 1)}, r"n1: bias 4194305 is no int16 mantissa"),
    ],
)
def test_a_neuron_that_lava_lacks_is_refused(fields: dict[str, Any], message: str) -> None:
    graph = residual()
    node = replace(graph.neurons["n1"], **fields)
    with pytest.raises(ExecutorError, match=message):
        build(graph.replace({**graph.nodes, "n1": node}))


def test_a_node_that_lava_lacks_is_refused() -> None:
    graph = residual()
    pooled = {**graph.nodes, "pool": MaxPool((2, 2), (2, 1), (1, 0))}
    with pytest.raises(ExecutorError, match="pool: MaxPool has no form in Lava; Lava has no max"):
        build(graph.replace(pooled))


def test_attention_is_refused() -> None:
    tokens = {"shape": (4, 4), "v_threshold": np.int32(64 * 3)}
    nodes: dict[str, Node] = {
        "in": Input((4, 4), "spikes", low=0, high=1),
        "q": Linear(codes(4, 4), bits=8),
        "nq": Neuron(**tokens, state_shift=6, state_bits=24),
        "k": Linear(codes(4, 4), bits=8),
        "nk": Neuron(**tokens, state_shift=6, state_bits=24),
        "attn": MatMul(transpose_b=True),
        "n": Neuron(**tokens, state_shift=6, state_bits=24),
        "out": Output("spike_count", state_shift=6, state_bits=24),
    }
    edges: list[Any] = [("in", "q"), ("q", "nq"), ("in", "k"), ("k", "nk"), ("nq", "attn", 0)]
    edges += [("nk", "attn", 1), ("attn", "n"), ("n", "out")]
    with pytest.raises(ExecutorError, match="attn: MatMul has no form in Lava; Lava has no att"):
        build(Graph(nodes, edges, "integer"))


def test_ge_without_a_rewrite_is_refused() -> None:
    """Potentials that decay lie between the steps of 64: `>=` is no `>` there."""
    graph = recurrent()
    fine = replace(graph.neurons["n"], compare=">=", v_threshold=np.int32(64 * 100))
    assert fine.dv is not None and int(fine.dv) == 1000
    with pytest.raises(ExecutorError, match="n: compares by >=, Lava by >; lower it with"):
        build(graph.replace({**graph.nodes, "n": fine}))


def test_ge_is_rewritten_where_every_potential_is_whole() -> None:
    graph = recurrent()
    whole = replace(graph.neurons["n"], compare=">=", dv=None, v_threshold=np.int32(64 * 100))
    graph = graph.replace({**graph.nodes, "n": whole})
    assert build(graph).processes["n"].parameters["vth"] == 99
    assert_equal(graph, spikes(4, 2, 6))
