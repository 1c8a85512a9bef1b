"""Lowering runs a module beside its graph: what differs is an error, or a warning if asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import spikewright as sw
from spikewright.api import lowering
from spikewright.export.ir import InputError, LoweringError, Neuron, UnknownNameError
from spikewright.export.ir.errors import AgreementWarning
from spikewright.sources import traced_checkpoint
from spikewright.trainer.layers import SeqBatchNorm2d, SeqConv2d
from spikewright.trainer.neurons import IF, LIF


class Misdescribed(IF):
    """Says a threshold of 2, and fires at 1."""

    def to_node(self, shape: tuple[int, ...]) -> Neuron:
        node = super().to_node(shape)
        return Neuron(shape, v_threshold=2 * np.ones(()), beta=node.beta, tau=node.tau)


class Noisy(nn.Module):
    """Its factor is another in each call, which no graph can hold."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rand(3)


def network(neuron: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), IF(), nn.Linear(5, 4), neuron, nn.Linear(4, 3)).eval()


def test_a_layer_that_computes_something_else_is_named() -> None:
    module = network(Misdescribed())
    with torch.no_grad():
        module[2].bias += 1  # type: ignore[operator]
    with pytest.raises(LoweringError) as caught:
        sw.lower(module, torch.rand(4, 2, 6), level="float")
    assert caught.value.node == "3"
    assert "step 0, sample 0, neuron" in str(caught.value) and "spikes 1" in str(caught.value)
    assert "differences" in (caught.value.remedy or "")


@pytest.mark.filterwarnings("ignore")  # the second says in how many spikes
def test_who_knows_may_go_on() -> None:
    module = network(Misdescribed())
    with torch.no_grad():
        module[2].bias += 1  # type: ignore[operator]
    with pytest.warns(AgreementWarning, match="than its graph: 3: step 0"):
        graph = sw.lower(module, torch.rand(4, 2, 6), level="float", differences="warn")
    assert graph.metadata["agreement"]["by_neuron"]["3"] > 0


def test_outputs_are_compared_where_there_is_no_neuron() -> None:
    with pytest.raises(LoweringError, match=r"output .* in the module"):
        sw.lower(nn.Sequential(Noisy()), torch.rand(2, 3), level="float", time_steps=1)


def test_values_of_the_option() -> None:
    module, x = network(IF()), torch.rand(4, 2, 6)
    with pytest.raises(UnknownNameError, match="error"):
        sw.lower(module, x, differences="eror")  # type: ignore[arg-type]
    graph = sw.lower(module, x, level="float")
    with pytest.raises(InputError, match="for modules"):
        sw.lower(graph, x, differences="warn")


NETWORKS: dict[str, Any] = {
    "over time": (lambda: network(LIF()), (4, 3, 6)),
    "maps": (
        lambda: nn.Sequential(SeqConv2d(2, 4, 3), SeqBatchNorm2d(4), IF(), nn.Flatten(2)).eval(),
        (4, 3, 2, 6, 6),
    ),
    "no neuron": (lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten()), (3, 2, 6)),
    "more samples than are compared": (lambda: network(IF()), (4, 30, 6)),
}


@pytest.mark.filterwarnings("ignore")  # that BatchNorms saw no data
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
def test_modules_of_any_precision_agree(name: str, dtype: torch.dtype) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    module, x = make().to(dtype), torch.rand(*shape).to(dtype)
    kinds = {p.dtype for p in module.parameters()}
    noted = sw.lower(module, x, level="float", time_steps=shape[0]).metadata["agreement"]
    assert noted["differ"] == 0 and noted["outputs"] < 1e-5
    assert {p.dtype for p in module.parameters()} == kinds == {dtype}


class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = network(IF())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).mean(0)  # type: ignore[no-any-return]


def test_a_mean_over_time() -> None:
    graph = sw.lower(Mean(), torch.rand(4, 2, 6), level="float")
    assert graph.metadata["returns"] == "mean"
    assert graph.metadata["agreement"]["outputs"] < 1e-6


def test_a_shared_neuron_is_compared_in_each_place() -> None:
    neuron = IF()
    module = nn.Sequential(nn.Linear(6, 6), neuron, nn.Linear(6, 6), neuron)
    graph = sw.lower(module.eval(), 3 * torch.rand(4, 2, 6), level="float")
    assert set(graph.metadata["agreement"]["by_neuron"]) == {"1", "1@2"}


def test_checkpoints_are_compared() -> None:
    noted = traced_checkpoint("digits-if").metadata["agreement"]
    assert noted["differ"] == 0 and noted["spike_rate"] > 0 and noted["outputs"] < 1e-5


def test_fewer_samples_are_compared_of_a_large_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 and 4 neurons over 4 steps note 432 bytes a sample: current, spikes and ours, 4 each."""
    module, x = network(IF()), torch.rand(4, 30, 6)
    taken = []
    module.register_forward_pre_hook(lambda m, args: taken.append(args[0].shape))
    for room, samples in ((1 << 29, 8), (3 * 432, 3), (1, 1)):
        monkeypatch.setattr("spikewright.sources.COMPARED_BYTES", room)
        sw.lower(module, x, level="float")
        assert taken[-1] == (4, samples, 6)


def test_fewer_samples_are_compared_where_they_multiply_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """6 inputs on 5 neurons on 4 on 3 outputs are 62 multiplications, 248 in 4 steps."""
    module, x = network(IF()), torch.rand(4, 30, 6)
    taken = []
    module.register_forward_pre_hook(lambda m, args: taken.append(args[0].shape))
    for room, samples in ((1 << 34, 8), (5 * 248 + 247, 5), (1, 1)):
        monkeypatch.setattr("spikewright.sources.COMPARED_MACS", room)
        sw.lower(module, x, level="float")
        assert taken[-1] == (4, samples, 6)


def test_training_lowers_without_comparing() -> None:
    module = network(IF())
    module.input_shape, module.time_steps = (6,), 4  # type: ignore[assignment]
    lowered = lowering(calibrate=np.random.default_rng(0).random((2, 6), np.float32))
    assert "agreement" not in lowered(module, "float").metadata
