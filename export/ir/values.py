"""What travels on each edge: analog frames, spikes, or currents."""

from __future__ import annotations

from typing import Literal, TypeAlias

import networkx as nx

from .graph import Graph
from .nodes import WEIGHTS, BatchNorm, Delay, Input, MatMul, Neuron, Node, Scale

ValueKind: TypeAlias = Literal["spike", "current", "analog"]
_ORDER: tuple[ValueKind, ...] = ("spike", "current", "analog")


def value_kinds(graph: Graph) -> dict[str, ValueKind]:
    """Return what each node emits.

    An Input is analog when it encodes directly, else spikes; weights, MatMul, Scale and BatchNorm
    make currents; a Neuron makes spikes; all other nodes pass on the highest kind they receive
    (spike < current < analog): an Add of spikes emits integer spikes, a Delay what its source does.
    """
    kinds: dict[str, ValueKind] = dict.fromkeys(graph.of_kind(Delay), "spike")
    for _ in range(len(kinds) + 1):
        for name in (*graph.order, *graph.of_kind(Delay)):
            received: list[ValueKind] = [kinds[s] for s in graph.inputs(name) if s in kinds]
            kinds[name] = _emitted(graph.nodes[name], received)
    return kinds


def analog_values(graph: Graph) -> set[str]:
    """Return the nodes whose values are numbers instead of spikes: what weighs them multiplies.

    An analog Input's, sums of weighted values and normalised ones, states that loops without a
    neuron keep, and what is made of such; a MatMul of spikes counts them, and pools, sums and
    factors of spikes stay events.
    """
    kept = {name for loop in loops_without_neuron(graph) for name in loop}
    own = {name for name, node in graph.nodes.items() if name in kept or _is_number(node)}
    found, ways = set(own), list(own)
    while ways:
        for name in graph.consumers(ways.pop()):
            if name not in found and not isinstance(graph.nodes[name], Neuron):
                found.add(name)
                ways.append(name)
    return found


def _is_number(node: Node) -> bool:
    """Whether a node emits numbers whatever it takes."""
    direct = isinstance(node, Input) and node.encoding == "direct"
    return direct or isinstance(node, (*WEIGHTS, BatchNorm))


def loops_without_neuron(graph: Graph) -> list[tuple[str, ...]]:
    """Return the loops of stateless nodes and Delays, each in the order of the graph.

    A leaky integrator that nothing fires is one: an Add, and a Delay that brings its sum back.
    """
    net: nx.DiGraph[str] = nx.DiGraph()
    stateless = {name for name, node in graph.nodes.items() if not isinstance(node, Neuron)}
    net.add_edges_from((e.source, e.target) for e in graph.edges if stateless >= {*e[:2]})
    place = {name: k for k, name in enumerate(graph.order)}
    return [
        tuple(sorted(part, key=place.__getitem__))
        for part in nx.strongly_connected_components(net)
        if len(part) > 1 or net.has_edge(*(2 * tuple(part)))
    ]


def analog_nodes(graph: Graph) -> set[str]:
    """Return the nodes between an analog Input and the first neurons, those included.

    A chip that takes spikes alone leaves them to its host.
    """
    found: set[str] = set()
    for name, node in graph.nodes.items():
        sources = graph.inputs(name)
        if isinstance(node, Input):
            analog = node.encoding == "direct"
        else:
            analog = any(s in found and not isinstance(graph.nodes[s], Neuron) for s in sources)
        if analog:
            found.add(name)
    return found


def _emitted(node: Node, received: list[ValueKind]) -> ValueKind:
    if isinstance(node, Input):
        return "analog" if node.encoding == "direct" else "spike"
    if isinstance(node, Neuron):
        return "spike"
    if isinstance(node, (*WEIGHTS, MatMul, Scale, BatchNorm)):
        return "current"
    return _ORDER[max((_ORDER.index(kind) for kind in received), default=0)]
