"""Unusual topologies: each lowers to what the float graph computes, or is refused by node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikewright.export.current_groups import common_measure
from spikewright.export.dequantise import dequantise
from spikewright.export.fold import fold
from spikewright.export.ir import (
    PROFILES,
    Add,
    AvgPool,
    BatchNorm,
    Calibration,
    Conv1d,
    Conv2d,
    Graph,
    Input,
    Linear,
    LoweringError,
    Neuron,
    Output,
    Scale,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.export.quantise import quantise
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference

GENERIC = PROFILES["generic"]
ONE = np.array(1.0)


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def norm(channels: int, axis: int = 0) -> BatchNorm:
    rng = np.random.default_rng(channels)
    mean, var, bias = (
        rng.normal(size=channels),
        rng.random(channels) + 0.5,
        rng.normal(size=channels),
    )
    return BatchNorm(mean, var, rng.random(channels) + 0.5, bias, axis=axis)


def differ(one: Graph, two: Graph, x: Any, time_steps: int = 6) -> float:
    """Return the share of spikes of neuron `n` in which two graphs differ; n is alive."""
    a, b = (Reference(np.float64).prepare(g).run(encode(g, x, time_steps)) for g in (one, two))
    assert a.neurons["n"].spikes.mean() > 0.01
    return float((a.neurons["n"].spikes != b.neurons["n"].spikes).mean())


@pytest.mark.parametrize("pool", [MaxPool((3,), (1,), (1,)), AvgPool((2,), (2,), (0,))])
def test_batch_norm_over_a_pooled_axis_is_refused(pool: Any) -> None:
    features = 6 // pool.stride[0]
    nodes = {"in": Input((4, 5)), "l": Linear(normal(6, 5)), "p": pool, "bn": norm(features, 1)}
    tail = {"n": Neuron((4, features), ONE, beta=ONE), "out": Output()}
    with pytest.raises(LoweringError, match="axis 1 is pooled by p"):
        fold(Graph.chain({**nodes, **tail}, "float"))


@pytest.mark.parametrize("encoding", ["rate", "latency", "spikes", "frames"])
def test_batch_norm_moves_into_a_direct_input_only(encoding: Any) -> None:
    nodes = {"in": Input((3,), encoding), "bn": norm(3), "l": Linear(normal(4, 3)), "out": Output()}
    with pytest.raises(LoweringError, match=r"bn.*follows in \(Input\)"):
        fold(Graph.chain(nodes, "float"))


@pytest.mark.parametrize("encoding", ["spikes", "frames"])
def test_whole_input_cannot_be_normalised(encoding: Any) -> None:
    nodes = {"in": Input((3,), encoding, mean=np.array(0.5)), "l": Linear(normal(4, 3))}
    with pytest.raises(LoweringError, match=r"in: .* normalised"):
        quantise(fold(Graph.chain({**nodes, "out": Output()}, "float")), GENERIC, Calibration(1.0))


@pytest.mark.parametrize("length", [4, 6])
@pytest.mark.parametrize("identity", [False, True])
def test_a_linear_and_a_convolution_share_one_scale(length: int, identity: bool) -> None:
    nodes = {
        "in": Input((4, length), "spikes"),
        "c": Conv1d(normal(4, 4, 3), padding=(1,)),
        "l": Linear(normal(length, length) * np.arange(1, length + 1)[:, None]),
        "add": Add(),
        "n": Neuron((4, length), ONE, beta=ONE),
        "out": Output(),
    }
    edges = [("in", "c"), ("in", "l"), ("c", "add", 0), ("l", "add", 1), ("add", "n"), ("n", "out")]
    graph = Graph(nodes, [*edges, ("in", "add", 2)] if identity else edges, "float")  # type: ignore[list-item]
    x = (np.random.default_rng(0).random((20, 4, length)) < 0.4).astype(np.int64)
    assert differ(graph, quantise(fold(graph), GENERIC, Calibration(1.0)), x) < 0.02


def pooled(*, current: bool) -> Graph:
    """Spikes averaged over 9 and over 4 places, added to each other and perhaps to a current."""
    nodes: dict[str, Any] = {
        "in": Input((2, 6, 6), "spikes"),
        "p9": AvgPool((3, 3), (2, 2), (1, 1)),
        "p4": AvgPool((2, 2), (2, 2), (0, 0)),
        "add": Add(),
        "n": Neuron((2, 3, 3), np.array(1.3), beta=ONE),
        "out": Output(),
    }
    edges: list[Any] = [("in", "p9"), ("in", "p4"), ("add", "n"), ("n", "out")]
    edges += [("p9", "add", 0), ("p4", "add", 1)]
    if current:
        nodes["c"] = Conv2d(normal(2, 2, 3, 3) * 8, stride=(2, 2), padding=(1, 1))
        edges += [("in", "c"), ("c", "add", 2)]
    return Graph(nodes, edges, "float")


def test_averages_of_4_and_9_enter_a_current_exactly() -> None:
    integer = quantise(fold(pooled(current=True)), GENERIC, Calibration(1.0))
    one, two = (node.factor for node in integer.of_kind(Scale).values())
    assert np.array_equal(one * 9, two * 4)


def test_averages_of_4_and_9_are_added_exactly() -> None:
    graph = pooled(current=False)
    x = (np.random.default_rng(1).random((20, 2, 6, 6)) < 0.5).astype(np.int64)
    assert differ(graph, quantise(fold(graph), GENERIC, Calibration(1.0)), x) == 0.0


def test_the_common_measure_of_scales() -> None:
    assert common_measure([1 / 4, 1 / 9]) == pytest.approx(1 / 36, rel=1e-12)
    assert common_measure([1.0, 1 / 16]) == 1 / 16
    assert common_measure([1.0, np.sqrt(2)]) == 1.0


@pytest.mark.parametrize("compare", [">", ">="])
def test_several_spikes_a_step_are_counted_below_a_weight_step(compare: Any) -> None:
    neuron = Neuron((30,), np.array(0.3), beta=ONE, max_spikes_per_step=8, compare=compare)
    nodes = {"in": Input((20,), "spikes"), "l": Linear(normal(30, 20)), "n": neuron}
    graph = fold(Graph.chain({**nodes, "out": Output()}, "float"))
    integer = quantise(fold(graph), GENERIC.with_bits(4), Calibration(1.0))
    held: Any = integer.nodes["l"]
    rounded = Linear(held.weight * held.scale[:, None])
    x = (np.random.default_rng(2).random((100, 20)) < 0.4).astype(np.int64)
    assert differ(graph.replace({**graph.nodes, "l": rounded}), integer, x) < 0.01


@pytest.mark.parametrize("residual", [False, True])
def test_a_direct_input_read_by_more_than_weights_dequantises(residual: bool) -> None:
    nodes: dict[str, Any] = {"in": Input((3,)), "n": Neuron((3,), np.array(1.3), beta=ONE)}
    edges: list[Any] = [("in", "n"), ("n", "out")]
    if residual:
        nodes |= {"l": Linear(normal(3, 3)), "add": Add()}
        edges = [("in", "l"), ("l", "add", 0), ("in", "add", 1), ("add", "n"), ("n", "out")]
    graph = Graph({**nodes, "out": Output()}, edges, "float")
    integer = quantise(fold(graph), GENERIC, Calibration(2.0))
    x = np.random.default_rng(3).integers(0, 128, (50, 3)) / 127 * 2
    assert differ(dequantise(integer), integer, x) < 0.01
    assert differ(graph, integer, x) < 0.03


def test_a_direct_input_read_by_weights_alone_needs_no_scale() -> None:
    nodes = {"in": Input((3,)), "l": Linear(normal(4, 3)), "n": Neuron((4,), ONE, beta=ONE)}
    graph = Graph.chain({**nodes, "out": Output()}, "float")
    integer = quantise(fold(graph), GENERIC, Calibration(2.0))
    back = dequantise(integer)
    assert list(back.nodes) == list(graph.nodes)
    held = replace(integer.input, scale=None, low=None, high=None)
    assert back.input.field_values() == held.field_values()


@pytest.mark.parametrize("gain", [0.0, 1e-12, 1e-30])
def test_a_channel_that_died_in_training_lowers(gain: float) -> None:
    """Weight decay drives the gains of unused BatchNorm channels to nothing; their bias stays."""
    dead = np.array([gain, 1.0, -gain, 1.0])
    bias = np.array([0.3, 0.1, 2.0, -0.2])
    nodes = {
        "in": Input((6,), "spikes"),
        "l": Linear(normal(4, 6)),
        "bn": BatchNorm(np.zeros(4), np.ones(4), dead, bias),
        "n": Neuron((4,), ONE, beta=np.array(0.5)),
        "out": Output("spike_count"),
    }
    graph = Graph.chain(nodes, "float")
    x = (np.random.default_rng(4).random((50, 6)) < 0.5).astype(np.int64)
    for profile in ("generic", "loihi2"):
        limit = 0.02 if profile == "generic" else 0.06
        assert differ(graph, quantise(fold(graph), PROFILES[profile], Calibration(1.0)), x) < limit


def test_a_layer_without_strength_stays_silent() -> None:
    nodes = {"in": Input((6,), "spikes"), "l": Linear(normal(4, 6) * 1e-9)}
    tail = {"n": Neuron((4,), ONE, beta=ONE), "out": Output("spike_count")}
    integer = quantise(fold(Graph.chain({**nodes, **tail}, "float")), GENERIC, Calibration(1.0))
    x = np.ones((3, 6), np.int64)
    assert not Reference().prepare(integer).run(encode(integer, x, 20)).output.any()
