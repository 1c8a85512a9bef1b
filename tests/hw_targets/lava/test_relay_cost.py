"""Delay lines are counted and priced by the chip's own table."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.api import estimate
from spikewright.export.ir import Input
from spikewright.hw_targets.lava.build import build
from spikewright.hw_targets.lava.random_graphs import random_graph
from spikewright.hw_targets.lava.relay_cost import delay_lines, relay_cost
from spikewright.hw_targets.target import load_target
from spikewright.sim.counters import count
from spikewright.sim.reference import Reference

from .test_executor import recurrent, residual


def test_relays_repeat_spikes_at_the_price_of_a_synapse_and_a_neuron() -> None:
    graph, steps, samples = residual(), 5, 3
    x = np.random.default_rng(0).integers(0, 4, (steps, samples, 2, 7, 6))
    trace = Reference().prepare(graph).run(x)
    found = relay_cost(graph, count(trace), load_target("loihi1"))
    spikes = float(trace.neurons["n1"].spikes.sum()) / samples
    assert (found.relay_neurons, found.relay_spikes) == (4 * 7 * 3, spikes)
    assert found.extra_steps == 5
    # Davies et al., Table 2: synop 23.6, active 81, inactive 52 pJ
    idle = 4 * 7 * 3 * steps - spikes
    assert found.energy_uj == pytest.approx((spikes * (23.6 + 81) + idle * 52) / 1e6)


def test_the_lines_are_those_that_lava_is_given() -> None:
    rng = np.random.default_rng(5)
    graphs = [residual(), recurrent(), recurrent(steps=4)]
    frames = rng.integers(0, 2, (4, 1, 2, 7, 6))
    node = Input((2, 7, 6), "frames", low=0, high=1)
    graphs += [random_graph(rng, node, frames, loops=bool(k % 2)) for k in range(12)]
    lines = [delay_lines(graph) for graph in graphs]
    assert lines == [build(graph).relays for graph in graphs]
    assert sum(map(bool, lines)) > 3


def test_an_estimate_tells_them_apart_from_its_total() -> None:
    graph = residual()
    x = np.random.default_rng(0).integers(0, 4, (3, 2, 7, 6))
    found = estimate(graph, x, "loihi1", time_steps=5)
    assert found.delay_lines is not None and found.energy_uj is not None
    assert found.delay_lines.lines == {"n1": 4 * 7 * 3}
    assert found.energy_uj["total"] == pytest.approx(sum(found.energy_uj.values()) / 2)
    assert "apart, delay lines on loihi1: 84 neurons" in str(found)
    assert found.to_json()["delay_lines"]["lines"] == {"n1": 84}
    assert estimate(graph, x, "generic-45nm", time_steps=5).delay_lines is None
    tight = recurrent(steps=1, synapses=2)  # on no Loihi
    spikes = np.ones((2, 6), np.int64)
    assert estimate(tight, spikes, "loihi1", time_steps=3).delay_lines is None


def test_a_chip_without_energies_gives_none() -> None:
    graph = residual()
    trace = Reference().prepare(graph).run(np.zeros((2, 1, 2, 7, 6), np.int64))
    assert relay_cost(graph, count(trace), load_target("loihi2")).energy_uj is None
