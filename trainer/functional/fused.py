"""The fused neuron: every time step of a block of neurons in one pass, forward and backward.

The extension does what `lif` does with torch's operators, rounding by rounding; it takes the
rectangle surrogate, float32 and bfloat16, on the CPU. `SPIKEWRIGHT_FUSED=0` leaves it out.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..surrogate import Rectangle
from .parameters import LIFParameters

FUSED_VARIABLE = "SPIKEWRIGHT_FUSED"
"""Environment variable: 0 takes torch's operators."""
VALUES_PER_THREAD = 1 << 15
"""Values that are worth a thread of their own: about ten times what starting it costs."""


@lru_cache(maxsize=1)
def _extension() -> Any | None:
    try:
        from .. import _fused
    except ImportError:
        return None
    return _fused


def can_fuse(x: Tensor, p: LIFParameters) -> bool:
    """Return whether the extension is there and takes inputs like x [T, B, ...]."""
    return (
        os.environ.get(FUSED_VARIABLE) != "0"
        and isinstance(p.surrogate, Rectangle)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.numel() > 0
        and _extension() is not None
    )


def fused_lif(x: Tensor, p: LIFParameters, path_a: int) -> Tensor:
    """Return [T, B, ...] like x: spikes for the first `path_a` samples, Path B for the rest."""
    out: Tensor = _Fused.apply(x, p, path_a)  # type: ignore[no-untyped-call]
    return out


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: LIFParameters, path_a: int) -> Tensor:
        held = _steps_dense(x)
        out = _empty_like(held)
        ctx.p, ctx.path_a = p, path_a
        ctx.save_for_backward(held)
        _call(held, None, out, p, path_a)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (held,) = ctx.saved_tensors
        out = _empty_like(held)
        grad = grad_outputs[0].to(held.dtype)
        if grad.stride() != out.stride():
            grad = _empty_like(held).copy_(grad)
        _call(held, grad, out, ctx.p, ctx.path_a)
        return out, None, None


def _channels_last(frame: Tensor) -> bool:
    return frame.ndim == 4 and frame.is_contiguous(memory_format=torch.channels_last)


def _steps_dense(x: Tensor) -> Tensor:
    """Return x with each step in one piece, the batch its outermost axis; a copy where it is not.

    Steps lie one behind the other, or are all the same frame (stride 0).
    """
    frame = x[0]
    dense = frame.is_contiguous() or _channels_last(frame)
    if dense and (len(x) == 1 or x.stride(0) in (0, frame.numel())):
        return x
    return x.contiguous()


def _empty_like(x: Tensor) -> Tensor:
    """Return an uninitialised [T, B, ...] whose steps lie as those of x do."""
    frame = x[0]
    steps = (len(x) * len(frame), *frame.shape[1:])
    channels = _channels_last(frame) and not frame.is_contiguous()
    layout = torch.channels_last if channels else torch.contiguous_format
    empty = torch.empty(steps, dtype=x.dtype, memory_format=layout)
    return empty.view(len(x), *frame.shape) if not channels else empty.unflatten(0, x.shape[:2])


def _call(x: Tensor, grad: Tensor | None, out: Tensor, p: LIFParameters, path_a: int) -> None:
    extension = _extension()
    assert extension is not None and isinstance(p.surrogate, Rectangle)
    count = x[0].numel()
    extension.lif(
        x.dtype == torch.bfloat16,
        x.data_ptr(),
        x.stride(0) if len(x) > 1 else count,
        0 if grad is None else grad.data_ptr(),
        out.data_ptr(),
        len(x),
        count,
        count // x.shape[1] * path_a,
        p.beta,
        p.tau,
        p.v_threshold,
        p.v_reset,
        p.surrogate.width,
        p.reset == "hard",
        p.compare == ">=",
        p.decay_input,
        max(1, min(torch.get_num_threads(), count * len(x) // VALUES_PER_THREAD)),
    )
