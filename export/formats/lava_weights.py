"""What Lava and lava-dl's netx make of integer weights before they multiply (Dense and Sparse).

Lava (lava-nc 0.10.0, utils/weightutils.py), per matrix::

    w = clip(w, -256, 255) mixed | clip(w, 0, 255) excitatory | clip(w, -255, 0) inhibitory
    w = (w >> n) << n, n = 8 - num_weight_bits (+ 1 if mixed); inhibitory weights by magnitude

netx (lava-dl 0.6.0, netx/utils.py, optimize_weight_bits) first scales the matrix up by the largest
power of two that fits and hands Lava the matching width and exponent; Lava chooses the mode itself.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from ..ir import Array, Conv2d, Node, Shape

SignMode: TypeAlias = Literal["MIXED", "EXCITATORY", "INHIBITORY"]
SIGN_MODES: tuple[SignMode, ...] = ("MIXED", "EXCITATORY", "INHIBITORY")
CONV_FIELD_LIMIT = 127
"""Lava's Conv holds groups, stride, padding and dilation as int8: of 192 groups it makes -64, and
then computes nothing, without a word."""


def natural_mode(weights: Array) -> SignMode:
    """Return the sign mode that Lava chooses where none is given."""
    if weights.min() >= 0:
        return "EXCITATORY"
    return "INHIBITORY" if weights.max() <= 0 else "MIXED"


def effective_weights(weights: Array, mode: SignMode, bits: int) -> Array:
    """Return the int64 weights that Lava's Dense and Sparse multiply with."""
    sign = -1 if mode == "INHIBITORY" else 1
    mixed = mode == "MIXED"
    clipped = np.clip(sign * weights.astype(np.int64), -256 if mixed else 0, 255)
    dropped = 8 - bits + mixed
    kept: Array = sign * ((clipped >> dropped) << dropped)
    return kept


def netx_weights(weights: Array) -> Array | None:
    """Return the float64 weights that a netx Dense layer computes with; None where it crashes.

    They are the given ones, or netx would compute another network than the file says.
    """
    w = weights.astype(np.int64)
    if (w.max() > 254 and w.min() < 0) or (w.min() < -256 and w.max() > 0):
        w = np.clip(w, -256, 254)
    high, low = int(w.max()), int(w.min())
    signed = int(high >= 0 and low < 0)
    if high == 0 and low >= 0:
        return None  # an all-zero layer: netx divides by its largest weight
    up = _power(high, low, signed)
    even = next((n for n in range(8, 0, -1) if not (w % (1 << n)).any()), 0)
    bits = 8 - up - (even - signed)
    if up < 0 or 8 - bits + (natural_mode(w) == "MIXED") < 0:
        return None  # it would shift by a negative number
    sent = w << up
    found: Array = effective_weights(sent, natural_mode(sent), bits) / 2.0**up
    return found


def _power(high: int, low: int, signed: int) -> int:
    """Return by how many bits netx shifts a matrix of this range to the left."""
    if signed:
        scale = min(127 / high if high else np.inf, -128 / low)
    else:
        scale = -256 / low if high < 0 else 255 / high
    return int(np.floor(np.log2(scale))) + signed


def int8_parts(weights: Array) -> list[tuple[Array, int]]:
    """Return int8 codes and left shifts whose sum is the weights: one pair where that can be."""
    shift = 0
    while weights.any() and not (weights % (2 << shift)).any():
        shift += 1
    for least in range(shift + 1):
        if _in_int8(weights >> least):
            return [((weights >> least).astype(np.int8), least)]
    high = next(k for k in range(1, 57) if _in_int8(weights >> k))
    rest = weights - (weights >> high << high)
    return [((weights >> high).astype(np.int8), high), *int8_parts(rest)]


def _in_int8(codes: Array) -> bool:
    return int(codes.min()) >= -128 and int(codes.max()) <= 127


def conv_excess(node: Node, kernel: Shape) -> int | None:
    """Return the largest number of a Conv but its groups that int8 does not hold, None if all fit.

    Lava computes with twice the padding, with the dilated kernel and with the stride as int8.
    """
    wide = [2 * padding for padding in getattr(node, "padding", ())]
    dilation = getattr(node, "dilation", (1, 1))
    wide += [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    largest = max(*wide, *getattr(node, "stride", (1,)))
    return largest if largest > CONV_FIELD_LIMIT else None


def conv_problem(node: Conv2d) -> tuple[str, str] | None:
    """Return why Lava's Conv would compute something else, and what to change, or None."""
    excess = conv_excess(node, node.weight.shape[2:])
    if excess is not None:
        reason = f"a stride, padding or kernel of {excess}, Lava computes with {CONV_FIELD_LIMIT}"
        return reason, "use a smaller one"
    if node.groups > CONV_FIELD_LIMIT:
        return f"{node.groups} groups, Lava computes with {CONV_FIELD_LIMIT}", "use fewer groups"
    return None
