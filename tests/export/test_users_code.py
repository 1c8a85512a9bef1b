"""Errors of a user's own code: each is one line of the library's that names the module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Neuron

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from spikewright.trainer.neurons import IF, LIF  # noqa: E402


class Own(nn.Module):
    """A neuron of a user's, whose to_node() is another function's answer."""

    multi_step: Any = False

    def __init__(self, node: Callable[[Any], Any]) -> None:
        super().__init__()
        self.node = node

    def forward(self, x: Any) -> Any:
        return (x > 1).float()

    def to_node(self, shape: Any) -> Any:
        return self.node(shape)


class Unready(Own):
    def reset(self) -> None:
        raise ValueError("cannot reset")


class Lost(Own):
    @property
    def multi_step(self) -> bool:  # type: ignore[override]
        raise KeyError("multi_step")


class Returns(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.linear, self.value = nn.Linear(6, 6), value

    def forward(self, x: Any) -> Any:
        return self.value(self.linear(x))


def raising(error: Exception) -> Callable[[Any], Any]:
    def call(_: Any) -> Any:
        raise error

    return call


def node(shape: Any) -> Neuron:
    return Neuron(shape, np.ones(()))


MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "to_node raises": (lambda: Own(raising(KeyError("k"))), "1: no rule takes this call"),
    "to_node of nothing": (lambda: Own(lambda shape: None), "returns a NoneType"),
    "to_node of a text": (lambda: Own(str), "returns a str"),
    "to_node of another shape": (lambda: Own(lambda _: node((7,))), "declared shape (7,)"),
    "reset raises": (lambda: Unready(node), "ValueError: cannot reset"),
    "a property raises": (lambda: Lost(node), "KeyError: 'multi_step'"),
    "forward raises": (lambda: Returns(raising(RuntimeError("a\nb"))), "Returns: a;"),
    "forward of nothing": (lambda: Returns(lambda y: None), "does not return a tensor"),
    "forward of a text": (lambda: Returns(str), "does not return a tensor"),
    "no forward": (nn.Module, "torch.fx cannot follow"),
}


@pytest.mark.parametrize("name", MODULES)
def test_an_error_of_a_users_code_names_its_module(name: str) -> None:
    made, said = MODULES[name]
    net, x = nn.Sequential(nn.Linear(6, 6), made()), torch.rand(2, 6)
    for call in (lambda: sw.lower(net, x, level="float"), lambda: sw.agreement(net, x)):
        with pytest.raises(sw.SpikewrightError) as error:
            call()
        assert "\n" not in str(error.value)
        assert said in str(error.value), str(error.value)


@pytest.mark.parametrize("x", [torch.tensor(1.0), torch.rand(4, 0, 6), torch.rand(4, 2, 7)])
def test_an_example_that_a_module_cannot_take_is_one_line(x: Any) -> None:
    with pytest.raises(sw.SpikewrightError):
        sw.lower(nn.Sequential(nn.Linear(6, 3), LIF()), x, level="float")


class FixedBatch(nn.Module):
    def __init__(self, batch: int) -> None:
        super().__init__()
        self.linear, self.lif, self.batch = nn.Linear(6, 8), IF(), batch

    def forward(self, x: Any) -> Any:
        return self.lif(self.linear(x.view(-1, self.batch, 6)))


@pytest.mark.parametrize("batch", [8, 16])
def test_a_batch_that_forward_fixes_is_run_whole(batch: int) -> None:
    graph = sw.lower(FixedBatch(batch), 3 * torch.rand(4, batch, 6), level="float")
    assert graph.metadata["agreement"]["spike_rate"] > 0


def test_weights_that_are_not_made_yet_are_refused_and_stay_so() -> None:
    net = nn.Sequential(nn.LazyLinear(8), LIF())
    with pytest.raises(sw.SpikewrightError, match="weights of LazyLinear are not made yet"):
        sw.lower(net, torch.rand(4, 2, 6), level="float")
    assert isinstance(net[0], nn.LazyLinear)
    net(torch.rand(4, 2, 6))
    assert sw.lower(net, torch.rand(4, 2, 6), level="float").level == "float"
