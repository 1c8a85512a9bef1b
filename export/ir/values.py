"""What travels on each edge: analog frames, spikes, or currents."""

from __future__ import annotations

from typing import Literal, TypeAlias

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

    An analog Input's, sums of weighted values and normalised ones, and what is made of such; a
    MatMul of spikes counts them, and pools, sums and factors of spikes stay events.
    """
    found: set[str] = set()
    for _ in range(len(graph.of_kind(Delay)) + 1):
        for name in (*graph.order, *graph.of_kind(Delay)):
            node = graph.nodes[name]
            own = isinstance(node, (*WEIGHTS, BatchNorm))
            own = own or (isinstance(node, Input) and node.encoding == "direct")
            passed = not isinstance(node, Neuron) and not found.isdisjoint(graph.inputs(name))
            if own or passed:
                found.add(name)
    return found


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
