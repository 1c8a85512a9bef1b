"""What a user's layers hold: a lowering leaves it, and what changes a later call is refused."""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import LoweringError, Neuron
from spikewright.export.ir.errors import AgreementWarning

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from spikewright.trainer.neurons import LIF  # noqa: E402


class OwnIF(nn.Module):
    """An integrate-and-fire neuron that keeps its potential as an attribute."""

    multi_step = False

    def __init__(self) -> None:
        super().__init__()
        self.v: Any = 0.0

    def forward(self, x: Any) -> Any:
        self.v = self.v + x
        spikes = (self.v >= 1).float()
        self.v = self.v - spikes
        return spikes

    def to_node(self, shape: tuple[int, ...]) -> Neuron:
        return Neuron(shape, np.ones(()), beta=np.ones(()), compare=">=", reset="soft")


class Resettable(OwnIF):
    def reset(self) -> None:
        self.v = 0.0


class Logged(nn.Module):
    """Notes what it computes; nothing that it returns depends on it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.seen: list[Any] = []
        self.last: deque[Any] = deque(maxlen=2)
        self.by_name: dict[str, Any] = {}
        self.calls = 0
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        self.seen.append(y)
        self.last.append(y)
        self.by_name["y"] = y
        self.calls += 1
        return y


class Fading(nn.Module):
    """Multi-step, and weaker at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = LIF()
        self.gain = 4.0

    def forward(self, x: Any) -> Any:
        out = self.lif(x * self.gain)
        self.gain = 0.5 * self.gain
        return out


class Averaging(nn.Module):
    """Takes away what it saw so far: another call is another answer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        out = y - self.mean
        self.mean += 0.5
        return out


def sample() -> Any:
    return 2 * torch.rand(2, 3, generator=torch.Generator().manual_seed(0))


def own(neuron: nn.Module) -> Any:
    net = nn.Sequential(nn.Linear(3, 4), neuron)
    with torch.no_grad():
        net[0].weight.fill_(0.4)
    return net


def test_a_module_is_lowered_again_and_left_as_it_was() -> None:
    net = own(OwnIF())
    state = deepcopy(net.state_dict())
    first = sw.lower(net, sample(), level="float")
    assert net[1].v == 0.0 and net.training
    second = sw.lower(net, sample(), level="float")
    assert first.metadata["agreement"]["spike_rate"] > 0
    assert [n.kind for n in first.nodes.values()] == [n.kind for n in second.nodes.values()]
    assert all(
        torch.equal(a, b) for a, b in zip(state.values(), net.state_dict().values(), strict=True)
    )


def test_a_layer_with_a_reset_is_compared_from_rest() -> None:
    net = own(Resettable())
    net(sample())
    left = net[1].v
    assert sw.agreement(net, sample(), time_steps=5).fault is None
    assert net[1].v is left


def test_what_is_only_noted_is_followed_and_put_back() -> None:
    net = Logged()
    sw.lower(net, sample(), level="float")
    assert net.seen == [] and not net.last and net.by_name == {} and net.calls == 0


def test_random_numbers_are_not_drawn() -> None:
    net, x = own(OwnIF()), sample()
    state = torch.get_rng_state()
    sw.lower(net, x, level="float")
    assert torch.equal(state, torch.get_rng_state())


def test_state_between_calls_is_refused_by_its_name() -> None:
    net: Any = Averaging()
    steps = torch.rand(4, 2, 3)
    with pytest.raises(LoweringError):
        sw.lower(net, steps[0], level="float", time_steps=4)
    assert not net.mean.any()


def test_a_multi_step_module_that_remembers_is_refused_by_its_attribute() -> None:
    net = Fading()
    with pytest.raises(LoweringError, match="gain: keeps state between calls"):
        sw.lower(net, torch.rand(4, 2, 3) + 0.3, level="float")
    assert net.gain == 4.0


def test_silence_in_the_comparison_is_said() -> None:
    net = own(OwnIF())
    with pytest.warns(AgreementWarning, match="no neuron spiked in the comparison"):
        graph = sw.lower(net, 0 * sample() - 5, level="float", time_steps=3)
    assert graph.metadata["agreement"]["silent"] == list(graph.neurons)
    with pytest.warns(AgreementWarning, match="no neuron spiked"):
        found = sw.agreement(net, 0 * sample() - 5, time_steps=3)
    assert "never spiked" in str(found)
