"""Rewrites before NIR is written: the same network from nodes that a dialect's reader has.

Passes over a folded graph, graph to graph, that change no spike in float32. What they cannot
express stays as it is; `nir_out` warns of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import networkx as nx
import numpy as np

from ..ir import (
    WEIGHTS,
    Add,
    Array,
    AvgPool,
    Conv1d,
    Conv2d,
    Delay,
    Edge,
    Flatten,
    Graph,
    Linear,
    Neuron,
    Node,
    Scale,
    SumPool,
    Weight,
    check,
)
from ..ir.loops import in_loop
from ..ir.nodes import is_padded, paddings
from ..ir.uneven_padding import evenly_padded
from ..names import unused
from .nir_dialect import Dialect
from .nir_integrators import inner_nodes

Conv = TypeVar("Conv", Conv1d, Conv2d)
WIDEST_IDENTITY = 1024
"""Neurons that get identity weights of their own in a file for no reader in particular."""
LINEAR = (Add, Flatten, SumPool, AvgPool, Scale)
"""What a gain or a bias passes on its way from weights to a neuron."""


def rewrite(graph: Graph, dialect: Dialect, gained: Callable[[Neuron], bool]) -> Graph:
    """Return a folded graph, for a dialect.

    Args:
        gained: whether the currents into a neuron have to take a factor into their weights.
    """
    graph = _loops_last(_apart(graph))
    for delay in without_loop_delays(graph):
        graph = _bias_out_of_loop(graph, delay)
        if dialect.long_loops:
            graph = _identity_behind(graph, delay)
    graph = graph.map_nodes(lambda name, node: typed(_even(node, graph.shapes[name])))
    if dialect.few_layers:
        within, shapes = inner_nodes(graph), graph.shapes
        graph = graph.map_nodes(
            lambda name, node: node if name in within else _plain(node, shapes[name])
        )
    graph = _weighed(graph, dialect, gained)
    return check(graph.map_nodes(lambda _, node: _compared(node, dialect)))


def _weighed(graph: Graph, dialect: Dialect, gained: Callable[[Neuron], bool]) -> Graph:
    """Give weights of their own to what has to take a factor or a bias into them."""
    before, uneven = [], []
    for name, node in graph.neurons.items():
        alike = dialect.uniform == "all" or (dialect.uniform == "leaky" and leaks(node))
        differ = alike and one_a_channel(node.v_threshold, node.shape)
        wide = len(node.shape) == 1 and node.shape[0] > WIDEST_IDENTITY and not dialect.few_layers
        takes = node.bias is not None or (gained(node) and not wide)  # else r does
        if differ or (takes and not fed_alone(graph, name)):
            before.append(name)
        if differ:
            uneven.append(name)
    if graph.output.bias is not None and not fed_alone(graph, graph.output_name):
        before.append(graph.output_name)
    graph, identities = _identities_before(graph, before)
    nodes = dict(graph.nodes)
    for name in uneven:
        if name in identities:
            nodes |= _one_threshold(graph, identities[name], name)
    return graph.replace(nodes)


def behind(graph: Graph, name: str) -> list[str]:
    """Return the neurons, weights or Output that the values of `name` reach, once each."""
    found: dict[str, None] = {}
    seen, ways = {name}, [*reversed(graph.consumers(name))]
    while ways:
        here = ways.pop()
        if here in seen:
            continue
        seen.add(here)
        if isinstance(graph.nodes[here], LINEAR):
            ways += reversed(graph.consumers(here))
        else:
            found[here] = None
    return list(found)


def leaves(graph: Graph, name: str) -> dict[str, int]:
    """Return the nodes whose values reach `name`, each with the number of its ways."""
    inside, stack = {name}, [name]
    while stack:
        for source in graph.inputs(stack.pop()):
            if isinstance(graph.nodes[source], LINEAR) and source not in inside:
                inside.add(source)
                stack.append(source)
    ways, found = {name: 1}, dict[str, int]()
    for here in [node for node in reversed(graph.order) if node in inside]:
        for source in graph.inputs(here):
            counts = ways if source in inside else found
            counts[source] = counts.get(source, 0) + ways[here]
    return found


def fed_alone(graph: Graph, name: str) -> bool:
    """Whether all that enters `name` comes from weights that feed it alone."""
    return all(
        isinstance(graph.nodes[leaf], WEIGHTS) and behind(graph, leaf) == [name]
        for leaf in leaves(graph, name)
    )


def leaks(node: Neuron) -> bool:
    """Whether a folded neuron is written as LIF: integrate-and-fire keeps all of v."""
    return node.beta is not None and bool((node.beta != 1).any())


def _identity(shape: tuple[int, ...]) -> Weight | None:
    """Return weights that change nothing, or None for a shape that no reader's weights take."""
    if len(shape) == 1:
        return Linear(np.eye(shape[0]))
    if len(shape) == 3:
        return Conv2d(np.eye(shape[0]).reshape(shape[0], shape[0], 1, 1))
    return None


def _put_before(graph: Graph, edge: Edge, name: str, node: Node) -> Graph:
    name = unused(name, graph.nodes)
    edges = [e for e in graph.edges if e != edge]
    edges += [Edge(edge.source, name), Edge(name, edge.target, edge.port)]
    return graph.replace({**graph.nodes, name: node}, edges)


def _identities_before(graph: Graph, names: list[str]) -> tuple[Graph, dict[str, str]]:
    """Give neurons (or the Output) weights of their own; return the graph and their names.

    All at once: each new graph is sorted anew.
    """
    taken, wanted = set(graph.nodes), set(names)
    nodes: dict[str, Node] = {}
    labels: dict[str, str] = {}
    for name, node in graph.nodes.items():
        identity = _identity(graph.shapes[graph.inputs(name)[0]]) if name in wanted else None
        if identity is not None:
            labels[name] = unused(f"{name}.identity", taken)
            taken.add(labels[name])
            nodes[labels[name]] = identity
        nodes[name] = node
    edges = [e._replace(target=labels.get(e.target, e.target)) for e in graph.edges]
    edges += [Edge(new, name) for name, new in labels.items()]
    return graph.replace(nodes, edges), labels


def _apart(graph: Graph) -> Graph:
    """NIR cannot add a value to itself: all ways but the first go through identity weights."""
    added: dict[str, set[str]] = {}
    for name in graph.order:
        if not isinstance(graph.nodes[name], Add):
            continue
        seen: set[str] = set()
        for edge in [e for e in graph.edges if e.target == name]:
            own, node = added.get(edge.source, {edge.source}), _identity(graph.shapes[edge.source])
            if seen & own and node is not None:
                label = unused(f"{name}.{edge.port}.identity", graph.nodes)
                graph, own = _put_before(graph, edge, label, node), {label}
            seen |= own
        added[name] = seen
    return graph


def _loops_last(graph: Graph) -> Graph:
    """Return the graph whose Adds take what a loop brings back behind everything else."""
    ports: dict[Edge, int] = {}
    loop = {name: k for k, part in enumerate(_strong_parts(graph)) for name in part}
    for name in graph.of_kind(Add):
        entering = [e for e in graph.edges if e.target == name]
        ordered = sorted(entering, key=lambda e: (loop[e.source] == loop[e.target], e.port))
        ports |= {edge: port for port, edge in enumerate(ordered)}
    return graph.replace(edges=[e._replace(port=ports.get(e, e.port)) for e in graph.edges])


def _strong_parts(graph: Graph) -> list[set[str]]:
    """Return the nodes in parts: in each, every node's values reach every other."""
    return list(nx.strongly_connected_components(graph.networkx()))


def _bias_out_of_loop(graph: Graph, delay: str) -> Graph:
    """Move the bias of weights behind a Delay to their neuron: readers start loops from zero."""
    for name in graph.consumers(delay):
        node, reached = graph.nodes[name], behind(graph, name)
        if not isinstance(node, WEIGHTS) or node.bias is None or not node.bias.any():
            continue
        if len(reached) != 1 or reached[0] not in graph.neurons or not direct(graph, name):
            continue  # `nir_limits` tells
        neuron = graph.neurons[reached[0]]
        column = node.bias.reshape(-1, *(1,) * (len(neuron.shape) - 1))
        held = neuron.bias_in if neuron.current_based else neuron.bias
        total = column if held is None else column + held
        current = neuron.current_based
        moved = replace(neuron, bias_in=total) if current else replace(neuron, bias=total)
        nodes = {**graph.nodes, name: replace(node, bias=None), reached[0]: moved}
        graph = graph.replace(nodes)
    return graph


def direct(graph: Graph, name: str) -> bool:
    """Whether the values of `name` arrive with nothing but additions on their way."""
    seen, ways = {name}, list(graph.consumers(name))
    while ways:
        here = ways.pop()
        if here in seen or not isinstance(graph.nodes[here], LINEAR):
            continue
        if not isinstance(graph.nodes[here], Add):
            return False
        seen.add(here)
        ways += graph.consumers(here)
    return True


def _identity_behind(graph: Graph, delay: str) -> Graph:
    """Lengthen a loop by identity weights."""
    node = _identity(graph.shapes[delay])
    edge = next(e for e in graph.edges if e.source == delay)
    return graph if node is None else _put_before(graph, edge, f"{delay}.identity", node)


def typed(node: Node) -> Node:
    """Return convolutions as nir's own type check takes them: square and without groups."""
    if isinstance(node, Conv2d):
        return _square(_ungrouped(evenly_padded(node)))
    return _ungrouped(evenly_padded(node)) if isinstance(node, Conv1d) else node


def _even(node: Node, shape: tuple[int, ...]) -> Node:
    """Return a node whose padding no field of NIR holds as one whose padding does."""
    uneven = isinstance(node, SumPool) and node.padding_end is not None and len(node.kernel) == 2
    return _summing(node, shape[0]) if uneven and isinstance(node, SumPool) else node


def _plain(node: Node, shape: tuple[int, ...]) -> Node:
    """Return a pool or factor as weights, where that is needed."""
    if isinstance(node, SumPool) and len(node.kernel) == 2 and is_padded(node):
        return _summing(node, shape[0])
    scaling = _scaling(node, shape) if isinstance(node, Scale) else None
    return node if scaling is None else scaling


def _summing(node: SumPool, channels: int) -> Conv2d:
    """Return the convolution that sums windows: readers leave the padding of pools out."""
    diagonal = np.eye(channels)[:, :, None, None]
    kernel = np.broadcast_to(diagonal, (channels, channels, *node.kernel))
    front, end = paddings(node)
    summing = Conv2d(kernel, stride=node.stride, padding=front, padding_end=end)
    return _square(evenly_padded(summing))


def _scaling(node: Scale, shape: tuple[int, ...]) -> Weight | None:
    found = _identity(shape)
    factor = np.broadcast_to(node.factor, shape)
    first = factor.reshape(*shape[:1], -1)[:, :1] if len(shape) > 1 else factor[:, None]
    uneven = len(shape) > 1 and (factor.reshape(shape[0], -1) != first).any()
    return None if found is None or uneven else _times(found, first[:, 0])


def _times(node: Weight, rows: Array) -> Weight:
    """Return weights whose output channels are multiplied by `rows`."""
    column = rows.reshape(-1, *(1,) * (node.weight.ndim - 1))
    bias = None if node.bias is None else node.bias.astype(np.float64) * rows
    return replace(node, weight=node.weight.astype(np.float64) * column, bias=bias)


def _ungrouped(node: Conv) -> Conv:
    if node.groups == 1:
        return node
    outs, ins = node.weight.shape[0] // node.groups, node.weight.shape[1]
    weight = np.zeros((node.weight.shape[0], ins * node.groups, *node.weight.shape[2:]))
    for k in range(node.groups):
        rows = slice(k * outs, (k + 1) * outs)
        weight[rows, k * ins : (k + 1) * ins] = node.weight[rows]
    return replace(node, weight=weight, groups=1)


def _square(node: Conv2d) -> Conv2d:
    """nir takes the height of a kernel for its width: zeros around it make them alike."""
    size = node.weight.shape[2:]
    more = [max(size) - k for k in size]
    if not any(more) or any(m % 2 for m in more):
        return node
    around = [m // 2 for m in more]
    weight = np.pad(node.weight, ((0, 0), (0, 0), *((a, a) for a in around)))
    wider = zip(node.padding, node.dilation, around, strict=True)
    return replace(node, weight=weight, padding=tuple(p + d * a for p, d, a in wider))


def one_a_channel(values: Array, shape: tuple[int, ...]) -> bool:
    """Whether values differ over the channels of a map, and only over them."""
    full = np.broadcast_to(values, shape).reshape(shape[0], -1)
    return bool((full == full[:, :1]).all() and (full != full[0, 0]).any())


def _one_threshold(graph: Graph, weights: str, name: str) -> dict[str, Node]:
    """Return neuron `name` and its own weights with each channel in units of its threshold."""
    own, node = graph.nodes[weights], graph.nodes[name]
    assert isinstance(own, WEIGHTS) and isinstance(node, Neuron)
    if (node.v_threshold <= 0).any():
        return {}
    full = np.broadcast_to(node.v_threshold.astype(np.float64), node.shape)
    factor = full.max() / full

    def scaled(value: Array | None) -> Any:
        return None if value is None else value * factor

    rows = factor.reshape(node.shape[0], -1)[:, 0]
    even = replace(
        node,
        v_threshold=np.asarray(full.max()),
        bias=scaled(node.bias),
        v_reset=scaled(node.v_reset),
        v_init=scaled(node.v_init),
        v_min=scaled(node.v_min),
        leak_subtract=scaled(node.leak_subtract),
    )
    return {weights: _times(own, rows), name: even}


def _compared(node: Node, dialect: Dialect) -> Node:
    """v >= th is v > the float32 just below th, and v > th is v >= the one just above."""
    if not isinstance(node, Neuron) or node.compare == dialect.compare:
        return node
    if dialect.reset == "soft" or node.reset != "hard" or node.max_spikes_per_step > 1:
        return node
    toward = np.float32(np.inf if dialect.compare == ">=" else -np.inf)
    moved = np.nextafter(node.v_threshold.astype(np.float32), toward)
    return replace(node, v_threshold=moved, compare=dialect.compare)


def without_loop_delays(graph: Graph) -> dict[str, str]:
    """Return Delays of one step that close loops, and what feeds each: readers put them there.

    They do so at a neuron, so a loop without one keeps its Delay.
    """
    return {
        name: graph.inputs(name)[0]
        for name, node in graph.of_kind(Delay).items()
        if node.steps == 1 and in_loop(graph, name) and not in_loop(graph, name, (Neuron,))
    }
