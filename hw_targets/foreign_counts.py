"""Counters of another graph: refused before anything is priced."""

from __future__ import annotations

from ..export.ir import Graph, InputError
from ..sim.counters import Counters, of_counters


def refuse_foreign(graph: Graph, counters: Counters) -> None:
    """Raise InputError for counters of another graph than `graph`."""
    if not of_counters(graph, counters):
        raise InputError(
            "the counters are those of another graph", remedy="count a run of this graph"
        )
