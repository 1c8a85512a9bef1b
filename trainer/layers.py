"""Torch layers over [T, B, ...]: time folded into the batch, so that each step is one sample.

Each is the torch layer it is named after (a leaf to torch.fx, with the same weights and options).
nn.Linear needs no such form: it works over the last axis.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .functional.fused_norm import can_fuse_norm
from .neurons import LIF


def is_static(x: Tensor) -> bool:
    """Return whether x [T, ...] is one frame expanded over time (stride 0), held once."""
    return x.shape[0] > 1 and x.stride(0) == 0


def fold_time(x: Tensor) -> tuple[Tensor, int]:
    """Return x [T, B, ...] as [T * B, ...] and T, or as [B, ...] and 1 where x is static."""
    steps = x[:1] if is_static(x) else x
    return steps.flatten(0, 1), steps.shape[0]


def unfold_time(y: Tensor, folded: int, time_steps: int) -> Tensor:
    """Return y [folded * B, ...] as [time_steps, B, ...]; a static frame is expanded again.

    The gradient of an expansion is a sum that loses channels_last, which BatchNorm's and the
    convolution's backward are several times slower without; so it is laid out like y again.
    """
    if folded < time_steps and y.requires_grad and _channels_last(y):
        y.register_hook(partial(torch.Tensor.contiguous, memory_format=torch.channels_last))
    steps: Tensor = y.unflatten(0, (folded, -1))
    return steps.expand(time_steps, *steps.shape[1:])


def _channels_last(y: Tensor) -> bool:
    return y.ndim == 4 and y.is_contiguous(memory_format=torch.channels_last)


class SeqConv2d(nn.Conv2d):
    """nn.Conv2d over [T, B, C, y, x]; a static frame is convolved once."""

    multi_step: ClassVar[bool] = True

    def folded(self, input: Tensor) -> tuple[Tensor, int]:
        """Return [F * B, out, y, x] and F: 1 where the input is one frame for every step, or T."""
        x, folded = fold_time(input)
        return super().forward(x), folded

    def forward(self, input: Tensor) -> Tensor:
        """Return [T, B, out, y, x]."""
        return unfold_time(*self.folded(input), input.shape[0])


class SeqBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d over [T, B, C, y, x], statistics over time and batch together."""

    multi_step: ClassVar[bool] = True

    def forward(self, input: Tensor) -> Tensor:
        """Return [T, B, C, y, x]."""
        x, folded = fold_time(input)
        return unfold_time(super().forward(x), folded, input.shape[0])


def conv_norm_neuron(conv: SeqConv2d, norm: SeqBatchNorm2d, neuron: nn.Module, x: Tensor) -> Tensor:
    """Return neuron(norm(conv(x))), [T, B, out, y, x].

    While training, norm and neuron run as one where the extension can (`functional.fused_norm`);
    neurons of another kind, which somebody put in place of ours, run for themselves.
    """
    own = isinstance(neuron, LIF) and type(neuron).forward is LIF.forward
    if not isinstance(neuron, LIF) or not (own and norm.training and isinstance(x, Tensor)):
        spikes: Tensor = neuron(norm(conv(x)))  # also for a tracer's proxy, which is no Tensor
        return spikes
    y, folded = conv.folded(x)
    steps = y.unflatten(0, (folded, -1))
    if can_fuse_norm(steps, norm, neuron.parameters_of_step, neuron.mixed):
        spikes = neuron(steps, norm, x.shape[0])
    else:
        spikes = neuron(norm(unfold_time(y, folded, x.shape[0])))
    return spikes


class ConvNormNeuron(nn.Sequential):
    """Convolution, BatchNorm, neuron, and what follows them, in this order."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what the last gives, [T, B, out, ...]."""
        conv, norm, neuron, *rest = self
        y = conv_norm_neuron(conv, norm, neuron, input)  # type: ignore[arg-type]
        for layer in rest:
            y = layer(y)
        return y


class SeqAvgPool2d(nn.AvgPool2d):
    """nn.AvgPool2d over [T, B, C, y, x]."""

    multi_step: ClassVar[bool] = True

    def forward(self, input: Tensor) -> Tensor:
        """Return [T, B, C, y, x]."""
        x, folded = fold_time(input)
        return unfold_time(super().forward(x), folded, input.shape[0])


class SeqConv1d(nn.Conv1d):
    """nn.Conv1d over [T, B, C, x]; a static frame is convolved once."""

    multi_step: ClassVar[bool] = True

    def forward(self, input: Tensor) -> Tensor:
        """Return [T, B, out, x]."""
        x, folded = fold_time(input)
        return unfold_time(super().forward(x), folded, input.shape[0])


class SeqBatchNorm1d(nn.BatchNorm1d):
    """nn.BatchNorm1d over [T, B, C, x], statistics over time and batch together."""

    multi_step: ClassVar[bool] = True

    def forward(self, input: Tensor) -> Tensor:
        """Return [T, B, C, x]."""
        x, folded = fold_time(input)
        return unfold_time(super().forward(x), folded, input.shape[0])


class SeqMaxPool2d(nn.MaxPool2d):
    """nn.MaxPool2d over [T, B, C, y, x]."""

    multi_step: ClassVar[bool] = True

    def forward(self, input: Tensor) -> Tensor:
        """Return [T, B, C, y, x]."""
        x, folded = fold_time(input)
        pooled: Tensor = F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return unfold_time(pooled, folded, input.shape[0])
