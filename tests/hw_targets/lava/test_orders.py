"""Currents that arrive flattened, turned or twice, and weights that 8 bits do not hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Conv1d,
    Conv2d,
    Delay,
    ExecutorError,
    Flatten,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool,
    Transpose,
)
from spikewright.hw_targets.lava.build import build

from .test_executor import assert_equal

RNG = np.random.default_rng(3)
COUNT = Output("spike_count", state_shift=6, state_bits=24)


def codes(*shape: int) -> Any:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def neuron(*shape: int, **fields: Any) -> Neuron:
    each = (64 * RNG.integers(20, 200, shape)).astype(np.int32)
    plain = {"v_threshold": each, "dv": np.int32(1000), "u_range": "wrap", "state_shift": 6}
    return Neuron(shape, **{**plain, "state_bits": 24, **fields})


def test_currents_flattened_and_turned_before_a_neuron() -> None:
    """The neuron stands as its currents do, also where it hears itself; so does the readout."""
    bias = (64 * RNG.integers(-9, 10, 24)).astype(np.int32)
    nodes: dict[str, Node] = {
        "in": Input((2, 3, 4), "spikes", low=0, high=1),
        "c": Conv2d(codes(2, 2, 3, 3), padding=(1, 1), bits=8),
        "t": Transpose((0, 2, 1)),
        "n1": neuron(2, 4, 3, du=np.int32(300)),
        "c2": Conv2d(codes(2, 2, 3, 3), padding=(1, 1), bits=8),
        "fl": Flatten(),
        "d": Delay((24,), 1),
        "a": Add(),
        "n2": neuron(24, bias=bias),
        "s": Scale(RNG.integers(-255, 256, 24).astype(np.int32)),
        "n3": neuron(24),
        "out": COUNT,
    }
    edges: list[Any] = [("in", "c"), ("c", "t"), ("t", "n1"), ("n1", "c2"), ("c2", "fl")]
    edges += [("fl", "a", 0), ("d", "a", 1), ("a", "n2"), ("n2", "d"), ("n2", "s"), ("s", "n3")]
    graph = Graph(nodes, [*edges, ("n3", "out")], "integer")
    assert_equal(graph, (RNG.random((6, 2, 2, 3, 4)) < 0.4).astype(np.int64))


def test_a_pooled_map_is_counted_and_one_current_comes_twice() -> None:
    nodes: dict[str, Node] = {
        "in": Input((2, 4, 4), "spikes", low=0, high=1),
        "c": Conv2d(codes(3, 2, 3, 3), padding=(1, 1), bits=8),
        "twice": Add(),
        "n": neuron(3, 4, 4),
        "pool": SumPool((2, 4), (2, 4), (0, 0)),
        "fl": Flatten(),
        "out": COUNT,
    }
    edges: list[Any] = [("in", "c"), ("c", "twice", 0), ("c", "twice", 1), ("twice", "n")]
    edges += [("n", "pool"), ("pool", "fl"), ("fl", "out")]
    graph = Graph(nodes, edges, "integer")
    assert_equal(graph, (RNG.random((5, 3, 2, 4, 4)) < 0.4).astype(np.int64))


def test_spikes_that_come_twice_without_a_synapse_are_refused() -> None:
    nodes: dict[str, Node] = {
        "in": Input((3,), "spikes", low=0, high=1),
        "f": Linear(codes(3, 3), bits=8),
        "n": neuron(3),
        "a": Add(),
        "n2": neuron(3),
        "out": COUNT,
    }
    edges: list[Any] = [("in", "f"), ("f", "n"), ("n", "a", 0), ("n", "a", 1), ("a", "n2")]
    with pytest.raises(ExecutorError, match="n2: adds one value to itself before a neuron"):
        build(Graph(nodes, [*edges, ("n2", "out")], "integer"))


@pytest.mark.parametrize(
    ("shape", "node"),
    [((64, 96), Linear(codes(96, 96) // 8)), ((96, 64), Conv1d(codes(96, 96, 1) // 8))],
)
def test_wide_layers_of_tokens_are_built_from_their_entries(shape: Any, node: Node) -> None:
    nodes = {"in": Input(shape, "spikes", low=0, high=1), "l": node, "n": neuron(*shape)}
    program = build(Graph.chain({**nodes, "fl": Flatten(), "out": COUNT}, "integer"))
    held = program.processes["l"]
    assert held.kind == "sparse"
    assert held.arrays["value"].size == np.count_nonzero(node.weight) * 64  # type: ignore[union-attr]
