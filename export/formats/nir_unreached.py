"""Nodes of a NIR file that feed the Output and that the Input does not reach.

A graph of ours has one source. What emits nothing without an input can go; what emits by itself, by
a bias, a leak, a threshold or where it starts, cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..ir import FormatError

DRIVING = ("bias", "v_leak", "v_reset")
"""Fields that drive a node without an input unless they are 0 (v_reset: where v may start)."""
LIMITS = ("v_threshold", "threshold")


def refuse_driven(nodes: Mapping[str, tuple[str, Mapping[str, Any]]], names: Iterable[str]) -> None:
    """Refuse nodes, unreached and feeding the Output, that emit without an input.

    Raises:
        FormatError: naming the first of them and what drives it.
    """
    for name in names:
        field = _driven_by(nodes[name][1])
        if field is not None:
            raise FormatError(
                f"feeds the Output, though the Input does not reach it: its {field} drives it",
                node=name,
                remedy="connect the Input to it, by weights of zero where nothing should enter",
            )


def _driven_by(fields: Mapping[str, Any]) -> str | None:
    for key in DRIVING:
        if key in fields and np.any(_numbers(fields[key]) != 0):
            return key
    for key in LIMITS:
        if key in fields and np.any(~(_numbers(fields[key]) > 0)):
            return key
    return None


def _numbers(value: Any) -> Any:
    """Return an array of numbers; NaN for what is none, which counts as driving."""
    found = np.asarray(value)
    return found if found.dtype.kind in "fiub" else np.asarray(np.nan)
