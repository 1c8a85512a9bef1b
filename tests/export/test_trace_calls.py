"""Calls in forward() that mean something else than the layer they look like are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import spikewright as sw
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
    "swapped": (lambda m, x: m.n(m.a(x).permute(1, 0, 2, 3)), "permutes the batch or time"),
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


class OneStep(Written):
    """The same without a neuron: it takes [batch, ...]."""

    def __init__(self, forward: Forward) -> None:
        super().__init__(forward)
        del self.n


BY_NAME: dict[str, Forward] = {
    "linear": lambda m, x: functional.linear(input=x, weight=m.a.weight, bias=m.a.bias),
    "mean": lambda m, x: torch.mean(input=m.a(x), dim=-1),
    "flatten": lambda m, x: torch.flatten(input=m.a(x), start_dim=1),
    "add": lambda m, x: torch.add(input=m.a(x), other=m.b(x)),
    "added, the other first": lambda m, x: torch.add(other=m.a(x), input=m.b(x)),
    "mul": lambda m, x: torch.mul(input=m.a(x), other=0.5),
    "transpose": lambda m, x: torch.transpose(input=m.a(x), dim0=1, dim1=2),
    "matmul": lambda m, x: torch.matmul(input=x, other=m.a.weight),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_first_tensor_by_name_is_taken_as_by_place(name: str) -> None:
    module = OneStep(BY_NAME[name])
    x = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(2))
    graph = trace(module, x, multi_step=False)
    ours = sw.run(graph, x.numpy(), executor="reference", time_steps=1).output
    with torch.no_grad():
        theirs = module(x).numpy()
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=1e-5, atol=1e-6)


def test_any_error_of_a_rule_or_a_to_node_names_its_place() -> None:
    class Odd(nn.Identity):
        multi_step = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return 2 * x

        def to_node(self, shape: Any) -> Any:
            return {}["missing"]

    with pytest.raises(LoweringError, match=r"no rule takes this call.*KeyError") as caught:
        trace(nn.Sequential(nn.Linear(6, 6), Odd()), torch.rand(2, 6))
    assert caught.value.node == "1" and isinstance(caught.value.__cause__, KeyError)


EXAMPLES: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "empty": (lambda: torch.rand(0, 6), "is empty"),
    "sparse": (lambda: torch.rand(2, 6).to_sparse(), r"to_dense\(\)"),
    "meta": (lambda: torch.rand(2, 6, device="meta"), "device meta"),
    "NaN": (lambda: torch.full((2, 6), float("nan")), "12 of 12 values .* NaN or infinite"),
    "infinite": (lambda: torch.full((2, 6), float("inf")), "12 of 12 values .* NaN or infinite"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_without_usable_values_is_refused(name: str) -> None:
    example, said = EXAMPLES[name]
    for door in (sw.lower, sw.agreement):
        with pytest.raises(InputError, match=r"example input|sample|values|meta|layout"):
            door(OneStep(lambda m, x: m.a(x)), example())
    with pytest.raises(InputError, match=said):
        trace(OneStep(lambda m, x: m.a(x)), example(), multi_step=False)


@pytest.mark.parametrize("kind", ["meta", "sparse"])
def test_samples_without_values_are_refused(kind: str) -> None:
    graph = sw.lower(OneStep(lambda m, x: m.a(x)), torch.rand(2, 6), level="float", time_steps=2)
    x = torch.rand(2, 6, device="meta") if kind == "meta" else torch.rand(2, 6).to_sparse()
    with pytest.raises(InputError, match=kind):
        sw.run(graph, x, time_steps=2)
