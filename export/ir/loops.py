"""Loops of a graph: every one goes through a Delay."""

from __future__ import annotations

from .graph import Graph
from .nodes import Node


def in_loop(graph: Graph, delay: str, but: tuple[type[Node], ...] = ()) -> bool:
    """Whether a Delay closes a loop: what it emits comes back to it.

    Args:
        but: kinds of nodes that no way may pass.
    """
    seen, ways = {delay}, list(graph.consumers(delay))
    while ways:
        here = ways.pop()
        if here == delay:
            return True
        if here not in seen and not isinstance(graph.nodes[here], but):
            seen.add(here)
            ways += graph.consumers(here)
    return False
