"""How wide a weight step is: the scale of symmetric quantisation, by rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .ir import Array, UnknownNameError
from .ir.profile import Granularity, ScaleRule

PERCENTILE = 99.9
"""The share of |weights|, in percent, that the `percentile` rule leaves unclipped."""
MSE_STEPS = 60
"""How many clipping points the `mse` rule tries between 30 % and 100 % of the largest |weight|."""


def largest_code(bits: int) -> int:
    """Return the largest code of symmetric signed quantisation: 2^(bits-1) - 1."""
    return int((1 << (bits - 1)) - 1)


def weight_scale(weight: Array, bits: int, granularity: Granularity, rule: ScaleRule) -> Array:
    """Return the scale s, float64 [out] (all equal for `layer`), of weight [out, ...].

    q = clip(rint(w / s), -(2^(bits-1) - 1), 2^(bits-1) - 1). A channel of zeros takes the largest
    scale of the layer, so that it constrains nothing; a layer of zeros has scale 0.

    Raises:
        UnknownNameError: for a rule that does not exist.
    """
    if rule not in RULES:
        raise UnknownNameError.of("scale rule", rule, RULES)
    rows = weight.astype(np.float64).reshape(weight.shape[0], -1)
    np.abs(rows, out=rows)
    if granularity == "layer":
        return np.full(len(rows), RULES[rule](rows.reshape(1, -1), bits)[0])
    scale = RULES[rule](rows, bits)
    return np.where(scale > 0, scale, scale.max())


def quantise_weight(weight: Array, scale: Array, bits: int) -> Array:
    """Return int8 codes of weight [out, ...] for scale [out]."""
    top = largest_code(bits)
    column = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    steps: Array = weight / column
    np.clip(
        np.rint(steps, out=steps), -top, top, out=steps
    )  # in place: large layers are float64 here
    return steps.astype(np.int8)


def _max(rows: Array, bits: int) -> Array:
    largest: Array = rows.max(axis=1)
    return largest / largest_code(bits)


def _percentile(rows: Array, bits: int) -> Array:
    chosen: Array = np.percentile(rows, PERCENTILE, axis=1, method="higher")
    scale: Array = chosen / largest_code(bits)
    return scale


def _mse(rows: Array, bits: int) -> Array:
    """Search the clipping point of the least squared error, a row at a time."""
    top, full = largest_code(bits), _max(rows, bits)
    best: Array = full.copy()
    least = np.full(len(rows), np.inf)
    for share in np.linspace(0.3, 1.0, MSE_STEPS):
        scale = np.where(full > 0, full * share, 1.0)[:, None]
        codes = np.minimum(np.rint(rows / scale), top)
        error = ((codes * scale - rows) ** 2).sum(axis=1)
        better = error < least
        best = np.where(better, full * share, best)
        least = np.where(better, error, least)
    return best


RULES: dict[str, Callable[[Array, int], Array]] = {
    "max": _max,
    "percentile": _percentile,
    "mse": _mse,
}
