"""Calls in forward() that mean something else than the layer they look like are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from spikewright.export.ir import InputError, LoweringError
from spikewright.export.trace import trace
from spikewright.sim.reference import Reference
from spikewright.trainer.neurons import IF

Forward = Callable[[Any, torch.Tensor], torch.Tensor]


class Written(nn.Module):
    """A module whose forward() is given; `a` and `b` are layers of 6 features."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.n, self.p = nn.Linear(6, 6), nn.Linear(6, 6), IF(), nn.MaxPool1d(2)
        self.gain = nn.Parameter(torch.rand(1, 3, 1))
        self.written = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.written(self, x)


def twice_in_place(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    return y.add_(x) + y


REFUSED: dict[str, tuple[Forward, str]] = {
    "rounding": (lambda m, x: torch.div(m.a(x), 2, rounding_mode="floor"), "rounds"),
    "swapped": (lambda m, x: m.a(x.permute(1, 0, 2, 3)), "permutes the batch or time"),
    "reshaped": (lambda m, x: m.a(x).reshape(2, 4, 3, 6), "mixing batch or time"),
    "kept": (lambda m, x: m.a(x).mean(0, keepdim=True), "keepdim"),
    "neuron": (lambda m, x: m.n(m.a(x).mean(0)), "IF behind a mean over time"),
    "pool": (lambda m, x: m.p(m.a(x).mean(0)), "MaxPool1d behind a mean over time"),
    "mixed": (lambda m, x: m.a(x) + m.b(x).mean(0), "adds a mean over time"),
    "dropout": (lambda m, x: functional.dropout(m.a(x), 0.5), "stays on"),
    "relu": (lambda m, x: functional.relu(m.a(x)), "'relu'; put a spiking neuron there"),
    "summed over another axis": (lambda m, x: m.a(x).sum(-1), "other axes than time"),
    "a bias behind a sum": (lambda m, x: m.b(m.n(m.a(x)).sum(0)), "a bias behind a sum"),
    "a sum and a mean": (lambda m, x: m.a(x).sum(0) + m.b(x).mean(0), "adds a mean over time"),
    "keyword": (lambda m, x: m.a(input=x), "pass one tensor"),
    "overwritten": (twice_in_place, "read again"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    forward, says = REFUSED[name]
    with pytest.raises(LoweringError) as caught:
        trace(Written(forward), torch.rand(4, 2, 3, 6), multi_step=True)
    assert says in str(caught.value)
    assert caught.value.node and caught.value.remedy


def in_place(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.a(x)
    y += x
    return y


TRACED: dict[str, Forward] = {
    "unused branch": lambda m, x: (m.b(x), m.a(x))[1],
    "factor with an axis for the batch": lambda m, x: m.a(x) * m.gain,
    "overwritten, not read again": in_place,
    "dropout switched off": lambda m, x: functional.dropout(m.a(x), 0.5, training=m.training),
}


@pytest.mark.parametrize("name", TRACED)
def test_traced(name: str) -> None:
    module = Written(TRACED[name]).eval()
    x = torch.rand(2, 3, 6)
    graph = trace(module, x, readout="none", multi_step=False)
    with torch.no_grad():
        wanted = module(x).numpy()
    found = Reference(np.float64).prepare(graph).run(x.numpy()[None]).output[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_affine_layers_behind_a_mean_over_time_add_up_to_it() -> None:
    module = Written(lambda m, x: m.b(m.a(x).mean(0)))
    x = torch.rand(4, 2, 3, 6)
    with torch.no_grad():
        wanted = module(x).numpy()
    found = Reference(np.float64).prepare(trace(module, x, multi_step=True)).run(x.numpy())
    np.testing.assert_allclose(found.output[-1] / 4, wanted, rtol=1e-5, atol=1e-6)


def test_a_sum_over_time_is_what_the_readout_adds_up_to() -> None:
    module = Written(lambda m, x: m.gain * (m.a(x) + m.b(x)).sum(0))
    x = torch.rand(4, 2, 3, 6)
    with torch.no_grad():
        wanted = module(x).numpy()
    graph = trace(module, x, multi_step=True)
    found = Reference(np.float64).prepare(graph).run(x.numpy())
    assert graph.metadata["returns"] == "sum"
    np.testing.assert_allclose(found.output[-1], wanted, rtol=1e-5, atol=1e-6)


class Describing(nn.Module):
    """A layer of the user's own, which does not say whether it takes a time axis."""

    def to_node(self, shape: tuple[int, ...]) -> Any:
        return IF().to_node(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 1).to(x.dtype)


def test_a_layer_that_describes_itself_says_whether_it_takes_a_time_axis() -> None:
    with pytest.raises(LoweringError, match="attribute multi_step = True") as caught:
        trace(nn.Sequential(nn.Linear(6, 6), Describing()), torch.rand(4, 2, 6))
    assert caught.value.node == "1"


def test_the_example_input_is_one_tensor() -> None:
    with pytest.raises(InputError, match="is a tuple, one tensor is needed"):
        trace(nn.Sequential(nn.Linear(6, 6), IF()), (torch.rand(4, 2, 6),))
