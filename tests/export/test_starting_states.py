"""Neurons of other frameworks start where their framework has them: equal from step 0 on.

Thresholds and weights as in `test_foreign`; each network is silent or loud at first because of
where it starts, which the same graph from 0 shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Graph, LoweringError, Neuron
from spikewright.export.own_run import own_run
from spikewright.export.trace import example_layout, trace
from spikewright.sim.agreement import agreement

from .test_foreign import filled, spikes, threshold

torch = pytest.importorskip("torch")
nn = torch.nn
STEPS = 12


def assert_starts(module: Any, start: float) -> None:
    """Equal in every spike from v_init on, and unequal from 0 on."""
    module, x = filled(module), spikes(4, 20)
    graph = trace(module, x)
    (neuron,) = graph.neurons.values()
    assert np.all(neuron.v_init == np.float32(start))
    own = own_run(module, x, example_layout(module, x), STEPS)
    assert agreement(graph, own.values, own.neurons).equal
    assert not agreement(from_zero(graph), own.values, own.neurons).equal
    integer = sw.lower(module, x, time_steps=STEPS)
    (neuron,) = integer.neurons.values()
    assert np.all(np.sign(neuron.v_init) == np.sign(start))


def from_zero(graph: Graph) -> Graph:
    def changed(_: str, node: Any) -> Any:
        return replace(node, v_init=np.zeros(())) if isinstance(node, Neuron) else node

    return graph.map_nodes(changed)


STARTS = [-0.75, 0.25, 2.0]
"""Below rest, above it, and above the threshold: then the first step fires without input."""


@pytest.mark.parametrize("start", STARTS)
class TestNorse:
    """LIFBox, LIF at v_leak, IAF at v_reset."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        reason = "pip install --no-deps norse==1.1.0"
        self.norse = pytest.importorskip("norse.torch", reason=reason)
        self.box = pytest.importorskip("norse.torch.module.lif_box", reason=reason)

    def test_lif_box(self, start: float) -> None:
        p = self.box.LIFBoxParameters(
            torch.tensor(500.0), torch.tensor(start), torch.tensor(threshold(1))
        )
        assert_starts(self.norse.SequentialState(nn.Linear(20, 16), self.box.LIFBoxCell(p)), start)

    def test_lif(self, start: float) -> None:
        p = self.norse.LIFParameters(
            tau_syn_inv=torch.tensor(500.0),
            tau_mem_inv=torch.tensor(250.0),
            v_leak=torch.tensor(start),
            v_th=torch.tensor(threshold(1)),
        )
        assert_starts(self.norse.SequentialState(nn.Linear(20, 16), self.norse.LIFCell(p)), start)

    def test_iaf(self, start: float) -> None:
        p = self.norse.IAFParameters(torch.tensor(threshold(1)), torch.tensor(start))
        assert_starts(self.norse.SequentialState(nn.Linear(20, 16), self.norse.IAFCell(p)), start)

    def test_a_readout_from_another_value_is_refused(self, start: float) -> None:
        box = pytest.importorskip("norse.torch.module.leaky_integrator_box")
        p = box.LIBoxParameters(torch.tensor(250.0), torch.tensor(start))
        module = self.norse.SequentialState(nn.Linear(20, 16), box.LIBoxCell(p))
        with pytest.raises(LoweringError, match="starts at v_leak"):
            trace(module, spikes(4, 20))


@pytest.mark.parametrize("start", STARTS)
class TestSpikingjelly:
    """Every neuron at v_reset."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        reason = "pip install --no-deps spikingjelly==2.0.0"
        self.neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)

    @pytest.mark.parametrize("kind", ["IF", "LIF", "LIF decay", "PLIF", "CUBALIF"])
    def test_neurons(self, kind: str, start: float) -> None:
        level, neuron = threshold(1), self.neuron
        node = {
            "IF": lambda: neuron.IFNode(level, start),
            "LIF": lambda: neuron.LIFNode(2.0, False, level, start),
            "LIF decay": lambda: neuron.LIFNode(2.0, True, level, start),
            "PLIF": lambda: neuron.ParametricLIFNode(2.0, False, level, start),
            "CUBALIF": lambda: neuron.CUBALIFNode(0.5, 0.5, level, start),
        }[kind]()
        assert_starts(nn.Sequential(nn.Linear(20, 16), node), start)
