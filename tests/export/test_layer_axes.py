"""Which axes a torch layer reads: as torch reads them, or refused by the layer's name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from spikewright.export.ir import LoweringError
from spikewright.export.trace import trace
from spikewright.sim.reference import Reference
from spikewright.trainer.layers import SeqBatchNorm1d, SeqConv1d
from spikewright.trainer.neurons import IF

ONE_STEP: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mean over maps": (lambda: nn.AvgPool2d(2), (3, 6, 6)),
    "mean over maps, padded": (lambda: nn.AvgPool2d(3, 2, 1), (3, 6, 6)),
    "mean over maps with channels": (lambda: nn.AvgPool2d(2), (2, 3, 6, 6)),
    "maximum over maps": (lambda: nn.MaxPool2d(2), (3, 6, 6)),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((3, 2)), (3, 6, 6)),
    "adaptive, of one value": (lambda: nn.AdaptiveAvgPool2d(1), (3, 6, 6)),
    "adaptive, an axis as it is": (lambda: nn.AdaptiveAvgPool2d((None, 3)), (2, 3, 6, 6)),
    "mean over features": (lambda: nn.AvgPool1d(2), (3, 6)),
    "maximum over features": (lambda: nn.MaxPool1d(3, 1, 1), (3, 6)),
    "adaptive over features": (lambda: nn.AdaptiveAvgPool1d(3), (3, 6)),
    "features of steps": (lambda: nn.AvgPool1d(2), (2, 3, 6)),
    "kernel in a tuple of one": (lambda: nn.AvgPool1d((2,)), (2, 3, 6)),
    "norm of features": (lambda: nn.BatchNorm1d(6), (3, 6)),
    "norm of channels": (lambda: nn.BatchNorm1d(4), (3, 4, 6)),
    "flat": (lambda: nn.Flatten(), (3, 4, 6)),
    "unflat": (lambda: nn.Unflatten(1, (2, 3)), (3, 6)),
}


@pytest.mark.parametrize("name", ONE_STEP)
def test_as_torch_reads_them(name: str) -> None:
    torch.manual_seed(0)
    make, shape = ONE_STEP[name]
    module, x = nn.Sequential(make()).eval(), torch.rand(*shape)
    if isinstance(module[0], nn.BatchNorm1d):
        module[0].running_mean.uniform_()  # type: ignore[union-attr,operator]
    graph = trace(module, x)
    ours = Reference(np.float32).prepare(graph).step(x.numpy())
    np.testing.assert_allclose(ours, module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


OVER_TIME: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...]]] = {
    "pool of features": (lambda: [nn.AvgPool1d(2), IF()], (4, 3, 6)),
    "pool of maps": (lambda: [nn.MaxPool2d(2), IF()], (4, 3, 6, 6)),
    "linear": (lambda: [nn.Linear(6, 5), IF(), nn.Dropout(), nn.Linear(5, 2)], (4, 3, 6)),
    "flat behind time and batch": (lambda: [IF(), nn.Flatten(2)], (4, 3, 2, 6)),
    "time folded by layers": (
        lambda: [nn.Flatten(0, 1), nn.Conv1d(2, 3, 3), nn.Unflatten(0, (4, 3)), IF()],
        (4, 3, 2, 6),
    ),
    "norm over time": (lambda: [SeqConv1d(2, 5, 3), SeqBatchNorm1d(5), IF()], (4, 3, 2, 6)),
}


@pytest.mark.parametrize("name", OVER_TIME)
def test_with_time_in_front(name: str) -> None:
    torch.manual_seed(0)
    make, shape = OVER_TIME[name]
    module, x = nn.Sequential(*make()).eval(), 3 * torch.rand(*shape)
    graph = trace(module, x, readout="none")
    ours = Reference(np.float32).prepare(graph).run(x.numpy()).output
    np.testing.assert_allclose(ours, module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


REFUSED: dict[str, tuple[Callable[[], list[nn.Module]], tuple[int, ...], str, str]] = {
    "norm of the batch axis": (
        lambda: [nn.Linear(6, 5), nn.BatchNorm1d(3), IF()],
        (4, 3, 6),
        "BatchNorm1d takes axis 1 of [time, batch, ...]",
        "SeqBatchNorm1d",
    ),
    "norm of another axis": (
        lambda: [nn.Linear(6, 5), nn.BatchNorm1d(5), IF()],
        (4, 3, 6),
        "fails on the example input",
        "SeqBatchNorm1d",
    ),
    "norm of maps": (
        lambda: [nn.BatchNorm2d(2), IF()],
        (4, 3, 2, 6, 6),
        "fails on the example input",
        "SeqBatchNorm2d",
    ),
    "channels of the batch axis": (
        lambda: [nn.Conv1d(3, 4, 3), IF()],
        (4, 3, 6),
        "Conv1d takes axis 1 of [time, batch, ...]",
        "SeqConv1d",
    ),
    "a step as a sample": (
        lambda: [nn.Conv2d(3, 4, 3), IF()],
        (4, 3, 6, 6),
        "Conv2d takes axis 1 of [time, batch, ...]",
        "SeqConv2d",
    ),
    "pool over the batch": (
        lambda: [nn.MaxPool2d(2), IF()],
        (4, 4, 6),
        "MaxPool2d pools over the batch axis",
        "AvgPool1d or MaxPool1d",
    ),
    "flat with the batch": (
        lambda: [nn.Flatten(1), IF()],
        (4, 3, 6),
        "mixing batch or time",
        "keep the batch axis apart",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_time_or_batch_as_channels_is_refused(name: str) -> None:
    make, shape, says, remedy = REFUSED[name]
    with pytest.raises(LoweringError) as caught:
        trace(nn.Sequential(*make()).eval(), torch.rand(*shape))
    assert says in str(caught.value)
    assert remedy in (caught.value.remedy or "")


@pytest.mark.parametrize("layer", [nn.Conv1d(4, 2, 3), nn.BatchNorm1d(4)])
def test_maps_without_a_batch_are_refused(layer: nn.Module) -> None:
    """torch takes [channel, x] for one sample; here the first axis is the batch."""
    module = nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Flatten(0, 1), layer)
    with pytest.raises(LoweringError):
        trace(module.eval(), torch.rand(4, 6))


def test_convolution_reads_no_batch_as_channels() -> None:
    with pytest.raises(LoweringError, match="give the map a channel axis"):
        trace(nn.Sequential(nn.Conv1d(4, 2, 3)), torch.rand(4, 6))
