"""On a chip whose u wraps no worst-case current may wrap: the unit is widened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.ir import (
    PROFILES,
    Add,
    Calibration,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    bounds,
)
from spikewright.export.quantise import quantise
from spikewright.hw_targets.lava.build import build

ROOM = (1 << 17) - 1


def network(*, meet: bool) -> Graph:
    """Directly coded pixels into 40 inputs of full weight: 40 * 127 * 127 in the worst case."""
    rng = np.random.default_rng(0)
    weights = [rng.choice([-1.0, 1.0], (6, 40)) * size for size in (1.0, 0.9)]
    nodes = {
        "in": Input((40,), "direct"),
        "a": Linear(weights[0]),
        "b": Linear(weights[1]),
        "meet": Add(),
        "n": Neuron((6,), np.full(6, 4.0), beta=np.float64(0.5)),
        "head": Linear(rng.normal(size=(3, 6))),
        "out": Output("integrate"),
    }
    ways = [("in", "a"), ("n", "head"), ("head", "out")]
    if meet:
        ways += [("in", "b"), ("a", "meet", 0), ("b", "meet", 1), ("meet", "n")]
    else:
        ways += [("a", "n")]
        nodes = {name: node for name, node in nodes.items() if name not in ("b", "meet")}
    return Graph(nodes, ways, "folded")  # type: ignore[arg-type]


@pytest.mark.parametrize("meet", [False, True])
def test_a_wide_layer_of_pixels_fits_and_uses_its_room(meet: bool) -> None:
    graph = quantise(fold(network(meet=meet)), PROFILES["loihi2"], Calibration(1.0))
    largest = bounds(graph)[graph.inputs("n")[0]].largest
    assert 0.95 * ROOM < largest <= ROOM
    build(graph)  # Lava takes it
    wide = quantise(fold(network(meet=meet)), PROFILES["generic"], Calibration(1.0))
    assert bounds(wide)[wide.inputs("n")[0]].largest > 2 * ROOM


def test_a_synaptic_current_may_wrap_once() -> None:
    """decay(u) + i stays within 3 * 2^23: i within 2 * 2^23, its bias counted."""
    graph = network(meet=False)
    weights, neuron = graph.of_kind(Linear)["a"], graph.neurons["n"]
    changed = {
        "a": replace(weights, bias=np.full(6, 3.0)),
        "n": replace(neuron, alpha=np.array(0.9)),
    }
    integer = quantise(
        graph.replace({**graph.nodes, **changed}), PROFILES["loihi2"], Calibration(1.0)
    )
    kept = integer.neurons["n"]
    assert kept.bias_in is not None
    largest = (bounds(integer)[integer.inputs("n")[0]].largest << 6) + int(
        np.abs(kept.bias_in).max()
    )
    assert 0.95 * 2**24 < largest < 2**24


def test_a_unit_that_the_threshold_makes_wide_is_widened_further() -> None:
    """A threshold of 19.3 takes 4.75 times the weights' own unit, where the sums need 4.9."""
    graph = network(meet=False)
    high = replace(graph.neurons["n"], v_threshold=np.full(6, 19.3))
    folded = graph.replace({**graph.nodes, "n": high})
    integer = quantise(folded, PROFILES["loihi2"], Calibration(1.0))
    assert 0.9 * ROOM < bounds(integer)[integer.inputs("n")[0]].largest <= ROOM


def test_what_fits_is_left_alone() -> None:
    graph = network(meet=False)
    spikes = graph.replace({**graph.nodes, "in": Input((40,), "spikes")})
    lowered = quantise(fold(spikes), PROFILES["loihi2"], Calibration(1.0))
    assert np.abs(lowered.nodes["a"].weight).max() == 127  # type: ignore[union-attr]


@pytest.mark.parametrize("bias", [800.0, -1e3, 1e4])
@pytest.mark.parametrize("at", ["f", "h"])
def test_a_bias_that_outweighs_its_weights_takes_double_steps(bias: float, at: str) -> None:
    rng = np.random.default_rng(5)
    biases = {"f": rng.normal(size=8), "h": rng.normal(size=3)}
    biases[at][0] = bias
    nodes = {
        "in": Input((6,), "spikes"),
        "f": Linear(rng.normal(size=(8, 6)), bias=biases["f"]),
        "n": Neuron((8,), np.asarray(1.0), beta=np.asarray(0.9)),
        "h": Linear(rng.normal(size=(3, 8)), bias=biases["h"]),
        "out": Output("integrate"),
    }
    graph = quantise(Graph.chain(nodes, "folded"), PROFILES["loihi2"], Calibration(1.0))  # type: ignore[arg-type]
    held = (graph.neurons["n"] if at == "f" else graph.output).bias
    assert held is not None
    largest = int(np.abs(held).max())
    assert largest > 64 * ((1 << 15) - 1)
    assert not (held % 128).any()
    build(graph)
