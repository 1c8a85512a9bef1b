"""Estimates: golden energies computed by hand from the counts."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.export.ir import InputError
from spikewright.hw_targets.estimate import estimate
from spikewright.hw_targets.target import load_target
from spikewright.sim.counters import count
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference

from .networks import analog, counted, dense

SAMPLES, STEPS = 3, 5


def test_loihi1_davies_by_hand() -> None:
    graph = dense()
    counters = counted(graph, SAMPLES, STEPS)
    found = estimate(graph, counters, load_target("loihi1"))
    sops = counters.total("sops") / SAMPLES
    fired = int(counters.layers["n"].spikes.sum()) / SAMPLES
    assert fired > 0 and found.energy_uj is not None
    idle = STEPS * 4 - fired
    synapse, spike = sops * 23.6e-6, fired * 1.7e-6
    neuron = (fired * 81 + idle * 52 + STEPS * 2 * 52) * 1e-6
    assert found.energy_uj["synapse"] == pytest.approx(synapse)
    assert found.energy_uj["neuron"] == pytest.approx(neuron)
    assert found.energy_uj["spike"] == pytest.approx(spike)
    assert found.energy_uj["total"] == pytest.approx(synapse + neuron + spike)
    assert sum(found.layers.values()) == pytest.approx(found.energy_uj["total"])
    assert sum(found.steps) == pytest.approx(found.energy_uj["total"])
    assert found.static_mw == 104.4 and found.sops == pytest.approx(sops)


def test_loihi1_latency_is_the_slowest_core_and_the_barrier() -> None:
    graph = dense()
    counters = counted(graph, SAMPLES, STEPS)
    layer, head = counters.layers["n"], counters.layers["head"]
    total = 0.0
    for t in range(STEPS):
        fired = layer.spikes[t].mean()
        first = counters.layers["fc"].sops[t].mean() * 3.5 + fired * 8.4 + (4 - fired) * 5.3
        second = head.sops[t].mean() * 3.5 + 2 * 5.3
        total += max(first, second) + 113
    found = estimate(graph, counters, load_target("loihi1"))
    assert found.latency_us == pytest.approx(total * 1e-3)


@pytest.mark.parametrize(("cost", "mac", "ac"), [("int32", 3.1, 0.1), ("fp32", 4.6, 0.9)])
def test_operation_counts_by_hand(cost: str, mac: float, ac: float) -> None:
    graph = analog()
    x = np.random.default_rng(0).random((SAMPLES, 6), dtype=np.float32)
    counters = count(Reference().prepare(graph).run(encode(graph, x, STEPS)))
    sops = counters.total("sops") / SAMPLES
    target = load_target("generic-45nm")
    once = estimate(graph, counters, target, cost=cost)
    each = estimate(graph, counters, target, cost=cost, first_layer="each_step")
    assert once.energy_uj is not None and each.energy_uj is not None
    assert once.energy_uj["mac"] == pytest.approx(24 * mac * 1e-6)
    assert each.energy_uj["mac"] == pytest.approx(24 * STEPS * mac * 1e-6)
    assert once.energy_uj["ac"] == pytest.approx(sops * ac * 1e-6)
    assert "once" in once.conventions[0] and "each step" in each.conventions[0]


def test_a_published_row_of_arithmetic() -> None:
    """0.347329512 G MAC and 6.51754094076244 G AC at 4.6 / 0.9 pJ are 7.463502601886196 mJ."""
    table = load_target("generic-45nm").cost("fp32")
    assert table is not None
    found = 0.347329512 * table.value("mac_pj") + 6.51754094076244 * table.value("ac_pj")
    assert found == pytest.approx(7.463502601886196, rel=1e-12)
    # Its MAC term: a 3 -> 64 stem of 3x3 at 224 x 224 over 4 steps, and a 512 -> 1000 head once.
    assert 4 * 27 * 64 * 224**2 + 513_000 == 347_329_512


def test_a_fit_only_target_has_no_energy() -> None:
    graph = dense()
    found = estimate(graph, counted(graph), load_target("loihi2"))
    assert found.energy_uj is None and found.constants == () and found.sops > 0
    assert found.to_json()["energy_uj"] is None


def test_counters_of_another_graph_are_refused() -> None:
    with pytest.raises(InputError, match="another graph"):
        estimate(analog(), counted(dense(neuron=None)).__class__({}, 5, 3), load_target("loihi1"))
