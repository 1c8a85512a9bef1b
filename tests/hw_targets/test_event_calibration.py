"""Calibration for event timing: on a network lowered for ODIN, fewer spikes differ."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from spikewright import api
from spikewright.export.formats.archive import read_archive, write_archive
from spikewright.export.ir import ExecutorError, Graph, Input, Linear, Neuron, Node, Output
from spikewright.export.ir.digest import digest
from spikewright.export.ir.nodes import Encoding
from spikewright.hw_targets.event_calibration import KEY, raised, takes_events, uncalibrated
from spikewright.hw_targets.target import load_target, targets
from spikewright.sim.event import EventDriven


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


def without_neurons(encoding: Encoding) -> Graph:
    weight = np.random.default_rng(2).normal(0, 1, (4, 6)).astype(np.float32)
    nodes: dict[str, Node] = {"in": Input((6,), encoding), "fc": Linear(weight)}
    return Graph.chain({**nodes, "out": Output("integrate")}, "float")


@pytest.mark.parametrize("target", [target.name for target in targets()])
@pytest.mark.parametrize("encoding", ["spikes", "direct"])
def test_a_network_without_neurons_is_checked_and_costed(target: str, encoding: Encoding) -> None:
    """Its sums are the chip's, or, of analog values, the host's: then no event reaches the chip."""
    x = (np.random.default_rng(1).random((3, 5, 6)) < 0.4).astype(np.int64)
    x = x if encoding == "spikes" else x.astype(np.float32)
    graph = api.lower(without_neurons(encoding), target=target, calibrate=x)
    fit = api.check(graph, target)
    found = api.estimate(graph, x, target)
    assert fit.unknown == () and (found.fits, found.violations) == (fit.fits, len(fit.violations))
    assert graph.metadata.get(KEY, {}).get("longest_queue", 0) == 0
    on_host = encoding == "direct" and fit.host == ("out",)
    assert found.host_macs == (24 * 5 if on_host else 0)


def test_analog_readouts_have_no_event_timing() -> None:
    graph = api.lower(without_neurons("direct"), calibrate=np.ones((2, 6), np.float32))
    with pytest.raises(ExecutorError, match="analog values") as refused:
        api.run(graph, np.ones((2, 6), np.float32), EventDriven())
    assert refused.value.node == "out"


def test_training_lowers_on_the_same_road() -> None:
    """First as `lower` does, also for events; later ones keep the range and the factors."""
    x = (np.random.default_rng(1).random((16, 6, 24)) < 0.3).astype(np.int64)
    how = {"target": "odin", "calibrate": x}
    lowered, lowering = api.lower(float_network(), **how), api.lowering(**how)
    for _ in range(2):
        assert digest(lowering(float_network(), "integer")) == digest(lowered)
    assert lowering(float_network(), "float").level == "float"


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


def test_a_network_with_a_layer_on_the_host_is_written_and_read(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((8, 5), np.float32)
    float_graph = Graph.chain(
        {
            "input": Input((5,), "direct"),
            "fc": Linear(np.random.default_rng(1).normal(size=(6, 5))),
            "host": Neuron((6,), np.ones(6), beta=np.ones(())),
            "fc2": Linear(np.random.default_rng(2).normal(size=(3, 6))),
            "chip": Neuron((3,), np.ones(3), beta=np.ones(())),
            "output": Output("spike_count"),
        },
        "float",
    )
    graph = api.lower(float_graph, target="speck2f", calibrate=x, time_steps=4)
    assert set(graph.metadata[KEY]["threshold_factors"]) == {"chip"}
    assert graph.metadata[KEY]["spikes_that_differ"]["host"] == 0
    write_archive(graph, tmp_path / "a.spk")
    assert digest(read_archive(tmp_path / "a.spk")) == digest(graph)
