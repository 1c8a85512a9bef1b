"""Currents that fit a chip whose u wraps: no worst case may leave the state, where it would wrap.

A neuron without a synaptic current of its own takes u = a << state_shift. Loihi holds u in the
same 24 bits as v and wraps it (lava-nc 0.10.0, `lif/models.py`), so |a| has to stay below 2^17
there: the unit of the weights before it is made as much wider as the worst case asks for. One
with a synaptic current may wrap once, so that it has twice the room.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .ir import WEIGHTS, Delay, Graph, Neuron, Output, Profile, bounds

LEAST_STEP = 1.01
"""By how much a unit is widened at least: codes are rounded, so that a sum falls unevenly."""


def current_excess(graph: Graph, profile: Profile) -> dict[str, float]:
    """Return, for each weight node whose sums could wrap, the factor by which they exceed the room.

    Empty for a profile whose u saturates, or that leaves the state's fraction open.
    """
    if profile.u_range != "wrap" or profile.state_shift is None:
        return {}
    half = 1 << (profile.state_bits - 1 - profile.state_shift)
    limits = bounds(graph, states=False)
    found: dict[str, float] = {}
    for name, node in graph.nodes.items():
        if not isinstance(node, (Neuron, Output)):
            continue
        room: float = half - 1
        largest: float = limits[graph.inputs(name)[0]].largest
        if isinstance(node, Neuron) and node.current_based:
            # What it keeps may wrap once: decay(u) + i within 3 halves, of which u takes one.
            room += half
            if node.bias_in is not None:
                largest += float(np.abs(node.bias_in).max()) / (1 << profile.state_shift)
        if largest > room:
            factor = max(LEAST_STEP, largest / room)
            found |= {w: max(found.get(w, 1.0), factor) for w in _weights_before(graph, name)}
    return found


def _weights_before(graph: Graph, name: str) -> Iterator[str]:
    """Yield the weight nodes whose sums arrive at a node without passing a neuron."""
    ways = list(graph.inputs(name))
    while ways:
        source = ways.pop()
        node = graph.nodes[source]
        if isinstance(node, WEIGHTS):
            yield source
        elif not isinstance(node, (Neuron, Delay)):
            ways += graph.inputs(source)
