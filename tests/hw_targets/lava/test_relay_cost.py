"""Delay lines are counted and priced by the chip's own table."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.hw_targets.lava.build import build
from spikewright.hw_targets.lava.relay_cost import relay_cost
from spikewright.hw_targets.target import load_target
from spikewright.sim.counters import count
from spikewright.sim.reference import Reference

from .test_executor import residual


def test_relays_repeat_spikes_at_the_price_of_a_synapse_and_a_neuron() -> None:
    graph, steps, samples = residual(), 5, 3
    x = np.random.default_rng(0).integers(0, 4, (steps, samples, 2, 7, 6))
    trace = Reference().prepare(graph).run(x)
    found = relay_cost(build(graph), count(trace), load_target("loihi1"))
    spikes = float(trace.neurons["n1"].spikes.sum()) / samples
    assert (found.relay_neurons, found.relay_spikes) == (4 * 7 * 3, spikes)
    assert found.extra_steps == 5
    # Davies et al., Table 2: synop 23.6, active 81, inactive 52 pJ
    idle = 4 * 7 * 3 * steps - spikes
    assert found.energy_uj == pytest.approx((spikes * (23.6 + 81) + idle * 52) / 1e6)


def test_a_chip_without_energies_gives_none() -> None:
    graph = residual()
    trace = Reference().prepare(graph).run(np.zeros((2, 1, 2, 7, 6), np.int64))
    assert relay_cost(build(graph), count(trace), load_target("loihi2")).energy_uj is None
