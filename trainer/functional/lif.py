"""The leaky integrate-and-fire neuron: one step, all steps, and its two output paths.

With beta = 1 - 1/tau (tau infinite: IF), input x[t], membrane potential before reset u[t]::

    u[t] = beta v[t-1] + x[t]                   decay_input=False
    u[t] = v[t-1] + (x[t] - v[t-1]) / tau       decay_input=True: the same with x scaled by 1/tau
    Path A   s[t] = 1 if u[t] > v_threshold else 0 (or >=),   ds/du := g(u - v_threshold)
    Path B   o[t] = G(u[t] - v_threshold),                    dG/du  = g(u - v_threshold)
    v[t] = v_reset where s[t] = 1, else u[t]    hard;   v[t] = u[t] - s[t] v_threshold   soft

The reset gate s[t] is detached: no gradient flows through it. Path B runs the same recursion on its
own inputs. Form: arXiv 2511.18542; tau = 2 (where 1 - 1/tau = 1/tau) and v_threshold = 1 are
reconstructed. The leak is toward 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...export.ir.errors import InputError
from .fused import can_fuse, fused_lif
from .parameters import LIFParameters
from .spike import analog, fires, spike


def charge(x: Tensor, v: Tensor, p: LIFParameters) -> Tensor:
    """Return u[t] from the input x[t] and the state v[t-1], of one shape."""
    if p.decay_input:
        return v + (x - v) / p.tau
    return x + p.beta * v  # two roundings, as in the float simulator and the fused neuron


def discharge(u: Tensor, p: LIFParameters) -> Tensor:
    """Return v[t] from u[t], through the detached reset gate."""
    gate = fires(u.detach() - p.v_threshold, p.compare)
    if p.reset == "soft":
        return u - gate * p.v_threshold
    v = u * (1 - gate)
    return v + gate * p.v_reset if p.v_reset else v


def lif_step(x: Tensor, v: Tensor, p: LIFParameters) -> tuple[Tensor, Tensor]:
    """Return the spikes s[t] of Path A and the state v[t]; x, v, s of one shape [B, ...]."""
    u = charge(x, v, p)
    return spike(u - p.v_threshold, p.surrogate, p.compare), discharge(u, p)


def path_b_step(x: Tensor, v: Tensor, p: LIFParameters) -> tuple[Tensor, Tensor]:
    """Return the analog output o[t] of Path B and the state v[t]; shapes as `lif_step`."""
    u = charge(x, v, p)
    return analog(u - p.v_threshold, p.surrogate), discharge(u, p)


class _MembranePotential(torch.autograd.Function):
    """All steps of charge and discharge, with their gradient written out.

    With du[t] = dL/du[t] through all later steps: du[t] = grad[t] + beta r[t] du[t+1], where
    r[t] = 0 if step t ended in a hard reset, else 1; dx[t] = du[t] (or du[t] / tau, decay_input).
    Autograd through single steps gives the same, twice as slowly.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: LIFParameters) -> Tensor:
        u = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        v = torch.zeros_like(u[0])
        for x_t, u_t in zip(x, u, strict=True):
            u_t.copy_(charge(x_t, v, p))
            v = discharge(u_t, p)
        ctx.p = p
        ctx.save_for_backward(u)
        return u

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (u,), p = ctx.saved_tensors, ctx.p
        du = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        for t in reversed(range(len(u) - 1)):
            carried = du[t + 1]
            if p.reset == "hard":
                carried = carried * (1 - fires(u[t] - p.v_threshold, p.compare))
            du[t].add_(p.beta * carried)
        return (du / p.tau if p.decay_input else du), None


def membrane_potential(x: Tensor, p: LIFParameters) -> Tensor:
    """Return u [T, B, ...], before reset, for inputs x [T, B, ...] from rest (v = 0).

    Reduced precision is widened to float32: a state that is added to over time needs the bits.
    """
    u: Tensor = _MembranePotential.apply(_widened(x), p)  # type: ignore[no-untyped-call]
    return u


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.element_size() < 4 else x


def lif(x: Tensor, p: LIFParameters) -> Tensor:
    """Return the spikes of Path A, [T, B, ...] like x, in x's dtype."""
    if can_fuse(x, p):
        return fused_lif(x, p, path_a=x.shape[1])
    y = membrane_potential(x, p) - p.v_threshold
    return spike(y, p.surrogate, p.compare).to(x.dtype)


def mixed_lif(x: Tensor, p: LIFParameters) -> Tensor:
    """Return Path A for the first half of the batch axis and Path B for the second.

    x: [T, 2B, ...], view A then view B. The halves share nothing but the constants.

    Raises:
        InputError: if the batch axis is odd.
    """
    if x.shape[1] % 2:
        raise InputError(f"batch {x.shape[1]} holds no two equal views", node="mixed_lif")
    if can_fuse(x, p):
        return fused_lif(x, p, path_a=x.shape[1] // 2)
    a, b = (membrane_potential(x, p) - p.v_threshold).chunk(2, dim=1)
    both = torch.cat([spike(a, p.surrogate, p.compare), analog(b, p.surrogate)], dim=1)
    return both.to(x.dtype)
