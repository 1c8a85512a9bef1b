"""What the chip enforces and Lava's CPU models do not, by node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikewright.export.ir import PROFILES, Linear
from spikewright.hw_targets.lava.silicon import silicon_limits

from .test_executor import neuron
from .test_netx import mlp


def limits(graph: object) -> set[tuple[str, str]]:
    return {(found.node, found.limit) for found in silicon_limits(graph)}  # type: ignore[arg-type]


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
        ("f1", "payload"),
        ("f1", "dendritic accumulator"),
        ("n1", "thresholds per core"),
        ("n1", "bias mantissa"),
    }
