"""BatchNorm and the neuron behind it as one: the normalised currents are never written to memory.

While training, a step needs the moments of x, then one pass over x that normalises and fires; the
gradient needs one pass over x and the spikes' gradient, and one that centres what it wrote. Apart,
the two layers read and write twice as much. Rounding is that of the two layers, but for the moments
and the constants made of them, which are computed in float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..surrogate import Rectangle, Sigmoid
from .fused import KINDS, can_fuse, constants, empty_like, extension, step_of, threads_for
from .parameters import LIFParameters


def can_fuse_norm(x: Tensor, norm: nn.Module, p: LIFParameters, mixed: bool) -> bool:
    """Return whether `norm` is training and the extension takes it with x [F, B, C, y, x].

    Args:
        mixed: whether half of the samples take Path B.
    """
    return (
        type(x) is Tensor
        and isinstance(norm, nn.BatchNorm2d)
        and norm.training
        and norm.track_running_stats
        and norm.affine
        and norm.momentum is not None
        and type(p.surrogate) in ((Rectangle, Sigmoid) if mixed else KINDS)
        and not (mixed and x.shape[1] % 2)
        and x.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        and x.numel() > x.shape[2]
        and can_fuse(x, p)
        and x.shape[2] <= extension().LANES
    )


def fused_norm_lif(
    x: Tensor, norm: nn.BatchNorm2d, p: LIFParameters, time_steps: int, path_a: int
) -> Tensor:
    """Return [T, B, C, y, x]: spikes for the first `path_a` samples, Path B for the rest.

    Updates the running statistics of `norm` as its own forward pass does.

    Args:
        x: [T, B, C, y, x], or [1, B, ...] for one frame that is the same at every step.
    """
    out, mean, variance, count = _FusedNorm.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, norm.eps, p, time_steps, path_a
    )
    _update(norm, mean, variance, count)
    return out  # type: ignore[no-any-return]


@torch.no_grad()
def _update(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    momentum = norm.momentum
    assert momentum is not None and norm.running_mean is not None
    assert norm.running_var is not None and norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    unbiased = variance * (count / (count - 1))
    for running, found in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running.mul_(1 - momentum).add_(found.to(running.dtype), alpha=momentum)


class _FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        p: LIFParameters,
        time_steps: int,
        path_a: int,
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        mean, variance, count = _moments(x)
        invstd = (variance + eps).rsqrt()
        gain = weight.double() * invstd
        rows = [v.float() for v in (gain, bias.double() - mean * gain, mean)]
        out = empty_like(x.expand(time_steps, *x.shape[1:]))
        _call(x, None, out, p, path_a, time_steps, rows, None)
        ctx.save_for_backward(x, weight, invstd, mean, *rows)
        ctx.p, ctx.path_a, ctx.time_steps, ctx.count = p, path_a, time_steps, count
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        x, weight, invstd, mean, *rows = ctx.saved_tensors
        steps = empty_like(x.expand(ctx.time_steps, *x.shape[1:]))
        grad = grad_outputs[0].to(x.dtype)
        if grad.stride() != steps.stride():
            grad = steps.copy_(grad)
        out = empty_like(x)
        sums = torch.zeros(2, x.shape[2], dtype=torch.float64)
        _call(x, grad, out, ctx.p, ctx.path_a, ctx.time_steps, rows, sums)
        plain, centred = sums
        scale = weight.double() * invstd
        slope = -scale * invstd.square() * centred / ctx.count
        affine = [v.float() for v in (scale, slope, -scale * plain / ctx.count - slope * mean)]
        _centre(out, x, affine)
        gradients = (centred * invstd).to(weight.dtype), plain.to(weight.dtype)
        return out, *gradients, None, None, None, None


def _moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return mean and biased variance of each channel, float64, and of how many values."""
    channels = x.shape[2]
    found = torch.zeros(2, channels, dtype=torch.float64)
    rows = x.numel() // channels
    extension().norm_moments(
        x.dtype == torch.bfloat16,
        x.data_ptr(),
        channels,
        rows,
        found[0].data_ptr(),
        found[1].data_ptr(),
        threads_for(x),
    )
    return found[0], found[1] / rows, rows


def _call(
    x: Tensor,
    grad: Tensor | None,
    out: Tensor,
    p: LIFParameters,
    path_a: int,
    time_steps: int,
    rows: list[Tensor],
    sums: Tensor | None,
) -> None:
    count, channels = x[0].numel(), x.shape[2]
    extension().norm_lif(
        x.dtype == torch.bfloat16,
        x.data_ptr(),
        step_of(x.expand(time_steps, *x.shape[1:])),
        0 if grad is None else grad.data_ptr(),
        out.data_ptr(),
        time_steps,
        count,
        count // x.shape[1] * path_a,
        constants(p),
        *(row.data_ptr() for row in rows),
        channels,
        *((0, 0) if sums is None else (sums[0].data_ptr(), sums[1].data_ptr())),
        threads_for(x),
    )


def _centre(out: Tensor, x: Tensor, affine: list[Tensor]) -> None:
    channels = x.shape[2]
    extension().norm_centre(
        x.dtype == torch.bfloat16,
        out.data_ptr(),
        x.data_ptr(),
        *(row.data_ptr() for row in affine),
        channels,
        x.numel() // channels,
        threads_for(x),
    )
