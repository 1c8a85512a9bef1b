"""Fit: each limit of Loihi 1 with a network that keeps it and one that breaks it."""

from __future__ import annotations

import numpy as np
import pytest

from spikewright.export.ir import Graph, Input, InputError, Linear, Neuron, Output, Scale
from spikewright.hw_targets.fit import check
from spikewright.hw_targets.target import load_target

from .networks import analog, dense, flattened

LOIHI = load_target("loihi1")


def wide(inputs: int, units: int) -> Graph:
    """One sparse-looking layer of this size (weights of 2 bits)."""
    weight = np.ones((units, inputs), np.int8)
    neuron = Neuron((units,), np.int32(6400), state_shift=6, state_bits=24)
    nodes = {
        "in": Input((inputs,), "spikes", low=0, high=1),
        "fc": Linear(weight, bits=2),
        "n": neuron,
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "integer")


BROKEN = {
    "state_bits": dense(state_bits=30),
    "resets": dense(reset="soft"),
    "compares": dense(compare=">="),
    "threshold_bits": dense(v_threshold=np.int32(100)),
    "thresholds_per_core": dense(units=9, v_threshold=(np.arange(9) * 64 + 640).astype(np.int32)),
    "input_axons_per_core": wide(4097, 2),
    "node kind": Graph.chain(
        {"in": Input((6,), "spikes", low=0, high=1), "s": Scale(np.array(2, np.int32))}
        | {n: x for n, x in dense().nodes.items() if n != "in"},
        "integer",
    ),
    "cores": wide(4, 128 * 1024 + 1),
}
KEPT = {
    "state_bits": dense(),
    "resets": dense(reset="hard"),
    "compares": dense(compare=">"),
    "threshold_bits": dense(v_threshold=np.int32(128)),
    "thresholds_per_core": dense(
        units=9, v_threshold=(np.arange(9) % 8 * 64 + 640).astype(np.int32)
    ),
    "input_axons_per_core": wide(4096, 2),
    "node kind": flattened(),
    "cores": wide(4, 128 * 1024),
}


@pytest.mark.parametrize("limit", BROKEN)
def test_each_limit_is_broken_by_name(limit: str) -> None:
    found = check(BROKEN[limit], LOIHI)
    assert not found.fits
    violation = next(v for v in found.violations if v.limit == limit)
    assert violation.layer and violation.allowed and violation.found and violation.remedy


@pytest.mark.parametrize("limit", KEPT)
def test_each_limit_is_kept(limit: str) -> None:
    found = check(KEPT[limit], LOIHI)
    assert limit not in {violation.limit for violation in found.violations}


def test_weight_bits_are_checked_on_loihi2() -> None:
    target = load_target("loihi2")
    assert check(dense(bits=8), target).fits
    nine = dense().map_nodes(
        lambda _, node: Linear(node.weight, bits=9) if isinstance(node, Linear) else node
    )
    assert {v.limit for v in check(nine, target).violations} == {"weight_bits"}


def test_a_layer_is_split_over_cores() -> None:
    found = check(wide(64, 2500), LOIHI)
    layer = next(layer for layer in found.layers if layer.name == "n")
    assert layer.cores == 3 and found.per_core_max["neurons_per_core"] == 834
    # 4096 x 1024 synapses of 2 bits: 131,072 words of 64 bits, 16,384 a core.
    full = check(wide(4096, 1024), LOIHI)
    assert full.layers[0].cores == 8 and full.per_core_max["synapse_words_per_core"] == 16_384


def test_an_analog_layer_is_the_hosts() -> None:
    found = check(analog(), LOIHI)
    assert found.host == ("n",) and found.fits
    assert check(analog(), load_target("loihi2")).host == ()


def test_a_float_graph_is_refused() -> None:
    nodes = {"in": Input((2,)), "fc": Linear(np.eye(2)), "out": Output()}
    with pytest.raises(InputError, match="lower it"):
        check(Graph.chain(nodes, "folded"), LOIHI)
