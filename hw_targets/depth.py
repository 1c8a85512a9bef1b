"""Depths: where each synapse takes a step, by how many steps a layer trails the network's input.

On Loihi a spike that is sent in one step is served in the next, so a layer of depth k computes at
the chip's step t + k what the graph computes at step t, and T steps take T + depth until the
readout has all. A Delay of the graph is part of its synapse and gives its steps back.
"""

from __future__ import annotations

from collections.abc import Collection

from ..export.ir import Delay, Graph, Input, Neuron, Output
from .reach import weights_into


def depths(graph: Graph, host: Collection[str] = ()) -> dict[str, int]:
    """Return the depth of each node, 0 for the Input and for the layers named as the host's.

    Empty where a loop has fewer steps of delay than synapses: no chip computes that in time.
    """
    found = dict.fromkeys(graph.nodes, 0)
    for _ in range(len(graph.nodes) + 1):
        before = dict(found)
        for name, node in graph.nodes.items():
            if isinstance(node, Input) or name in host:
                continue
            slowest = max(found[source] for source in graph.inputs(name))
            if isinstance(node, Delay):
                slowest -= node.steps
            elif isinstance(node, Neuron) or (
                isinstance(node, Output) and weights_into(graph, name)
            ):
                slowest = max(0, slowest + 1)
            found[name] = slowest
        if found == before:
            return found
    return {}
