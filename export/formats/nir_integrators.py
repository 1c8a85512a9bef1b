"""Integrators: loops of an addition and a delay, which NIR has nodes for (I and LI)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir import Add, Array, Delay, Graph, Scale


@dataclass(frozen=True, slots=True)
class Integrator:
    """y[t] = keep y[t-1] + x[t], as an Add, a Delay behind it and perhaps a Scale back to it.

    Attributes:
        inner: the Delay, and the Scale. keep: what the state keeps a step, above 0 and at most 1.
    """

    inner: tuple[str, ...]
    keep: Array

    @property
    def leaks(self) -> bool:
        """Whether the state forgets: LI; otherwise it is I."""
        return bool((self.keep != 1).any())


def integrators(graph: Graph) -> dict[str, Integrator]:
    """Return the integrators of a graph, by their Add."""
    found = {}
    for name in graph.of_kind(Add):
        for delay in dict.fromkeys(graph.consumers(name)):
            state = _closed(graph, name, delay)
            if state is not None:
                found[name] = state
                break
    return found


def _closed(graph: Graph, add: str, delay: str) -> Integrator | None:
    node = graph.nodes[delay]
    if not isinstance(node, Delay) or node.steps != 1 or len(graph.consumers(delay)) != 1:
        return None
    (behind,) = graph.consumers(delay)
    scale = graph.nodes[behind]
    if not isinstance(scale, Scale):
        return Integrator((delay,), np.ones(())) if behind == add else None
    keep = np.asarray(scale.factor, np.float64)
    if graph.consumers(behind) != (add,) or (keep <= 0).any() or (keep > 1).any():
        return None
    return Integrator((delay, behind), keep)


def inner_nodes(graph: Graph) -> set[str]:
    """Return the nodes that stand within integrators."""
    return {name for state in integrators(graph).values() for name in state.inner}
