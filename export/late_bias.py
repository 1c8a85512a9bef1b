"""Delayed weights that have a bias: it reaches the neurons behind from the second step on.

Before the weights, where the Delay has to stand at the integer level (`retime`), it would let the
bias act from the first. A v that starts lower by just that much makes up for it (`lower_start`),
in every neuron that the bias reaches: on each way behind the Delay, all ways to one neuron added.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .ir import WEIGHTS, Add, Array, Delay, Flatten, Graph, LoweringError, Neuron, Node
from .ir.nodes import Linear, Reshape, Scale, Transpose
from .lower_start import no_lower_start, starting_lower
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
    """Return the graph whose neurons start lower by what the bias adds one step early."""
    changed: dict[str, Node] = {}
    for name, early in _early(graph, delay, way).items():
        node = graph.nodes[name]
        reason = "has no state that can start without it"
        if isinstance(node, Neuron):
            reason = no_lower_start(node, early)
        if reason:
            raise _refusal(way, f"{name} {reason}")
        assert isinstance(node, Neuron)
        changed[name] = starting_lower(node, early)
    return graph.replace({**graph.nodes, **changed})


def _early(graph: Graph, delay: str, way: Way) -> dict[str, Array]:
    """Return by name what each neuron and readout would get in the first step, and should not."""
    at_rest: dict[str, Array] = {}
    for name in graph.order:
        if name in way.inner:
            _pass_on(graph, name, at_rest, way)
            if name in way.biased:
                at_rest[name] = _bias(graph, name)
    (source,) = graph.inputs(delay)
    if source not in at_rest or not at_rest[source].any():
        return {}
    if graph.of_kind(Delay)[delay].steps != 1:
        raise _refusal(way, "no neuron alone takes it one step later")
    behind = {delay: at_rest[source]}
    for name in graph.order:
        if name != delay:
            _pass_on(graph, name, behind, way)
    ends = (*graph.neurons, graph.output_name)
    return {name: behind[name] for name in ends if name in behind}


def _pass_on(graph: Graph, name: str, values: dict[str, Array], way: Way) -> None:
    """Add to `values` what a node makes of those that enter it; what is not there is zero."""
    node, sources = graph.nodes[name], graph.inputs(name)
    given = [values[source] for source in sources if _travels(graph, source, values)]
    if not given:
        return
    if isinstance(node, (Flatten, Reshape, Transpose)):
        full = np.broadcast_to(given[0], graph.shapes[sources[0]])
        turned = np.transpose(full, node.axes) if isinstance(node, Transpose) else full
        values[name] = turned.reshape(graph.shapes[name])
    elif isinstance(node, Scale):
        values[name] = given[0] * node.factor
    elif isinstance(node, Add) or name in graph.neurons or name == graph.output_name:
        values[name] = np.asarray(sum(given))
    else:
        raise _refusal(way, f"no neuron takes it before {name}, a {node.kind}")


def _travels(graph: Graph, source: str, values: Mapping[str, Array]) -> bool:
    """Whether a value passes on from its node: what enters a neuron ends there."""
    return source in values and source not in graph.neurons and bool(values[source].any())


def _bias(graph: Graph, name: str) -> Array:
    """Return the bias of weights so that it broadcasts to what they emit."""
    node = graph.nodes[name]
    assert isinstance(node, WEIGHTS) and node.bias is not None
    bias = node.bias.astype(np.float64)
    rank = 1 if isinstance(node, Linear) else len(graph.shapes[name])
    return bias.reshape(-1, *(1,) * (rank - 1))


def _refusal(way: Way, why: str) -> LoweringError:
    return LoweringError(
        f"what is delayed has a bias, and {why}",
        node=way.biased[0],
        remedy="move the bias into weights that are not delayed, or into the neuron",
    )
