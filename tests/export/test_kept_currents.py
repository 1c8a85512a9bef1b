"""Currents that outlive a step without a neuron: no integers, and a remedy that lowers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.fold import fold
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.ir import (
    PROFILES,
    Add,
    Calibration,
    Delay,
    Graph,
    Input,
    Linear,
    LoweringError,
    Neuron,
    Output,
    Scale,
)
from spikewright.export.quantise import quantise

nir = pytest.importorskip("nir")
ONES = np.ones(3)


def written(tmp_path: Any, last: Any) -> Graph:
    """A NIR network with a readout, read back."""
    weight = np.arange(12.0).reshape(3, 4) / 12
    spiking = nir.LIF(tau=2e-4 * ONES, r=ONES, v_leak=0 * ONES, v_threshold=ONES, v_reset=0 * ONES)
    nodes = nir.Affine(weight, 0.1 * ONES), spiking, nir.Affine(np.eye(3), 0.1 * ONES), last
    ends = nir.Input({"input": np.array([4])}), nir.Output({"output": np.array([3])})
    nir.write(tmp_path / "a.nir", nir.NIRGraph.from_list(ends[0], *nodes, ends[1]))
    return read_nir(tmp_path / "a.nir")


def test_a_readout_of_one_decay_lowers_and_every_executor_is_equal(tmp_path: Any) -> None:
    graph = written(tmp_path, nir.LI(tau=3e-4 * ONES, r=ONES, v_leak=0 * ONES))
    x = (np.random.default_rng(0).random((4, 6, 4)) < 0.6).astype(np.float32)
    lowered = sw.lower(graph, calibrate=x, encoding="spikes")
    assert lowered.output.readout == "leaky"
    assert sw.verify(lowered, x).equal
    floats, whole = sw.run(graph, x, encoding="spikes"), sw.run(lowered, x)
    np.testing.assert_allclose(
        whole.output * lowered.output.scale, floats.output * graph.output.scale, atol=0.02
    )


def test_one_of_two_decays_is_named_with_the_readouts_that_lower(tmp_path: Any) -> None:
    graph = written(
        tmp_path, nir.CubaLI(tau_syn=2e-4 * ONES, tau_mem=3e-4 * ONES, r=ONES, v_leak=0 * ONES)
    )
    with pytest.raises(LoweringError, match=r"front of a readout, two decays.*LI of NIR"):
        quantise(fold(graph), PROFILES["generic"], Calibration(1.0))


def test_a_current_kept_between_layers_is_told_from_a_readout() -> None:
    nodes = {
        "in": Input((2,), "spikes"),
        "fc": Linear(np.eye(2)),
        "sum": Add(),
        "back": Delay((2,)),
        "kept": Scale(np.array(0.5)),
        "n": Neuron((2,), np.ones(()), beta=np.ones(())),
        "out": Output("spike_count"),
    }
    edges = [("in", "fc"), ("fc", "sum", 0), ("kept", "sum", 1), ("sum", "back"), ("back", "kept")]
    graph = Graph(nodes, [*edges, ("sum", "n"), ("n", "out")], "float")
    with pytest.raises(LoweringError, match=r"back: .*use a current-based neuron"):
        quantise(fold(graph), PROFILES["generic"], Calibration(1.0))
