"""Residual blocks over [T, B, C, y, x], one class a residual rule, neurons made by a factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from torch import Tensor, nn

from ..layers import ConvNormNeuron, SeqBatchNorm2d, SeqConv2d, conv_norm_neuron
from ..neurons import MixedLIF

Residual: TypeAlias = Literal["spiking", "sew_add", "ms", "none"]
NeuronFactory: TypeAlias = Callable[[], MixedLIF]
BlockFactory: TypeAlias = Callable[[int, int, int, NeuronFactory], nn.Module]


def conv3x3(inputs: int, outputs: int, stride: int) -> SeqConv2d:
    """Return a 3x3 convolution, padding 1, no bias."""
    return SeqConv2d(inputs, outputs, 3, stride, 1, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int) -> SeqConv2d:
    """Return a 1x1 convolution, no bias."""
    return SeqConv2d(inputs, outputs, 1, stride, bias=False)


class FeedForwardBlock(nn.Module):
    """Two conv-BN-neuron in a row, no shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = SeqBatchNorm2d(outputs)
        self.neuron1 = neuron()
        self.conv2 = conv3x3(outputs, outputs, 1)
        self.bn2 = SeqBatchNorm2d(outputs)
        self.neuron2 = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, B, outputs, y, x]."""
        y = conv_norm_neuron(self.conv1, self.bn1, self.neuron1, x)
        return conv_norm_neuron(self.conv2, self.bn2, self.neuron2, y)


class SewAddBlock(FeedForwardBlock):
    """Spikes of the branch plus spikes of the shortcut (SEW-ResNet's ADD): integers."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: NeuronFactory) -> None:
        super().__init__(inputs, outputs, stride, neuron)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = ConvNormNeuron(
                conv1x1(inputs, outputs, stride), SeqBatchNorm2d(outputs), neuron()
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return spike counts [T, B, outputs, y, x]."""
        out: Tensor = super().forward(x) + self.downsample(x)
        return out


class SpikingBlock(FeedForwardBlock):
    """The neuron after the addition of currents and the shortcut's spikes or currents: binary."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: NeuronFactory) -> None:
        super().__init__(inputs, outputs, stride, neuron)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                conv1x1(inputs, outputs, stride), SeqBatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, B, outputs, y, x]."""
        y = conv_norm_neuron(self.conv1, self.bn1, self.neuron1, x)
        out: Tensor = self.neuron2(self.bn2(self.conv2(y)) + self.downsample(x))
        return out


class MembraneBlock(nn.Module):
    """Membrane shortcut: neuron-conv-BN twice, its current added to the incoming current.

    The downsample is neuron, 1x1 convolution, BN, so that no weight but the stem sees a current.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: NeuronFactory) -> None:
        super().__init__()
        self.neuron1 = neuron()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = SeqBatchNorm2d(outputs)
        self.neuron2 = neuron()
        self.conv2 = conv3x3(outputs, outputs, 1)
        self.bn2 = SeqBatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                neuron(), conv1x1(inputs, outputs, stride), SeqBatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return currents [T, B, outputs, y, x]."""
        y = self.bn1(self.conv1(self.neuron1(x)))
        out: Tensor = self.bn2(self.conv2(self.neuron2(y))) + self.downsample(x)
        return out


BLOCKS: Mapping[Residual, BlockFactory] = {
    "none": FeedForwardBlock,
    "sew_add": SewAddBlock,
    "spiking": SpikingBlock,
    "ms": MembraneBlock,
}
