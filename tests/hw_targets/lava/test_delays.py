"""Feed-forward Delays, of the input too: fed later, through relays, or given back to the lag."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikewright.export.ir import Add, Delay, Graph, Input, Linear, Neuron, Node, Output
from spikewright.hw_targets.lava.build import build

from .test_executor import assert_equal

RNG = np.random.default_rng(7)


def codes(*shape: int) -> Any:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def delayed() -> Graph:
    """The input beside a late copy of itself, a late current, and late spikes beside their own."""
    fires = {"v_threshold": np.int32(64 * 60), "dv": np.int32(1000), "u_range": "wrap"}
    held: Any = {**fires, "state_shift": 6, "state_bits": 24}
    nodes: dict[str, Node] = {
        "in": Input((5,), "frames", low=0, high=3),
        "d": Delay((5,), 4),
        "a": Add(),
        "f": Linear(codes(4, 5), bits=8),
        "d2": Delay((4,), 1),
        "n": Neuron((4,), bias=np.int32(128), **held),
        "d3": Delay((4,), 3),
        "a2": Add(),
        "head": Linear(codes(3, 4), bits=8),
        "out": Output("integrate", np.int32(64), state_shift=6, state_bits=24),
    }
    edges: list[Any] = [("in", "d"), ("in", "a", 0), ("d", "a", 1), ("a", "f"), ("f", "d2")]
    edges += [("d2", "n"), ("n", "d3"), ("n", "a2", 0), ("d3", "a2", 1), ("a2", "head")]
    return Graph(nodes, [*edges, ("head", "out")], "integer")


def test_delays_of_inputs_currents_and_spikes_are_equal() -> None:
    graph = delayed()
    program = build(graph)
    latest = max(place.lag for place in program.sources.values())
    assert latest > program.output.lag
    assert program.depth == latest
    assert_equal(graph, RNG.integers(0, 4, (7, 3, 5)))
