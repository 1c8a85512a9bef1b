"""Recurrence and containers of other frameworks: equal to their own run, or refused by name.

Weights and thresholds as in `test_foreign`. What is in a framework and not in our tables is refused
with the list of what is taken: its public layers are enumerated.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.containers import CONTAINERS
from spikewright.export.foreign import LAYERS, LOOKED_INTO, NETWORKS, NEURONS
from spikewright.export.foreign_state import kept_state
from spikewright.export.ir import LoweringError
from spikewright.export.torch_layers import rule_of
from spikewright.export.trace import trace
from spikewright.sources import trace_module

from .test_foreign import GRID, assert_equal, filled, spikes, threshold

torch = pytest.importorskip("torch")
nn = torch.nn


def weights(*shape: int) -> Any:
    codes = torch.randint(-24, 33, shape, generator=torch.Generator().manual_seed(5))
    return codes.float() * GRID


def assert_same_output(module: Any, x: Any, time: int = 0) -> None:
    """The float graph's output is the module's own at every step."""
    module = filled(module)
    graph = trace(module, x, encoding="spikes")
    with torch.no_grad(), kept_state(module):
        own = module(x)
    own = own[0] if isinstance(own, tuple) else own
    samples = x.transpose(0, 1) if time == 0 else x
    found = sw.run(graph, samples.numpy(), executor="reference").output
    assert own.any() and np.allclose(found, np.moveaxis(own.numpy(), time, 0), atol=1e-5)


def test_known_classes_are_listed_once() -> None:
    assert not set(NEURONS) & set(CONTAINERS) and not set(LAYERS) & set(CONTAINERS)


class TestNorse:
    """LIFRecurrent, LICell and Lift."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        reason = "pip install --no-deps norse==1.1.0"
        self.norse = pytest.importorskip("norse.torch", reason=reason)
        self.p = self.norse.LIFParameters(
            torch.tensor(500.0), torch.tensor(250.0), v_th=torch.tensor(threshold(1))
        )
        self.own = {"input_weights": weights(16, 20), "recurrent_weights": weights(16, 16) / 4}

    @pytest.mark.parametrize("autapses", [True, False])
    def test_recurrent_cell(self, autapses: bool) -> None:
        cell = self.norse.LIFRecurrentCell(20, 16, self.p, autapses=autapses, **self.own)
        assert_equal(self.norse.SequentialState(cell), spikes(4, 20), time_steps=20)

    def test_recurrent_over_time(self) -> None:
        layer = self.norse.LIFRecurrent(20, 16, self.p, **self.own)
        module = self.norse.SequentialState(layer, nn.Linear(16, 5), self.norse.LIF(self.p))
        assert_equal(module, spikes(20, 4, 20))

    def test_readout_with_a_synaptic_current(self) -> None:
        p = self.norse.LIParameters(torch.tensor(500.0), torch.tensor(250.0))
        layers = nn.Linear(20, 16), self.norse.LIF(self.p), nn.Linear(16, 5)
        module = self.norse.SequentialState(*layers, self.norse.LI(p))
        assert_same_output(module, spikes(20, 4, 20))

    def test_readout_cell_in_a_loop(self) -> None:
        norse, lif = self.norse, self.norse.LIFCell(self.p)
        p = norse.LIParameters(torch.tensor(500.0), torch.tensor(250.0))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc1, self.lif, self.out = nn.Linear(20, 16), lif, norse.LILinearCell(16, 5, p)

            def forward(self, x: Any) -> Any:
                s1 = s2 = None
                voltages = []
                for step in range(x.shape[0]):
                    z, s1 = self.lif(self.fc1(x[step]), s1)
                    v, s2 = self.out(z, s2)
                    voltages.append(v)
                return torch.stack(voltages)

        assert_same_output(Net(), spikes(20, 4, 20))

    def test_lift(self) -> None:
        norse = self.norse
        module = norse.SequentialState(
            norse.Lift(nn.Conv2d(3, 4, 3, padding=1)), norse.LIF(self.p), norse.Lift(nn.Flatten()),
            norse.Lift(nn.Linear(144, 8)), norse.LIF(self.p),
        )  # fmt: skip
        assert_equal(module, spikes(10, 2, 3, 6, 6))

    def test_others_are_refused(self) -> None:
        assert_refused("norse", self.norse)


class TestSinabs:
    """Recurrent layers, whose connection acts from the second step on."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        reason = "pip install --no-deps sinabs==3.1.3"
        self.sl = pytest.importorskip("sinabs.layers", reason=reason)

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("kind", ["LIF", "LIF, norm_input", "IAF"])
    def test_recurrent(self, kind: str, bias: bool) -> None:
        back, th = nn.Linear(16, 16, bias=bias), torch.tensor(threshold(2))
        tau = 1 / np.log(2)
        if kind == "IAF":
            layer = self.sl.IAFRecurrent(back, th, min_v_mem=-4.0)
        else:
            layer = self.sl.LIFRecurrent(
                tau, back, spike_threshold=th / 2, norm_input="norm" in kind, train_alphas=True
            )
            layer.alpha_mem.data.fill_(0.5)
        module = filled(nn.Sequential(nn.Linear(20, 16), layer))
        back.weight.data /= 8
        found = sw.agreement(module, spikes(4, 20, 20))
        assert found.equal and found.spike_rate > 0.05, found

    def test_a_connection_with_another_shape(self) -> None:
        back = nn.Sequential(nn.Flatten(), nn.Linear(36, 36))
        layer = self.sl.IAFRecurrent(back, torch.tensor(threshold(2)))
        module = filled(nn.Sequential(nn.Unflatten(2, (1, 6, 6)), layer))
        back[1].weight.data /= 16
        found = sw.agreement(module, spikes(2, 12, 36))
        assert found.equal and found.spike_rate > 0.05, found

    def test_a_bias_behind_a_synaptic_current_is_refused(self) -> None:
        layer = self.sl.LIFRecurrent(4.0, nn.Linear(16, 16), tau_syn=3.0)
        with pytest.raises(LoweringError, match="with a bias, and tau_syn"):
            trace(nn.Sequential(nn.Linear(20, 16), layer), spikes(2, 8, 20))

    def test_others_are_refused(self) -> None:
        assert_refused("sinabs", self.sl)


class TestSpikingjelly:
    """Containers in single step and multi-step mode."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        reason = "pip install --no-deps spikingjelly==2.0.0"
        self.neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
        self.layer = pytest.importorskip("spikingjelly.activation_based.layer", reason=reason)

    def lif(self, level: float = 1.0) -> Any:
        return self.neuron.LIFNode(2.0, True, threshold(level), v_reset=None)

    @pytest.mark.parametrize("mode", ["s", "m"])
    @pytest.mark.parametrize("bias", [True, False])
    def test_linear_recurrent(self, mode: str, bias: bool) -> None:
        inner = nn.Sequential(nn.Linear(6, 16), self.lif())
        module = nn.Sequential(
            self.layer.Linear(20, 6, step_mode=mode),
            self.layer.LinearRecurrentContainer(inner, 6, 16, bias, step_mode=mode),
        )
        lead = (4,) if mode == "s" else (20, 4)
        assert_equal(module, spikes(*lead, 20), time_steps=20)

    @pytest.mark.parametrize("function", [lambda x, y: x + y, operator.add, torch.add])
    def test_element_wise_recurrent(self, function: Any) -> None:
        container = self.layer.ElementWiseRecurrentContainer(self.lif(), function, "m")
        module = nn.Sequential(self.layer.Linear(20, 16, step_mode="m"), container)
        assert_equal(module, spikes(20, 4, 20))

    def test_another_function_is_refused(self) -> None:
        layer = self.layer.ElementWiseRecurrentContainer(self.lif(), lambda x, y: x * y, "m")
        with pytest.raises(LoweringError, match="another function than an addition"):
            trace(nn.Sequential(layer), spikes(20, 4, 20))

    def test_layers_at_every_step(self) -> None:
        layer = self.layer
        module = nn.Sequential(
            layer.SeqToANNContainer(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(2)),
            layer.MultiStepContainer(self.lif(0.5), nn.Flatten(), nn.Linear(36, 10), self.lif(0.5)),
            layer.StepModeContainer(True, "m", nn.Linear(10, 20), self.lif(0.5)),
        )
        found = assert_equal(module, spikes(20, 4, 3, 6, 6))
        assert len(found.by_neuron) == 3

    @pytest.mark.parametrize("how", ["repeat", "expand", "repeat the picture"])
    def test_one_picture_for_all_steps(self, how: str) -> None:
        functional = pytest.importorskip("spikingjelly.activation_based.functional")
        layer, lif = self.layer, self.lif

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3, padding=1)
                rest = lif(0.5), layer.Flatten(), layer.Linear(144, 10), lif(0.5)
                self.rest = nn.Sequential(*rest)
                functional.set_step_mode(self.rest, "m")

            def forward(self, x: Any) -> Any:
                if how == "repeat the picture":
                    x = x.unsqueeze(0).repeat(12, 1, 1, 1, 1)
                    return self.rest(functional.seq_to_ann_forward(x, self.conv)).mean(0)
                y = self.conv(x).unsqueeze(0)
                y = y.repeat(12, 1, 1, 1, 1) if how == "repeat" else y.expand(12, -1, -1, -1, -1)
                return self.rest(y).mean(0)

        module, x = filled(Net()), spikes(4, 3, 6, 6)
        assert_equal(module, x)
        graph = sw.lower(module, x, level="float")
        with torch.no_grad(), kept_state(module):
            own = module(x).numpy()
        assert graph.metadata["time_steps"] == 12 and graph.input.shape == (3, 6, 6)
        spiking = sw.lower(module, x, level="float", encoding="spikes")
        frames = np.repeat(x.numpy()[:, None], 12, axis=1)
        found = sw.run(spiking, frames, executor="reference").output[-1]
        assert np.allclose(found / 12, own, atol=1e-5) and own.any()
        again = trace_module(module, (3, 6, 6), None, None, {})
        assert again.metadata["time_steps"] == 12

    def test_a_neuron_before_the_repetition_is_refused(self) -> None:
        first, rest = self.lif(), self.neuron.IFNode(step_mode="m")

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.rest = first, rest

            def forward(self, x: Any) -> Any:
                return self.rest(self.first(x).unsqueeze(0).repeat(4, 1, 1))

        with pytest.raises(LoweringError, match="fires once, before"):
            trace(Net(), spikes(4, 20))

    def test_voting(self) -> None:
        layer, lif = self.layer, self.neuron.IFNode(threshold(1), None, step_mode="m")
        module = filled(
            nn.Sequential(layer.Linear(20, 30, step_mode="m"), lif, layer.VotingLayer(10, "m"))
        )
        x = spikes(20, 4, 20)
        graph = trace(module, x, encoding="spikes")
        with torch.no_grad(), kept_state(module):
            own = module(x).numpy().cumsum(0)
        found = sw.run(graph, x.transpose(0, 1).numpy(), executor="reference").output
        assert np.allclose(found, own, atol=1e-4) and own.any()

    def test_others_are_refused(self) -> None:
        assert_refused("spikingjelly", self.neuron)
        assert_refused("spikingjelly", self.layer)


class TestSnntorch:
    """What its package holds, and subclasses of a user's own."""

    def test_a_subclass_is_its_parent_if_it_computes_the_same(self) -> None:
        snntorch = pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0")

        class Mine(snntorch.Leaky):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__(beta=0.5, threshold=threshold(1), init_hidden=True)

        class Other(Mine):
            def forward(self, x: Any, mem: Any = None) -> Any:
                return super().forward(2 * x, mem)

        assert_equal(nn.Sequential(nn.Linear(20, 16), Mine()), spikes(4, 20), time_steps=20)
        with pytest.raises(LoweringError, match="no rule for the layer Other") as caught:
            trace(nn.Sequential(nn.Linear(20, 16), Other()), spikes(4, 20))
        assert str(caught.value.remedy).startswith("known: Leaky, Synaptic")

    def test_others_are_refused(self) -> None:
        snntorch = pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0")
        listed = snntorch.SpikingNeuron.instances
        snntorch.SpikingNeuron.instances = []  # snntorch resets every neuron that was ever made
        try:
            assert_refused("snntorch", snntorch)
        finally:
            snntorch.SpikingNeuron.instances = listed


TRIES: tuple[Callable[[Any], Any], ...] = (
    lambda cls: cls(),
    lambda cls: cls(4, 4),
    lambda cls: cls(0.5),
    lambda cls: cls(0.5, 0.5),
    lambda cls: cls(4, 4, 3),
    lambda cls: cls(nn.Linear(4, 4)),
    lambda cls: cls(init_hidden=True, beta=0.5),
    lambda cls: cls(alpha=0.9, beta=0.5, init_hidden=True),
    lambda cls: cls(batch_size=2),
    lambda cls: cls(tau_mem=2.0, rec_connect=nn.Linear(4, 4)),
    lambda cls: cls(tau_mem=2.0, batch_size=2),
)


def assert_refused(package: str, place: Any) -> None:
    """Every layer of a module that no table has is refused by name, with what is taken."""
    known = {*NEURONS, *LAYERS, *CONTAINERS, *LOOKED_INTO}
    seen = 0
    for name, cls in inspect.getmembers(place, inspect.isclass):
        if not issubclass(cls, nn.Module) or f"{package}.{name}" in known:
            continue
        if not cls.__module__.startswith(package) or cls.__module__.startswith(NETWORKS):
            continue
        layer = built(cls)
        if layer is None or rule_of(layer) is not None:
            continue
        seen += 1
        module = nn.Sequential(nn.Linear(4, 4), layer)
        with pytest.raises(LoweringError, match=name) as caught:
            trace(module, spikes(2, 2, 4))
        assert "known: " in str(caught.value), name
    assert seen > 3


def built(cls: Any) -> Any:
    for attempt in TRIES:
        try:
            return attempt(cls)
        except Exception:  # another signature
            continue
    return None
