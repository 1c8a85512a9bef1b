"""Pair losses l(P, Q) of two embeddings [N, D] of the same N images; all are symmetric.

Which one the paper uses is not stated: Barlow Twins as the default, and every constant below, is a
reconstruction in the sense of this project (right form, uncertain constants).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ...export.ir.arguments import checked, text
from ...export.ir.errors import InputError, UnknownNameError
from ..arguments import alike, tensor


def _as_float(name: str, value: Any) -> Any:
    """Whole numbers as floats: torch multiplies by none beyond 64 bits; `_check` judges."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


PairLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
_CONSTANTS = ("off_diagonal", "eps", "temperature", "invariance", "variance", "covariance")
_EMBEDDINGS = tensor("image", "feature")
_embeddings = checked({"p": _EMBEDDINGS, "q": _EMBEDDINGS, **dict.fromkeys(_CONSTANTS, _as_float)})


@_embeddings
def barlow_twins(p: Tensor, q: Tensor, *, off_diagonal: float = 5e-3, eps: float = 1e-5) -> Tensor:
    """Return (1/D) [sum_d (C_dd - 1)^2 + off_diagonal sum_{d != e} C_de^2].

    C = norm(P)^T norm(Q) / N, each column of P and Q standardised over the batch (Zbontar et al.,
    arXiv 2103.03230, eq. 1). Divided by D, so that the scale does not grow with the projector.

    Args:
        off_diagonal: lambda; 5e-3 is that paper's, its use here a reconstruction.
        eps: added to the variance.

    Raises:
        InputError: for a batch of 1, which has no correlation, or a constant out of range.
    """
    alike(p, q, "p and q")
    _check("barlow_twins", at_least_0={"off_diagonal": off_diagonal, "eps": eps})
    samples, width = p.shape
    if samples < 2:
        raise InputError("batch 1 has no correlation", node="barlow_twins", remedy="give 2 or more")
    correlation = _standardise(p, eps).T @ _standardise(q, eps) / samples
    diagonal = correlation.diagonal()
    on = (diagonal - 1).square().sum()
    off = correlation.square().sum() - diagonal.square().sum()
    return (on + off_diagonal * off) / width


def _standardise(z: Tensor, eps: float) -> Tensor:
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return (z - mean) * torch.rsqrt(variance + eps)


@_embeddings
def nt_xent(p: Tensor, q: Tensor, *, temperature: float = 0.2) -> Tensor:
    """Return the mean cross entropy of finding each image's partner among 2N - 1 others.

    Cosine similarities over `temperature`; both directions (Chen et al., arXiv 2002.05709, eq. 1).

    Args:
        temperature: 0.2 is a reconstruction, the value that learned best here on small networks.

    Raises:
        InputError: for a batch of 1, which has no negatives, or a temperature that is not above 0.
    """
    alike(p, q, "p and q")
    _check("nt_xent", above_0={"temperature": temperature})
    samples = len(p)
    if samples < 2:
        raise InputError("batch 1 has no negatives", node="nt_xent", remedy="give 2 or more")
    z = F.normalize(torch.cat([p, q]), dim=1)
    similarity = ((z / temperature) @ z.T).fill_diagonal_(-torch.inf)
    partner = torch.arange(2 * samples, device=z.device).roll(samples)
    return F.cross_entropy(similarity, partner)


@_embeddings
def vicreg(
    p: Tensor,
    q: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    eps: float = 1e-4,
) -> Tensor:
    """Return invariance s(P, Q) + variance [v(P) + v(Q)] + covariance [c(P) + c(Q)].

    s: mean squared difference; v: mean over dimensions of max(0, 1 - sqrt(var + eps)) / 2;
    c: sum of squared off-diagonal covariances over D (Bardes et al., arXiv 2105.04906, eq. 6,
    with its published halving of v). The weights 25, 25, 1 are that paper's, here reconstructed.

    Raises:
        InputError: for a batch of 1, which has no variance, or a constant out of range.
    """
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    alike(p, q, "p and q")
    _check("vicreg", at_least_0=weights, above_0={"eps": eps})
    if len(p) < 2:
        raise InputError("batch 1 has no variance", node="vicreg", remedy="give 2 or more")
    spread = _hinge(p, eps) + _hinge(q, eps)
    redundancy = _off_diagonal_covariance(p) + _off_diagonal_covariance(q)
    return invariance * F.mse_loss(p, q) + variance * spread + covariance * redundancy


def _hinge(z: Tensor, eps: float) -> Tensor:
    return F.relu(1 - torch.sqrt(z.var(dim=0) + eps)).mean() / 2


def _off_diagonal_covariance(z: Tensor) -> Tensor:
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


def _check(
    loss: str,
    *,
    above_0: Mapping[str, float] = MappingProxyType({}),
    at_least_0: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Raise InputError for a constant that is no finite number in its range."""
    for name, value in {**above_0, **at_least_0}.items():
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and name in above_0):
            allowed = "above 0" if name in above_0 else "0 and up"
            raise InputError(f"{name} {value!r}, allowed {allowed}, finite", node=loss)


PAIR_LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "barlow": barlow_twins,
    "ntxent": nt_xent,
    "vicreg": vicreg,
}


@checked({"name": text})
def pair_loss(name: str, **options: Any) -> PairLoss:
    """Return the pair loss `name` with `options` bound.

    Raises:
        UnknownNameError: for an unknown loss.
        InputError: for an option that the loss does not have.
    """
    if name not in PAIR_LOSSES:
        raise UnknownNameError.of("pair loss", name, PAIR_LOSSES)
    known = signature(PAIR_LOSSES[name]).parameters.keys() - {"p", "q"}
    for option in options:
        if option not in known:
            raise UnknownNameError.of(f"option of {name}", option, known)
    return partial(PAIR_LOSSES[name], **options)
