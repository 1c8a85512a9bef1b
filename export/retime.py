"""Delays where whole numbers can be stored: before the weights that make currents of spikes.

W x[t - k] is (W x)[t - k], of weights without a bias and of all that hands on zeros as zeros.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .ir import (
    WEIGHTS,
    Add,
    AvgPool,
    Delay,
    Edge,
    Flatten,
    Graph,
    Input,
    MatMul,
    Neuron,
    Node,
    Reshape,
    Scale,
    SumPool,
    Transpose,
)
from .ir.loops import in_loop
from .ir.nodes import MaxPool
from .names import unused

MAKING = (*WEIGHTS, Scale, AvgPool)
"""What makes other numbers of the whole ones that enter."""
PASSED = (*MAKING, Add, MatMul, SumPool, MaxPool, Flatten, Reshape, Transpose)
STORED = (Neuron, Input, Delay)


@dataclass(frozen=True, slots=True)
class Way:
    """What lies between a Delay of currents and what it may store instead.

    Attributes:
        inner: the nodes between. own: those of them that feed the Delay alone.
        biased: the weights between that have a bias, which the Delay keeps back, too.
    """

    inner: tuple[str, ...]
    own: frozenset[str]
    biased: tuple[str, ...]


def delay_spikes(
    graph: Graph, delays: Iterable[str] | None = None, *, past_bias: bool = False
) -> Graph:
    """Return the graph whose Delays store what enters weights, not what leaves them.

    Args:
        delays: which; default: all.
        past_bias: move them over weights with a bias, too, which then acts from the first step;
            otherwise such a Delay stays where it is.
    """
    named = None if delays is None else list(delays)
    moved = True
    while moved:
        moved = False
        for name in graph.of_kind(Delay) if named is None else named:
            way = way_of(graph, name)
            if way is not None and (past_bias or not way.biased):
                graph, moved = _before(graph, name, way), True
    return graph


def way_of(graph: Graph, delay: str) -> Way | None:
    """Return what lies before a Delay of currents; None where it stores what it should.

    None also on a loop without a neuron, around which a Delay could move for ever.
    """
    inner, waiting = dict[str, Node](), [*graph.inputs(delay)]
    while waiting:
        name = waiting.pop()
        node = graph.nodes[name]
        if isinstance(node, PASSED) and name not in inner:
            inner[name] = node
            waiting += graph.inputs(name)
        elif not isinstance(node, (*PASSED, *STORED)):
            return None
    made = any(isinstance(node, MAKING) for node in inner.values())
    if not made or in_loop(graph, delay, (Neuron,)):
        return None
    biased = (n for n, node in inner.items() if isinstance(node, WEIGHTS) and _has_bias(node))
    return Way(tuple(inner), _feeding_alone(graph, delay, set(inner)), tuple(biased))


def _has_bias(node: Any) -> bool:
    return node.bias is not None and bool(np.any(node.bias))


def _feeding_alone(graph: Graph, delay: str, inner: set[str]) -> frozenset[str]:
    own: set[str] = set()
    for name in reversed(graph.order):
        if name in inner and set(graph.consumers(name)) <= own | {delay}:
            own.add(name)
    return frozenset(own)


def _before(graph: Graph, delay: str, way: Way) -> Graph:
    """Return the graph with a Delay of each value that enters the way, and none behind it.

    What feeds other nodes, too, stays as it is for them, and stands once more behind the Delays.
    """
    node, (last,) = graph.of_kind(Delay)[delay], graph.inputs(delay)
    nodes = {name: kept for name, kept in graph.nodes.items() if name != delay}
    late: dict[str, str] = {}
    for name in way.inner:
        late[name] = name if name in way.own else unused(f"{name}.late", graph.nodes)
        nodes[late[name]] = graph.nodes[name]
    edges = []
    for source, target, port in graph.edges:
        if target in way.inner:
            if source not in late:  # enters the way: the first keeps the Delay's name
                label = delay if delay not in nodes else unused(f"{source}.late", nodes)
                late[source] = label
                nodes[label] = replace(node, shape=graph.shapes[source])
                edges.append(Edge(source, label))
            edges.append(Edge(late[source], late[target], port))
        if target != delay and target not in way.own:
            edges.append(Edge(late[last] if source == delay else source, target, port))
    return graph.replace(nodes, edges)
