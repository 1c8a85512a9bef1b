"""A run by layers is the reference's, whatever of it is computed at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Array,
    BatchNorm,
    Conv2d,
    Delay,
    Edge,
    Flatten,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
)
from spikewright.sim.by_layers import LayerRun, potentials_of
from spikewright.sim.reference import Reference

RNG = np.random.default_rng(0)


def neuron(*shape: int, **options: Any) -> Neuron:
    return Neuron(shape, np.array(0.5), beta=np.array(0.9), **options)


def with_shortcut() -> Graph:
    """Two convolutions of which the second is added to the first's spikes; a leaky readout."""
    channels = np.ones(3)
    nodes: dict[str, Any] = {
        "input": Input((2, 4, 4), "direct"),
        "conv": Conv2d(RNG.normal(size=(3, 2, 3, 3)), None, padding=(1, 1)),
        "norm": BatchNorm(0.1 * channels, channels, 1.5 * channels, 0.2 * channels),
        "first": neuron(3, 4, 4, reset="hard"),
        "again": Conv2d(RNG.normal(size=(3, 3, 3, 3)), None, padding=(1, 1)),
        "sum": Add(),
        "second": neuron(3, 4, 4, alpha=np.array(0.5)),
        "flat": Flatten(),
        "fc": Linear(RNG.normal(size=(5, 48)), RNG.normal(size=5)),
        "output": Output("leaky", beta=np.array(0.8)),
    }
    edges = [Edge(one, two) for one, two in pairwise(nodes)] + [Edge("first", "sum", 1)]
    return Graph(nodes, edges, "float")


def with_delay() -> Graph:
    """A neuron whose spikes come back a step later."""
    nodes: dict[str, Any] = {
        "input": Input((3,), "direct"),
        "a": Linear(np.eye(3), None),
        "d": Delay((3,)),
        "r": Linear(RNG.normal(size=(3, 3)), None),
        "sum": Add(),
        "n": neuron(3),
        "output": Output("integrate"),
    }
    edges = [Edge("input", "a"), Edge("d", "r"), Edge("a", "sum"), Edge("r", "sum", 1)]
    edges += [Edge("sum", "n"), Edge("n", "d"), Edge("n", "output")]
    return Graph(nodes, edges, "float")


def reference(graph: Graph, x: Array) -> dict[str, Array]:
    session = Reference(np.float32).prepare(graph)
    session.begin(x.shape[1])
    steps = [session.advance(frame) for frame in x]
    return {name: np.stack([step[name] for step in steps]) for name in graph.nodes}


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("graph", [with_shortcut(), with_delay()], ids=["shortcut", "delay"])
def test_every_node_has_the_value_that_the_reference_gives_it(
    graph: Graph, at_once: bool, repeated: bool
) -> None:
    x = RNG.random((5, 2, *graph.input.shape), np.float32)
    x = np.broadcast_to(x[0], x.shape) if repeated else x
    wanted = reference(graph, x)
    assert all(wanted[name].any() for name in graph.neurons)
    for name, known in LayerRun(graph, {}, at_once, {}).walk(x):
        np.testing.assert_allclose(known[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_values_are_let_go_behind_the_last_node_that_takes_them() -> None:
    graph, x = with_shortcut(), RNG.random((2, 1, 2, 4, 4), np.float32)
    seen = {name: set(known) for name, known in LayerRun(graph, {}, True, {}).walk(x)}
    assert seen["first"] == {"input", "norm", "first"}
    assert seen["output"] == {"input", "first", "second", "fc", "output"}
    longer = LayerRun(graph, {}, True, {"conv": "second"}).walk(x)
    seen = {name: set(known) for name, known in longer}
    assert "conv" in seen["second"] and "conv" not in seen["flat"]


def test_potentials_are_those_that_steps_test() -> None:
    node = Neuron((1,), np.array(1.0), beta=np.array(0.5), reset="hard", compare=">=")
    currents = np.array([0.75, 0.75, 0.5], np.float32).reshape(3, 1, 1)
    assert potentials_of(node, currents).ravel().tolist() == [0.75, 1.125, 0.5]
