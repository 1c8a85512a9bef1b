"""Delayed weights that have a bias: it reaches the neuron from the second step on.

Before the weights, where the Delay has to stand at the integer level (`retime`), it would let the
bias act from the first. A v that starts lower by just that much, -bias / beta, makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .ir import Add, Array, Delay, Graph, LoweringError, Neuron, Weight
from .ir.nodes import Linear
from .retime import Way, delay_spikes, way_of


def delay_only_spikes(graph: Graph) -> Graph:
    """Return a folded graph whose Delays store spikes, with the values that it had.

    Raises:
        LoweringError: naming delayed weights whose bias no neuron's start can make up for.
    """
    graph = delay_spikes(graph)
    for name in graph.of_kind(Delay):
        way = way_of(graph, name)
        if way is not None:
            graph = _starting_lower(graph, name, way)
            graph = delay_spikes(graph, [name], past_bias=True)
    return graph


def _starting_lower(graph: Graph, delay: str, way: Way) -> Graph:
    for weights in way.biased:
        neuron = _neuron_behind(graph, weights, delay)
        node, by = graph.neurons[neuron], _bias(graph, weights)
        assert node.beta is not None
        lower = node.v_init - by / node.beta.astype(np.float64)
        graph = graph.replace({**graph.nodes, neuron: replace(node, v_init=lower)})
    return graph


def _bias(graph: Graph, name: str) -> Array:
    """Return the bias of weights so that it broadcasts to what they emit."""
    node = graph.nodes[name]
    assert isinstance(node, Weight) and node.bias is not None
    bias = node.bias.astype(np.float64)
    rank = 1 if isinstance(node, Linear) else len(graph.shapes[name])
    return bias.reshape(-1, *(1,) * (rank - 1))


def _neuron_behind(graph: Graph, weights: str, delay: str) -> str:
    """Return the neuron whose start can make up for the bias of weights."""
    *between, last = _along(graph, weights)
    node = graph.nodes[last]
    plain = all(name == delay or isinstance(graph.nodes[name], Add) for name in between)
    if not (plain and delay in between and graph.of_kind(Delay)[delay].steps == 1):
        reason = "what is delayed has a bias, and no neuron alone takes it one step later"
    elif not isinstance(node, Neuron) or node.current_based or node.leak_subtract is not None:
        reason = f"what is delayed has a bias, and {last} has no state that can start without it"
    elif node.beta is None or (node.beta == 0).any():
        reason = f"what is delayed has a bias, and {last} keeps nothing of where it starts"
    else:
        return last
    raise LoweringError(
        reason,
        node=weights,
        remedy="move the bias into weights that are not delayed, or into the neuron",
    )


def _along(graph: Graph, name: str) -> Iterator[str]:
    """Yield what stands behind a node, as long as one way leads on, to the first neuron."""
    ways = graph.consumers(name)
    while len(ways) == 1:
        yield ways[0]
        ways = () if isinstance(graph.nodes[ways[0]], Neuron) else graph.consumers(ways[0])
    if ways:
        yield ways[0]
