"""Which Delays of one step need not be written: those that a reader puts into loops by itself.

A reader cuts a loop at one place (`nir_cuts`). A Delay that stands there, or that weights without a
bias alone part from it, is left out: W delay(x) = delay(W x). One elsewhere, or one of several in a
loop, is written as nir.Delay, on whose loops readers cut nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ir import FormatError
from .nir_file import NirFile
from .nir_structure import Repairs, walking_order

Edge = tuple[str, str]
Ways = Mapping[Edge, Sequence[tuple[str, ...]]]
LINEAR = (
    "Affine", "Linear", "Conv1d", "Conv2d", "Scale", "SumPool2d", "AvgPool2d", "Flatten", "Delay",
)  # fmt: skip


def misplaced(
    nodes: Mapping[str, Any], edges: Sequence[Edge], ways: Ways, *, past_bias: bool
) -> set[str]:
    """Return the Delays that have to be written, of those that were left out.

    Args:
        nodes, edges: of the file without them. ways: by edge, the Delays left out on each way that
            became that edge. past_bias: let a step move over weights with a bias too, for readers
            that load no Delay; the first step then lacks the bias, which `nir_limits` tells.
    """
    every = {name for found in ways.values() for delays in found for name in delays}
    kinds = {
        name: (type(node).__name__, {"delay": node.delay} if hasattr(node, "delay") else {})
        for name, node in nodes.items()
    }
    try:
        order, back = walking_order(NirFile(kinds, list(edges)), Repairs(strict=False))
    except FormatError:
        return every
    cut = set(back)
    uneven = {edge for edge, found in ways.items() if len({len(delays) for delays in found}) > 1}
    wrong = {name for edge in uneven for delays in ways[edge] for name in delays}
    late = {edge: len(found[0]) - (edge in cut) for edge, found in ways.items()}
    linear = {name for name, node in nodes.items() if _linear(node, past_bias)}
    if wrong or _retimed(linear, edges, order, late):
        return wrong
    kept = {name for edge, found in ways.items() if edge in cut for d in found for name in d}
    return every - kept or every


def _retimed(
    linear: set[str], edges: Sequence[Edge], order: Sequence[str], late: Mapping[Edge, int]
) -> bool:
    """Whether steps too many and too few on edges cancel by moving over linear nodes."""
    moved = {name: 0 for name in order if name not in linear}
    before: dict[str, list[str]] = {name: [] for name in order}
    for source, target in edges:
        before[target].append(source)
    for name in order:
        known = [source for source in before[name] if source in moved]
        if name not in moved and known:
            moved[name] = moved[known[0]] + late.get((known[0], name), 0)
    return all(
        moved.get(target, 0) == moved.get(source, 0) + late.get((source, target), 0)
        for source, target in edges
    )


def _linear(node: Any, past_bias: bool) -> bool:
    """Whether a node hands on zeros as zeros and sums as sums."""
    kind = type(node).__name__
    return kind in LINEAR and (past_bias or not np.any(getattr(node, "bias", 0)))
