"""Calibration for event timing: on a network lowered for ODIN, fewer spikes differ."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from spikewright import api
from spikewright.export.ir import Graph, Input, Linear, Neuron, Node, Output
from spikewright.hw_targets.event_calibration import raised, takes_events, uncalibrated
from spikewright.hw_targets.target import load_target


def float_network() -> Graph:
    rng = np.random.default_rng(0)
    nodes: dict[str, Node] = {"in": Input((24,), "spikes")}
    sizes = (24, 40, 10)
    for k, (a, b) in enumerate(pairwise(sizes)):
        weight = rng.normal(0.05, 0.5, (b, a)).astype(np.float32)
        nodes[f"fc{k}"] = Linear(weight)
        zero = np.zeros((), np.float32)
        nodes[f"n{k}"] = Neuron(
            (b,),
            np.float32(1.0),
            beta=np.float32(1),
            v_reset=zero,
            v_init=zero,
            compare=">=",
        )
    return Graph.chain({**nodes, "out": Output("spike_count")}, "float")


def test_lowering_for_odin_calibrates_and_fits() -> None:
    x = (np.random.default_rng(1).random((16, 6, 24)) < 0.3).astype(np.int64)
    graph = api.lower(float_network(), target="odin", calibrate=x)
    assert graph.profile is not None and graph.profile.name == "odin"
    assert api.check(graph, "odin").fits
    note = graph.metadata["event_calibration"]
    mean = {k: np.mean(list(note[k].values())) for k in ("before", "spikes_that_differ")}
    assert max(note["threshold_factors"].values()) > 1 and note["longest_queue"] > 0
    assert 0 < mean["spikes_that_differ"] < mean["before"]
    as_lowered = api.lower(float_network(), profile=graph.profile, calibrate=x)
    for name, node in uncalibrated(graph).neurons.items():
        assert np.array_equal(node.v_threshold, as_lowered.neurons[name].v_threshold)
    plain = api.lower(float_network(), target="truenorth", calibrate=x)
    assert "event_calibration" not in plain.metadata
    assert takes_events(load_target("speck2f")) and not takes_events(load_target("loihi1"))


def test_thresholds_stay_within_their_width() -> None:
    x = (np.random.default_rng(1).random((4, 3, 24)) < 0.3).astype(np.int64)
    graph = api.lower(float_network(), target="odin", calibrate=x)
    high = raised(graph, dict.fromkeys(graph.neurons, 1e6), 11)
    assert all(int(n.v_threshold.max()) == 2047 for n in high.neurons.values())
