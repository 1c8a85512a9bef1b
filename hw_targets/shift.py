"""Shifts of weights: where a chip has no exponent beside a weight, the shift moves into the codes.

(W x) << k == (W << k) x, so no integer changes as long as the shifted codes fit the chip's weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..export.ir import WEIGHTS, Graph, Node, Weight
from .target import Target

EXPONENTS = ("cores", "none")
"""Mappings whose weights have an exponent (Loihi) or are software."""


def has_exponents(target: Target) -> bool:
    """Whether a weight of the chip comes with a shift."""
    return target.mapping in EXPONENTS


def shifted_bits(node: Weight) -> int:
    """Return the signed width of the codes with their shift."""
    if not node.weight_shift:
        return node.bits or 8
    low, high = (int(v) << node.weight_shift for v in (node.weight.min(), node.weight.max()))
    return signed_bits(low, high)


def signed_bits(low: int, high: int) -> int:
    """Return the width in two's complement of low..high, 2 at least."""
    return max(2, high.bit_length() + 1, (-low - 1).bit_length() + 1 if low < 0 else 0)


def fold_shifts(graph: Graph, target: Target) -> Graph:
    """Return the graph with each shift moved into its codes, where the chip's weights hold them."""
    if has_exponents(target):
        return graph
    allowed = min(target.limit("weight_bits") or 8, 8)

    def change(name: str, node: Node) -> Node:
        if not isinstance(node, WEIGHTS) or not node.weight_shift or shifted_bits(node) > allowed:
            return node
        codes = (node.weight.astype(np.int64) << node.weight_shift).astype(np.int8)
        scale = None if node.scale is None else node.scale / 2.0**node.weight_shift
        bits = max(node.bits or 8, shifted_bits(node))
        return replace(node, weight=codes, weight_shift=0, scale=scale, bits=bits)

    return graph.map_nodes(change)
