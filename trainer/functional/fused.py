"""The fused neuron: every time step of a block of neurons in one pass, forward and backward.

The extension does what `lif` does with torch's operators, rounding by rounding, in float32 and
bfloat16 on the CPU; only its sigmoid's exponential is its own (2 ulp). What it has not, Path B of
atan and any surrogate of the user's, is computed by torch's operators between a fused pass over the
potentials and one over the gradient. `SPIKEWRIGHT_FUSED=0` leaves it out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...export.ir.environment import word_from
from ..surrogate import Atan, Rectangle, Sigmoid
from .parameters import LIFParameters

FUSED_VARIABLE = "SPIKEWRIGHT_FUSED"
"""Environment variable: 0 takes torch's operators."""
VALUES_PER_THREAD = 1 << 15
"""Values that are worth a thread of their own: about ten times what starting it costs."""

KINDS: dict[type, int] = {Rectangle: 0, Sigmoid: 1, Atan: 2}
"""The surrogates that the extension knows, by their number there."""


@lru_cache(maxsize=1)
def _extension() -> Any | None:
    try:
        from .. import _fused
    except ImportError:
        return None
    return _fused


def extension() -> Any:
    """Return the extension, which `can_fuse` has found."""
    found = _extension()
    assert found is not None
    return found


def can_fuse(x: Tensor, p: LIFParameters) -> bool:
    """Return whether the extension is there and takes inputs like x [T, B, ...]."""
    return (
        word_from(FUSED_VARIABLE, ("0", "1"), "1") == "1"
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.numel() > 0
        and _extension() is not None
    )


def constants(p: LIFParameters) -> Any:
    """Return the constants as the extension takes them."""
    return extension().Constants(
        p.beta,
        p.tau,
        p.v_threshold,
        p.v_reset,
        KINDS.get(type(p.surrogate), 0),
        getattr(p.surrogate, "width", 1.0),
        getattr(p.surrogate, "alpha", 1.0),
        p.reset == "hard",
        p.compare == ">=",
        p.decay_input,
    )


def fused_lif(x: Tensor, p: LIFParameters, path_a: int) -> Tensor:
    """Return [T, B, ...] like x: spikes for the first `path_a` samples, Path B for the rest."""
    out: Tensor = _Fused.apply(x, p, path_a)  # type: ignore[no-untyped-call]
    return out


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: LIFParameters, path_a: int) -> Tensor:
        held = _steps_dense(x)
        ctx.p, ctx.path_a = p, path_a
        ctx.save_for_backward(held)
        out = empty_like(held)
        if path_a == held.shape[1] or type(p.surrogate) in (Rectangle, Sigmoid):
            _call(held, None, out, p, path_a)
            return out
        y = _potentials(held, p)
        a, b = y.split([path_a, held.shape[1] - path_a], dim=1)
        out[:, :path_a] = torch.gt(a, 0) if p.compare == ">" else torch.ge(a, 0)
        out[:, path_a:] = p.surrogate.antiderivative(b)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (held,) = ctx.saved_tensors
        out = empty_like(held)
        grad = grad_outputs[0].to(held.dtype)
        if grad.stride() != out.stride():
            grad = empty_like(held).copy_(grad)
        if type(ctx.p.surrogate) in KINDS:
            _call(held, grad, out, ctx.p, ctx.path_a)
        else:
            _carry(held, grad, out, ctx.p)
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


def empty_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an uninitialised [T, B, ...] whose steps lie as those of x do."""
    frame = x[0]
    steps = (len(x) * len(frame), *frame.shape[1:])
    channels = _channels_last(frame) and not frame.is_contiguous()
    layout = torch.channels_last if channels else torch.contiguous_format
    empty = torch.empty(steps, dtype=dtype or x.dtype, memory_format=layout)
    return empty.view(len(x), *frame.shape) if not channels else empty.unflatten(0, x.shape[:2])


def _potentials(x: Tensor, p: LIFParameters) -> Tensor:
    """Return y = u - v_threshold, float32, [T, B, ...]."""
    y = empty_like(x, torch.float32)
    _half(x, None, None, y, None, p)
    return y


def _carry(x: Tensor, grad: Tensor, out: Tensor, p: LIFParameters) -> None:
    """Write the gradient of x: du[t] = grad[t] g(y[t]) + beta r[t] du[t+1]."""
    y = _potentials(x, p)
    g = p.surrogate.gradient(y)
    if g.stride() != y.stride():
        g = torch.empty_like(y).copy_(g)
    _half(x, grad, out, y, g, p)


def _half(
    x: Tensor,
    grad: Tensor | None,
    out: Tensor | None,
    y: Tensor,
    g: Tensor | None,
    p: LIFParameters,
) -> None:
    extension().half(
        x.dtype == torch.bfloat16,
        x.data_ptr(),
        step_of(x),
        *(0 if t is None else t.data_ptr() for t in (grad, out)),
        y.data_ptr(),
        0 if g is None else g.data_ptr(),
        len(x),
        x[0].numel(),
        constants(p),
        threads_for(x),
    )


def _call(x: Tensor, grad: Tensor | None, out: Tensor, p: LIFParameters, path_a: int) -> None:
    count = x[0].numel()
    extension().lif(
        x.dtype == torch.bfloat16,
        x.data_ptr(),
        step_of(x),
        0 if grad is None else grad.data_ptr(),
        out.data_ptr(),
        len(x),
        count,
        count // x.shape[1] * path_a,
        constants(p),
        threads_for(x),
    )


def step_of(x: Tensor) -> int:
    """Return how many values lie between two steps: none where one frame is repeated."""
    return x.stride(0) if len(x) > 1 else x[0].numel()


def threads_for(x: Tensor) -> int:
    """Return how many threads the values of x are worth."""
    return max(1, min(torch.get_num_threads(), x.numel() // VALUES_PER_THREAD))
