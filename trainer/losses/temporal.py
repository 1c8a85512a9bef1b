"""Temporal losses: which time steps of which paths are paired.

z_a, z_b [T, N, D]: projections of view A through Path A and of view B through Path B. Every pair
loss is taken between two single steps, standardised within them: stacked over time, the offset
between steps would be a shared shortcut, and other steps of an image would be its negatives.

Form of CTL and BTL: arXiv 2511.18542. That within-view pairs are part of the sums (`pairs="all"`),
and the scale in front of the sums, are reconstructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from ...export.ir.arguments import callback, checked, text
from ...export.ir.errors import InputError, UnknownNameError
from ..arguments import alike, tensor
from .pair import PairLoss

Pairs: TypeAlias = Literal["all", "cross"]
Reduction: TypeAlias = Literal["steps", "mean"]
Index: TypeAlias = tuple[int, int]  # (view, step): view 0 is A, 1 is B
TemporalLoss: TypeAlias = Callable[[Tensor, Tensor, PairLoss], Tensor]
_STEPS = tensor("time", "image", "feature")
_steps = checked({"z_a": _STEPS, "z_b": _STEPS, "pair": callback})


@_steps
def ctl(
    z_a: Tensor,
    z_b: Tensor,
    pair: PairLoss,
    *,
    pairs: Pairs = "all",
    reduction: Reduction = "steps",
) -> Tensor:
    """Return the cross temporal loss: all steps against all steps.

    (1/T) sum_{i != j} l(Z_i, Z_j), Z = [z_a[1..T], z_b[1..T]]: 2T(2T-1) ordered pairs.

    Args:
        pairs: `cross` leaves out the pairs within a view: 2 T^2 ordered pairs.
        reduction: `mean` divides by the number of ordered pairs instead of by T.
    """
    steps = range(len(z_a))
    return _sum_pairs(z_a, z_b, pair, _select(steps, pairs), len(steps), reduction)


@_steps
def btl(
    z_a: Tensor,
    z_b: Tensor,
    pair: PairLoss,
    *,
    pairs: Pairs = "all",
    reduction: Reduction = "steps",
) -> Tensor:
    """Return the boundary temporal loss: the first and the last step only.

    (1/2) sum_{i != j} l(Z_i, Z_j), Z = [z_a[1], z_a[T], z_b[1], z_b[T]]: 12 ordered pairs
    (8 with `pairs="cross"`).

    Raises:
        InputError: at T = 1, where first and last are one step.
    """
    if len(z_a) < 2:
        raise InputError("needs 2 time steps, found 1", node="btl", remedy="raise --time-steps")
    return _sum_pairs(z_a, z_b, pair, _select((0, len(z_a) - 1), pairs), 2, reduction)


@_steps
def non_cross(z_a: Tensor, z_b: Tensor, pair: PairLoss) -> Tensor:
    """Return the baseline without time: the mean over t of l(z_a[t], z_b[t])."""
    alike(z_a, z_b, "z_a and z_b")
    return torch.stack([pair(a, b) for a, b in zip(z_a, z_b, strict=True)]).mean()


def _select(steps: range | tuple[int, ...], pairs: Pairs) -> list[tuple[Index, Index]]:
    """Return each unordered pair of (view, step) once."""
    _refuse_unknown(pairs, "steps")
    indices = [(view, step) for view in (0, 1) for step in steps]
    return [(i, j) for i, j in combinations(indices, 2) if pairs == "all" or i[0] != j[0]]


def _refuse_unknown(pairs: Any, reduction: Any) -> None:
    if not isinstance(pairs, str) or pairs not in ("all", "cross"):
        raise InputError(f"pairs {pairs!r}, allowed all or cross", node="loss")
    if not isinstance(reduction, str) or reduction not in ("steps", "mean"):
        raise InputError(f"reduction {reduction!r}, allowed steps or mean", node="loss")


def _sum_pairs(
    z_a: Tensor,
    z_b: Tensor,
    pair: PairLoss,
    chosen: list[tuple[Index, Index]],
    steps: int,
    reduction: Reduction,
) -> Tensor:
    """Return the sum over ordered pairs, over `steps` or over their number.

    l is symmetric, so each unordered pair is computed once and counted twice.
    """
    _refuse_unknown("all", reduction)
    alike(z_a, z_b, "z_a and z_b")
    views = (z_a, z_b)
    total = torch.stack([pair(views[v][s], views[w][t]) for (v, s), (w, t) in chosen]).sum()
    return total / len(chosen) if reduction == "mean" else 2 * total / steps


LOSSES: tuple[str, ...] = ("ctl", "btl", "non_cross")


@checked({"name": text})
def temporal_loss(
    name: str, *, pairs: Pairs = "all", reduction: Reduction = "mean"
) -> TemporalLoss:
    """Return the temporal loss `name` as a function of (z_a, z_b, pair).

    `pairs` and `reduction` belong to `ctl` and `btl`. The mean over pairs is the default here: the
    scale then depends on neither T nor the choice of loss, as gradient clipping wants.

    Raises:
        UnknownNameError: naming the near losses.
    """
    _refuse_unknown(pairs, reduction)
    if name not in LOSSES:
        raise UnknownNameError.of("loss", name, LOSSES)
    if name == "non_cross":
        return non_cross
    return partial(ctl if name == "ctl" else btl, pairs=pairs, reduction=reduction)
