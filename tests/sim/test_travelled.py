"""Values that travelled: loops without a neuron step by step, and chains deeper than recursion."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Delay,
    Edge,
    Graph,
    Input,
    Linear,
    Output,
    Scale,
    analog_values,
    check,
    loops_without_neuron,
)
from spikewright.sim.counters import count
from spikewright.sim.reference import Reference
from spikewright.sim.travelled import values_of

KEEP = 0.75
SPIKES = (np.random.default_rng(0).random((5, 3, 4)) < 0.5).astype(np.float32)
"""[time, sample, neuron]"""


def integrator(steps: int = 1) -> Graph:
    """y[t] = KEEP y[t - steps] + x[t], then weights."""
    nodes = {
        "in": Input((4,), encoding="spikes"),
        "back": Delay((4,), steps),
        "kept": Scale(np.asarray(KEEP)),
        "y": Add(),
        "w": Linear(np.ones((2, 4))),
        "out": Output("integrate"),
    }
    edges = [
        Edge("back", "kept"),
        Edge("in", "y"),
        Edge("kept", "y", 1),
        Edge("y", "back"),
        Edge("y", "w"),
        Edge("w", "out"),
    ]
    return check(Graph(nodes, edges, "float"))


@pytest.mark.parametrize("steps", [1, 2])
def test_a_leaky_integrator_is_computed_step_by_step(steps: int) -> None:
    trace = Reference().prepare(integrator(steps)).run(SPIKES)
    state = np.zeros((5 + steps, 3, 4))
    for step in range(5):
        state[step + steps] = KEEP * state[step] + SPIKES[step]
    assert np.allclose(values_of(trace, "y").reshape(5, 3, 4), state[steps:])
    assert np.allclose(values_of(trace, "back").reshape(5, 3, 4), state[:5])
    assert np.allclose(trace.output[-1], state[steps:].sum(axis=(0, 2))[..., None])


def test_what_weighs_a_state_multiplies() -> None:
    graph = integrator()
    assert loops_without_neuron(graph) == [("back", "kept", "y")]
    assert analog_values(graph) == {"back", "kept", "y", "w", "out"}
    layer = count(Reference().prepare(graph).run(SPIKES)).layers["w"]
    assert layer.macs.sum() == 5 * 3 * 8 and layer.sops.sum() == 0


def test_chains_deeper_than_recursion_goes() -> None:
    scales = {f"s{k}": Scale(np.asarray(1.0)) for k in range(2000)}
    ends = {"w": Linear(np.ones((2, 4))), "out": Output("integrate")}
    graph = Graph.chain({"in": Input((4,), encoding="spikes"), **scales, **ends}, "float")
    layer = count(Reference().prepare(graph).run(SPIKES)).layers["w"]
    assert layer.sops.sum() == 2 * SPIKES.sum() == layer.sops_per_spike.sum()
