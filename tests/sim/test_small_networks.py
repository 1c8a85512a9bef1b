"""Small torch networks of every neuron, pool, stride, padding and readout, drawn at random.

Each is lowered for four number formats: floats are torch's to 1e-5, and of each integer graph every
executor computes the same. Networks that no format takes would show as too few that were compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import spikewright as sw
from spikewright.export.ir import Graph
from spikewright.export.ir.errors import BoundsError, LoweringError

snn = pytest.importorskip("snntorch")

STEPS = 3
SEEDS = 8
NETWORKS = 6
FORMATS: list[dict[str, Any]] = [
    {"bits": 8},
    {"bits": 4},
    {"target": "loihi1"},
    {"target": "loihi2", "bits": 4},
]
Make = Callable[[], nn.Module]


def _spiking(kind: str, **fields: Any) -> nn.Module:
    reset = {"reset_mechanism": "zero", "reset_delay": False}
    layer: nn.Module = getattr(snn, kind)(**reset, **fields, init_hidden=True)
    return layer


NEURONS: list[Make] = [
    lambda: _spiking("Leaky", beta=0.8, threshold=0.3),
    lambda: _spiking("Leaky", beta=1.0, threshold=0.4),
    lambda: _spiking("Synaptic", alpha=0.6, beta=0.8, threshold=0.5),
    lambda: snn.Leaky(0.9, threshold=0.3, init_hidden=True),
]
CONVS: list[Make] = [
    lambda: nn.Conv2d(2, 4, 3, padding=1),
    lambda: nn.Conv2d(2, 4, 2, stride=2),
    lambda: nn.Conv2d(2, 4, 4, padding="same"),
    lambda: nn.Conv2d(2, 4, 3, padding=1, groups=2, bias=False),
    lambda: nn.Conv2d(2, 4, 3, padding=2, dilation=2),
]
POOLS: list[Make] = [
    nn.Identity,
    lambda: nn.AdaptiveAvgPool2d(1),
    lambda: nn.AvgPool2d(2),
    lambda: nn.AvgPool2d(3, 2, 1),
    lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    lambda: nn.AvgPool2d(3, 2, ceil_mode=True),
    lambda: nn.AvgPool2d(4, 3, 2, ceil_mode=True, count_include_pad=False),
    lambda: nn.AvgPool2d((3, 2), (2, 1), (1, 0), count_include_pad=False),
    lambda: nn.AvgPool2d(3, 2, divisor_override=4),
    lambda: nn.MaxPool2d(2),
    lambda: nn.MaxPool2d(3, 2, 1),
    lambda: nn.MaxPool2d(3, 3, ceil_mode=True),
    lambda: nn.MaxPool2d(4, 3, 2, ceil_mode=True),
]
SIZES = [(8, 8), (7, 9), (8, 6)]
READOUTS = ["currents", "spikes", "potential"]


class Potential(nn.Module):
    """A network of which the last neuron's potential is returned."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers, snn.Leaky(
            0.9, init_hidden=True, reset_mechanism="none", output=True
        ))  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        potential: torch.Tensor = self.layers(x)[1]
        return potential


def _reset(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, snn.SpikingNeuron):
            (layer.reset_mem if hasattr(layer, "reset_mem") else layer.reset_hidden)()


def network(rng: np.random.Generator, size: tuple[int, int]) -> tuple[nn.Module, str]:
    """Return a random network for samples [2, *size], and what it returns."""

    def pick(options: list[Make]) -> nn.Module:
        return options[rng.integers(len(options))]()

    pooled = [pick(NEURONS), pick(POOLS)]
    layers = [pick(CONVS), *(pooled if rng.random() < 0.6 else pooled[::-1])]
    if rng.random() < 0.5:
        bias = bool(rng.random() < 0.7)  # without one, no neuron is needed before further weights
        layers += [nn.Conv2d(4, 4, 3, padding=1, bias=bias), *([pick(NEURONS)] if bias else [])]
    readout = READOUTS[rng.integers(len(READOUTS))]
    layers.append(nn.Flatten())
    flat = torch.zeros(1, 2, *size)
    for layer in layers:
        flat = layer(flat)
    layers.append(nn.Linear(flat.shape[1], 3))
    if readout == "spikes":
        layers.append(pick(NEURONS))
    module = Potential(layers) if readout == "potential" else nn.Sequential(*layers)
    return module.eval(), readout


def by_torch(module: nn.Module, x: torch.Tensor, readout: str) -> np.ndarray:
    """Return the sum over the steps of what a network returns; of a potential the last."""
    _reset(module)
    with torch.no_grad():
        steps = [module(x).double().numpy() for _ in range(STEPS)]
    return np.asarray(steps[-1] if readout == "potential" else np.sum(steps, axis=0))


def lowered_for(graph: Graph, x: np.ndarray, form: dict[str, Any]) -> Graph | None:
    """Return the integer graph; None for snntorch's own subtraction, which no Loihi has.

    What overflows is refused, and does not with the fewer weight bits that the remedy names.
    """
    try:
        return sw.lower(graph, calibrate=x, time_steps=STEPS, **form)
    except BoundsError as error:
        if "use fewer weight bits" not in str(error):
            raise
        return sw.lower(graph, calibrate=x, time_steps=STEPS, **{**form, "bits": 4})
    except LoweringError as error:
        if "soft_after_decay" not in str(error):
            raise
        return None


def equal_formats(graph: Graph, x: np.ndarray) -> int:
    """Compare the executors over all formats; return how many took the graph."""
    taken = 0
    for lowered in (lowered_for(graph, x, form) for form in FORMATS):
        if lowered is not None:
            verified = sw.verify(lowered, x, time_steps=STEPS)
            assert verified.equal and len(verified.executors) == 3, verified
            taken += 1
    return taken


@pytest.mark.parametrize("seed", range(SEEDS))
def test_floats_are_torchs_and_executors_are_equal(seed: int) -> None:
    rng, taken = np.random.default_rng(seed), 0
    torch.manual_seed(seed)
    for _ in range(NETWORKS):
        size = SIZES[rng.integers(len(SIZES))]
        module, readout = network(rng, size)
        x = torch.rand(3, 2, *size)
        graph = sw.lower(module, x, time_steps=STEPS, level="float")
        expected = by_torch(module, x, readout)
        found = sw.run(graph, x.numpy(), time_steps=STEPS).output[-1]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=str(module))
        taken += equal_formats(graph, x.numpy())
    assert taken >= 2 * NETWORKS
