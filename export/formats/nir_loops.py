"""Loops of tools that delay spikes: the step lies between a neuron and the weights behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..ir import WEIGHTS, Delay, Edge, Graph


def with_delayed_spikes(graph: Graph, delays: Sequence[str]) -> Graph:
    """Return the graph whose loops delay what enters their last weights, not what leaves them.

    The two differ in the first step alone: the weights' bias is there from the start.
    """
    for name in delays:
        source = graph.inputs(name)[0]
        if isinstance(graph.nodes[source], WEIGHTS) and graph.consumers(source) == (name,):
            graph = _exchanged(graph, name, source)
    return graph


def _exchanged(graph: Graph, delay: str, weights: str) -> Graph:
    (before,) = graph.inputs(weights)
    node = graph.of_kind(Delay)[delay]
    kept = [e for e in graph.edges if not {delay, weights} & {e.source, e.target}]
    around = [e for e in graph.edges if e.source == delay]
    moved = [Edge(before, delay), Edge(delay, weights)]
    moved += [Edge(weights, e.target, e.port) for e in around]
    nodes = {**graph.nodes, delay: replace(node, shape=graph.shapes[before])}
    return graph.replace(nodes, [*kept, *moved])
