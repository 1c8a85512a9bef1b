"""A layer's own forward() and hooks enter the graph, or are refused by the layer's name."""

# Layers of users name the input as they like, and torch declares hooks and buffers loosely.
# pyright: reportIncompatibleMethodOverride=false, reportOperatorIssue=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from spikewright.export.ir import Graph, LoweringError
from spikewright.export.trace import trace
from spikewright.sim.reference import Reference
from spikewright.trainer.layers import SeqConv2d
from spikewright.trainer.neurons import IF, LIF


def computed(module: nn.Module, x: torch.Tensor) -> tuple[np.ndarray[Any, Any], Graph]:
    """Return what the graph of `module` computes of x [batch, ...] in one step, and the graph."""
    graph = trace(module, x)
    return Reference(np.float64).prepare(graph).step(x.numpy()), graph


def assert_followed(module: nn.Module, x: torch.Tensor) -> None:
    """Assert that one step of the graph is what the module returns."""
    ours, _ = computed(module.eval(), x)
    with torch.no_grad():
        np.testing.assert_allclose(ours, module(x).numpy(), rtol=1e-5, atol=1e-6)


class Half(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * super().forward(x)


class Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        w = w / (w.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return functional.conv2d(
            x, w, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Masked(nn.Conv2d):
    """Its `_conv_forward` is another: forward() itself is the parent's."""

    mask: torch.Tensor

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_buffer("mask", (torch.rand_like(self.weight) > 0.5).float())

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> torch.Tensor:
        return super()._conv_forward(input, weight * self.mask, bias)


class Binary(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight.abs().mean()
        return functional.linear(x, self.weight.sign() * scale, self.bias)


class Called(nn.Linear):
    """Replaces __call__, not forward()."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(3 * x)


class Named(nn.Linear):
    """Changes nothing that enters its values."""

    def extra_repr(self) -> str:
        return "named"

    def other(self) -> None:
        """A method that the parent does not have."""


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.rand(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (2 * self.matrix)


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def parametrised(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


def replaced() -> nn.Module:
    layer = nn.Linear(6, 4)
    layer.forward = lambda x: functional.linear(x, 3 * layer.weight)  # type: ignore[method-assign]
    return layer


def hooked(before: bool = False, keywords: bool = False) -> nn.Module:
    layer = nn.Linear(6, 4)
    if before and keywords:
        layer.register_forward_pre_hook(
            lambda module, args, kwargs: ((0.5 * args[0],), kwargs), with_kwargs=True
        )
    elif before:
        layer.register_forward_pre_hook(lambda module, args: 0.5 * args[0])
    else:
        layer.register_forward_hook(lambda module, args, output: 0.5 * output)
    return layer


def pruned() -> nn.Module:
    layer = nn.Linear(6, 4)
    prune.random_unstructured(layer, "weight", amount=0.5)
    return layer


def stale_pruned() -> nn.Module:
    """The weights that a pre-hook makes are made anew at each call: those it left are of no use."""
    layer = nn.Linear(6, 4)
    prune.random_unstructured(layer, "weight", amount=0.5)
    with torch.no_grad():
        layer.weight_orig *= 3
    return layer


def quantisation_aware(kind: Any, *args: int) -> nn.Module:
    config = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    layer = kind(*args, qconfig=config)
    layer(torch.rand(2, *({4: (6,)}.get(args[1], (3, 8, 8)))))
    layer.apply(torch.ao.quantization.disable_observer)
    return layer  # type: ignore[no-any-return]


FLAT: dict[str, Callable[[], nn.Module]] = {
    "half": lambda: Half(6, 4),
    "binary": lambda: Binary(6, 4),
    "called": lambda: Called(6, 4),
    "named": lambda: Named(6, 4),
    "product": Product,
    "replaced forward": replaced,
    "hook": hooked,
    "pre-hook": lambda: hooked(before=True),
    "pre-hook with keywords": lambda: hooked(before=True, keywords=True),
    "parametrised": lambda: parametrised(nn.Linear(6, 4)),
    "parametrised subclass": lambda: parametrised(Half(6, 4)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 4)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(6, 4)),
    "weight norm by a hook": lambda: weight_norm(nn.Linear(6, 4)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 4)),
    "spectral norm by a hook": lambda: spectral_norm(nn.Linear(6, 4)),
    "pruned": pruned,
    "pruned, its weights changed since": stale_pruned,
    "quantisation-aware": lambda: quantisation_aware(torch.ao.nn.qat.Linear, 6, 4),
}
MAPS: dict[str, Callable[[], nn.Module]] = {
    "standardised": lambda: Standardised(3, 5, 3, padding=1, stride=2),
    "grouped": lambda: Standardised(3, 6, 3, groups=3, dilation=2),
    "same": lambda: Standardised(3, 6, 3, padding="same"),
    "masked": lambda: Masked(3, 5, 3),
    "parametrised": lambda: parametrised(nn.Conv2d(3, 5, 3)),
    "quantisation-aware": lambda: quantisation_aware(torch.ao.nn.qat.Conv2d, 3, 5, 3),
}


@pytest.mark.filterwarnings("ignore")  # torch calls some of its own ways deprecated
@pytest.mark.parametrize("within", ["alone", "in a container"])
@pytest.mark.parametrize("name", FLAT)
def test_layer_is_followed(name: str, within: str) -> None:
    torch.manual_seed(0)
    layer = FLAT[name]().eval()
    module = layer if within == "alone" else nn.Sequential(layer, nn.Linear(4, 2))
    assert_followed(module, torch.rand(3, 6))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAPS)
def test_convolution_is_followed(name: str) -> None:
    torch.manual_seed(0)
    assert_followed(nn.Sequential(MAPS[name]().eval()), torch.rand(2, 3, 8, 8))


def test_hooks_of_containers_and_of_the_root() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(6, 4))
    inner.register_forward_hook(lambda module, args, output: 2 * output)
    root = nn.Sequential(inner, nn.Linear(4, 2))
    root.register_forward_pre_hook(lambda module, args: (3 * args[0],))
    root.register_forward_hook(lambda module, args, output: 5 * output)
    assert_followed(root, torch.rand(3, 6))


def test_hooks_of_all_modules() -> None:
    hook = torch_module.register_module_forward_hook(lambda module, args, output: 0.5 * output)
    try:
        assert_followed(nn.Sequential(nn.Linear(6, 4)), torch.rand(3, 6))
    finally:
        hook.remove()


def test_forward_that_an_object_was_given() -> None:
    module = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    module.forward = lambda x: module[1](x)  # type: ignore[method-assign]
    assert_followed(module, torch.rand(3, 6))
    assert list(computed(module, torch.rand(3, 6))[1].nodes) == ["input", "1", "output"]


def test_hook_that_only_notes_leaves_the_graph_as_it_is() -> None:
    module, seen = nn.Sequential(nn.Linear(6, 4)), []
    module[0].register_forward_hook(lambda m, args, output: seen.append(output.detach().mean()))
    ours, graph = computed(module, torch.rand(3, 6))
    assert list(graph.nodes) == ["input", "0", "output"]
    assert ours.shape == (3, 4)


def test_hooks_of_neurons() -> None:
    """Spikes that a hook weighs are weighed in the graph."""
    neuron = IF()
    neuron.register_forward_hook(lambda module, args, output: 2 * output)
    x = torch.full((3, 1, 2), 0.7)
    graph = trace(nn.Sequential(neuron), x)
    found = Reference(np.float32).prepare(graph).run(x.numpy()).output[-1]
    np.testing.assert_array_equal(found, neuron(x).sum(0).numpy())
    assert found.sum() == 4  # two neurons, one spike each


def test_tracing_leaves_a_module_as_it_was() -> None:
    module = nn.Sequential(Standardised(3, 5, 3), Masked(5, 5, 3))
    before = [set(vars(m)) for m in module.modules()]
    trace(module, torch.rand(2, 3, 8, 8))
    assert [set(vars(m)) for m in module.modules()] == before


class Ours(SeqConv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 0.5 * super().forward(input)


class Louder(LIF):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(2 * x)


class Branching(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else super().forward(x)


class Dynamic(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight * x.mean())


class Causal(nn.Conv1d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(x, (2, 0)))


def noisy() -> nn.Module:
    layer = nn.Linear(6, 4)
    layer.register_forward_hook(lambda m, args, out: out if float(out.mean()) > 0 else -out)
    return layer


REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str, str]] = {
    "our layer": (lambda: Ours(3, 4, 3), (2, 1, 3, 6, 6), "Ours", ""),
    "our neuron": (Louder, (2, 1, 6), "Louder", "to_node() of its own"),
    "branch": (lambda: Branching(6, 6), (2, 6), "Branching", "data-dependent"),
    "weights of the input": (lambda: Dynamic(6, 6), (2, 6), "0.", ""),
    "pads itself": (lambda: Causal(3, 4, 3), (2, 3, 8), "pad", "pad in the convolution"),
    "hook that branches": (noisy, (2, 6), "Linear", "take the hooks of Linear off"),
    "indices": (lambda: nn.MaxPool2d(2, return_indices=True), (2, 3, 6, 6), "0", "leave"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    make, shape, says, remedy = REFUSED[name]
    with pytest.raises(LoweringError) as caught:
        trace(nn.Sequential(make()), torch.rand(*shape))
    assert says in str(caught.value)
    assert remedy in (caught.value.remedy or "")
    assert caught.value.remedy and (caught.value.node or "").startswith("0")
