"""The two outputs of a neuron: a spike with a surrogate gradient g, and its antiderivative G."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from ..surrogate import Surrogate

Compare: TypeAlias = Literal[">", ">="]


def fires(y: Tensor, compare: Compare) -> Tensor:
    """Return 1 where y = u - v_threshold spikes and 0 elsewhere, detached, in y's dtype.

    Written into floats at once: on a CPU a bool mask costs ten times as much to apply.
    """
    compared = torch.gt if compare == ">" else torch.ge
    return compared(y.detach(), 0, out=torch.empty_like(y))


class _Spike(torch.autograd.Function):
    """Forward s = [y > 0] (or >=), backward ds/dy := g(y)."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, surrogate: Surrogate, compare: Compare) -> Tensor:
        ctx.save_for_backward(y)
        ctx.surrogate = surrogate
        return fires(y, compare)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.surrogate.gradient(y), None, None


def spike(y: Tensor, surrogate: Surrogate, compare: Compare = ">") -> Tensor:
    """Return 1 where y = u - v_threshold spikes and 0 elsewhere, with gradient g(y)."""
    result: Tensor = _Spike.apply(y, surrogate, compare)  # type: ignore[no-untyped-call]
    return result


class _Analog(torch.autograd.Function):
    """Forward G(y), backward g(y): the same g as the spike's, bit for bit."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(y)
        ctx.surrogate = surrogate
        return surrogate.antiderivative(y)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.surrogate.gradient(y), None


def analog(y: Tensor, surrogate: Surrogate) -> Tensor:
    """Return G(y), with gradient g(y)."""
    result: Tensor = _Analog.apply(y, surrogate)  # type: ignore[no-untyped-call]
    return result
