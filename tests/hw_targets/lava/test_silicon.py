"""What the chip enforces and Lava's CPU models do not, by node."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from spikewright.export.fold import fold
from spikewright.export.ir import (
    PROFILES,
    Calibration,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    bounds,
)
from spikewright.export.quantise import quantise
from spikewright.hw_targets.fit import check
from spikewright.hw_targets.lava.silicon import number_limits, silicon_limits
from spikewright.hw_targets.target import load_target

from .test_executor import neuron, residual
from .test_netx import mlp


def limits(graph: Graph) -> set[tuple[str, str]]:
    return {(found.node, found.limit) for found in silicon_limits(graph)}


def test_a_small_network_of_plain_spikes_exceeds_nothing() -> None:
    assert limits(mlp()) == set()


def test_a_bias_takes_the_exponent_that_it_needs() -> None:
    graph = mlp()
    large = neuron(12, bias=np.array([64 * 4095, -64 * 3], np.int32).repeat(6))
    assert limits(graph.replace({**graph.nodes, "n1": large})) == set()


def test_each_limit_is_found() -> None:
    graph = mlp()
    wide = np.full((12, 9), 127, np.int8)
    thresholds = (64 * np.arange(1, 13)).astype(np.int32)
    nodes = {
        **graph.nodes,
        "in": replace(graph.input, encoding="frames", high=300),
        "f1": Linear(wide, bits=8),
        "n1": neuron(12, v_threshold=thresholds, bias=np.int32(64 * 5001)),
    }
    changed = graph.replace(nodes, profile=PROFILES["loihi1"])
    assert limits(changed) == {
        ("in", "payload"),
        ("f1", "dendritic accumulator"),
        ("n1", "thresholds per core"),
        ("n1", "bias mantissa"),
    }


def test_what_travels_are_spikes_and_sums_meet() -> None:
    """`residual` adds spikes before a pool (part of the weights behind), currents at a neuron."""
    graph = residual()
    held = graph.replace({**graph.nodes, "in": Input((2, 7, 6), "frames", low=0, high=1)})
    assert {(f.node, f.limit) for f in number_limits(held, "loihi1")} == {("n3", "biases of u")}
    assert ("fc", "synapses in a row") in limits(held)
    wide = np.full((4, 1, 3, 3), 127, np.int8)
    c2: Any = held.nodes["c2"]
    heavy = {**held.nodes, "c2": replace(c2, weight=wide, weight_shift=5)}
    meet = bounds(held.replace(heavy))["meet"].largest
    assert meet > 32767
    found = {(f.node, f.limit, f.found) for f in number_limits(held.replace(heavy), "loihi2")}
    assert ("meet", "dendritic accumulator", meet) in found


def test_a_check_says_what_the_chip_is_too_narrow_for() -> None:
    graph = mlp()
    nodes = {**graph.nodes, "f1": Linear(np.full((12, 9), 127, np.int8), bits=8, weight_shift=6)}
    found = check(graph.replace(nodes), load_target("loihi2"))
    assert [(s.node, s.limit, s.allowed) for s in found.silicon] == [
        ("f1", "dendritic accumulator", 32767)
    ]
    assert "f1: dendritic accumulator allows 32767, found 73152; worst case" in str(found)
    assert found.to_json()["silicon"][0]["found"] == 73152
    assert check(graph.replace(nodes), load_target("speck2f")).silicon == ()


def test_a_check_says_which_thresholds_were_grouped() -> None:
    graph = Graph.chain(
        {
            "in": Input((8,), "spikes"),
            "fc": Linear(np.random.default_rng(0).normal(size=(40, 8))),
            "n": Neuron((40,), np.linspace(0.5, 3.0, 40), beta=np.float64(0.5)),
            "out": Output("spike_count"),
        },
        "folded",
    )
    one, two = (
        quantise(fold(graph), PROFILES[name], Calibration(1.0)) for name in ("loihi1", "loihi2")
    )
    found = check(one, load_target("loihi1"))
    assert (found.fits, found.cores) == (True, 1)
    assert found.grouped_thresholds["n"]["kept"] == 8
    assert re.search(r"n: \d\d of 40 thresholds moved by at most \d+\.\d\d%: 8 values", str(found))
    # Not grouped, the layer takes as many cores as its thresholds ask for.
    apart = check(two, load_target("loihi1"))
    assert (apart.fits, apart.cores, apart.grouped_thresholds) == (True, 5, {})


def test_what_the_host_computes_has_room() -> None:
    graph = mlp()
    analog = Input((9,), "direct", 0.1, -127, 127)
    large = neuron(12, bias=np.int32(64 * 5001))
    wide = Linear(np.full((12, 9), 127, np.int8), bits=8)
    changed = graph.replace({**graph.nodes, "in": analog, "f1": wide, "n1": large})
    assert number_limits(changed, "loihi1") == []
    one = changed.replace(profile=PROFILES["loihi1"])
    assert limits(one) == {("in", "payload")}
