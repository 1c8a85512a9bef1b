"""Averages whose divisor differs at the border, in integers: exact, with values made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.formats.archive import read_archive, write_archive
from spikewright.export.ir import (
    PROFILES,
    Add,
    Calibration,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    LoweringError,
    Neuron,
    Output,
    Scale,
    SumPool,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.export.quantise import quantise
from spikewright.sim.executor import executor
from spikewright.sim.reference import Reference

DIVISORS = np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]])
WHOLE = 36 // DIVISORS
POOL = {"sum": SumPool((3, 3), (2, 2), (1, 1)), "by": Scale(1.0 / DIVISORS)}
ONE = Neuron((1, 3, 3), np.array(0.2), beta=np.ones(()))
SIZE = (1, 5, 5)
CORNER = np.zeros((1, 1, *SIZE), np.int64)
CORNER[..., 0, 0] = 1


def integers(inner: dict[str, Any], *, profile: str = "generic", readout: Any = None) -> Graph:
    nodes = {"in": Input(SIZE, "spikes"), **inner, "out": readout or Output()}
    return quantise(fold(Graph.chain(nodes, "float")), PROFILES[profile], Calibration(1.0))


def outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    return np.asarray(executor("reference").prepare(graph).run(x).output)


def test_before_a_linear_the_whole_numbers_stay_and_their_unit_moves_on() -> None:
    """Of ones every average is 1, and 9 of them 9; a spike in the corner is 1/4."""
    graph = integers({**POOL, "flat": Flatten(), "fc": Linear(np.ones((2, 9)))})
    np.testing.assert_array_equal(graph.of_kind(Scale)["by"].factor, WHOLE)
    assert graph.output.scale == pytest.approx(1 / 36 / 127)
    ones = np.ones((1, 1, *SIZE), np.int64)
    np.testing.assert_array_equal(outputs(graph, ones), np.full((1, 1, 2), 9 * 36 * 127))
    np.testing.assert_array_equal(outputs(graph, CORNER), np.full((1, 1, 2), 9 * 127))


def test_before_a_convolution_the_threshold_takes_the_unit() -> None:
    """1/4 in the corner is above 0.2: only there the neuron fires."""
    graph = integers(
        {**POOL, "conv": Conv2d(np.ones((1, 1, 1, 1))), "n": ONE}, readout=Output("spike_count")
    )
    assert graph.neurons["n"].v_threshold == np.floor(0.2 * 36 * 127)
    expected = np.zeros((1, 3, 3))
    expected[0, 0, 0] = 1
    np.testing.assert_array_equal(outputs(graph, CORNER)[0, 0], expected)


@pytest.mark.parametrize("factor", [WHOLE / 36.0, (WHOLE / 36.0).astype(np.float32)])
def test_numbers_of_a_file_in_float32_are_as_good(factor: np.ndarray) -> None:
    pool = {**POOL, "by": Scale(factor)}
    graph = integers({**pool, "flat": Flatten(), "fc": Linear(np.ones((2, 9)))})
    np.testing.assert_array_equal(graph.of_kind(Scale)["by"].factor, WHOLE)


def test_before_neurons_alone_no_factor_is_needed() -> None:
    graph = integers({**POOL, "n": ONE}, readout=Output("spike_count"))
    assert not graph.of_kind(Scale)
    np.testing.assert_array_equal(graph.neurons["n"].v_threshold, np.floor(0.2 * DIVISORS))


def test_a_pooled_current_keeps_its_bias_at_the_border() -> None:
    """The mean of alike biases is the bias; where zeros are counted it is the share of the map."""
    conv = Conv2d(np.ones((1, 1, 1, 1)), np.array([0.5]))
    alone = integers({"c": conv, **POOL, "n": ONE}, readout=Output("spike_count"))
    counted = {**POOL, "by": Scale(np.array(1 / 9))}
    zeros = integers({"c": conv, **counted, "n": ONE}, readout=Output("spike_count"))
    for graph, share in ((alone, np.ones((3, 3))), (zeros, DIVISORS / 9)):
        neuron = graph.neurons["n"]
        assert neuron.bias is not None and neuron.v_scale is not None
        found = np.broadcast_to(neuron.bias * neuron.v_scale, (1, 3, 3))
        np.testing.assert_allclose(found[0], 0.5 * share, atol=0.01)


def test_currents_that_are_averaged_add_to_spikes() -> None:
    nodes: dict[str, Any] = {
        "in": Input(SIZE, "spikes"),
        "c": Conv2d(np.ones((1, 1, 1, 1)), np.array([0.25])),
        **POOL,
        "d": Conv2d(np.ones((1, 1, 1, 1)), stride=(2, 2)),
        "add": Add(),
        "n": ONE,
        "out": Output("spike_count"),
    }
    edges = [("in", "c"), ("c", "sum"), ("sum", "by"), ("by", "add", 0), ("in", "d")]
    edges += [("d", "add", 1), ("add", "n"), ("n", "out")]
    graph = quantise(fold(Graph(nodes, edges, "float")), PROFILES["generic"], Calibration(1.0))
    np.testing.assert_array_equal(graph.of_kind(Scale)["by"].factor, WHOLE)
    # 1/4 + 1/4 + 1 in the corner; 1/4 elsewhere is above 0.2 too
    np.testing.assert_array_equal(outputs(graph, CORNER)[0, 0], np.ones((1, 3, 3)))


@pytest.mark.parametrize("then", [SumPool((2, 2), (1, 1), (0, 0)), MaxPool((2, 2), (1, 1), (0, 0))])
def test_pools_of_averages_add_and_compare_whole_numbers(then: SumPool | MaxPool) -> None:
    """Of the corner's 1/4, a 2x2 pool at the corner has 1/4, and the three others 0."""
    inner = {**POOL, "again": then, "flat": Flatten(), "fc": Linear(np.ones((1, 4)))}
    found = integers(inner)
    assert outputs(found, CORNER)[0, 0, 0] == 9 * 127
    assert outputs(found, CORNER)[0, 0, 0] * found.output.scale == pytest.approx(0.25)


def test_factors_without_a_common_measure_are_refused_with_what_to_change() -> None:
    pool = {**POOL, "by": Scale(np.sqrt(np.arange(2.0, 11.0)).reshape(3, 3))}
    with pytest.raises(LoweringError, match=r"by: its factors .*count_include_pad=True"):
        integers({**pool, "flat": Flatten(), "fc": Linear(np.ones((2, 9)))})


def test_a_factor_wider_than_the_profile_holds_is_refused() -> None:
    pool = {**POOL, "by": Scale(1.0 / np.array([[1, 13, 11]]))}
    inner = {**pool, "flat": Flatten(), "fc": Linear(np.ones((2, 9)))}
    assert integers(inner).of_kind(Scale)["by"].factor.max() == 143
    narrow = next(name for name, p in PROFILES.items() if p.scale_bits == 8)
    with pytest.raises(LoweringError, match="multiples up to 127"):
        integers(inner, profile=narrow)


@pytest.mark.parametrize("name", ["native", "onnxruntime"])
def test_executors_are_equal(name: str) -> None:
    inner = {
        **POOL,
        "conv": Conv2d(np.full((3, 1, 2, 2), 0.3)),
        "n": Neuron((3, 2, 2), np.array(0.2), beta=np.full((), 0.8)),
        "flat": Flatten(),
        "fc": Linear(np.eye(12)[:4]),
    }
    graph = integers(inner)
    x = (np.random.default_rng(1).random((4, 5, *SIZE)) < 0.4).astype(np.int64)
    ours, theirs = Reference().prepare(graph).run(x), executor(name).prepare(graph).run(x)
    assert ours.output.any()
    np.testing.assert_array_equal(ours.output, theirs.output)


def test_the_archive_keeps_them(tmp_path: Any) -> None:
    graph = integers({**POOL, "flat": Flatten(), "fc": Linear(np.ones((2, 9)))})
    write_archive(graph, tmp_path / "a.spk")
    back = read_archive(tmp_path / "a.spk")
    np.testing.assert_array_equal(back.of_kind(Scale)["by"].factor, WHOLE)
