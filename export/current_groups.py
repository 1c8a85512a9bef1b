"""Current groups: the weight nodes whose outputs meet in additions, and the unit they share.

Branches that add currents share one scale per channel, up to an exact left shift per branch. A
value that is already an integer there (a spike, an attention product) becomes an exact integer
Scale m: the unit is widened to scale / m with m = floor(scale / unit), m >= 16
(`docs/semantics.md`, Lowering).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import networkx as nx
import numpy as np

from .ir import (
    WEIGHTS,
    Add,
    Array,
    Edge,
    Graph,
    LoweringError,
    MatMul,
    Node,
    Output,
    Scale,
    Shape,
    value_kinds,
)
from .ir.nodes import Linear, MaxPool, SumPool
from .whole_factors import stays_whole

LEAST_MULTIPLE = 16
"""Below this the unit is first divided by a power of two, so that widening costs at most 6 %."""

LARGEST_RATIO = 1 << 12
"""Denominators beyond it are taken for the noise of a scale that is no ratio of pool windows."""


@dataclass(frozen=True, slots=True)
class CurrentGroup:
    """Weight nodes whose currents meet.

    Attributes:
        weights: the weight nodes. entries: edges by which other integers enter its Adds.
        per_channel: whether each channel may have its own unit.
        factors: for each node of the group, its unit in the first weight node's unit: the product
            of the Scales between them.
    """

    weights: tuple[str, ...]
    entries: tuple[Edge, ...]
    per_channel: bool
    factors: Mapping[str, float]


def current_groups(graph: Graph) -> list[CurrentGroup]:
    """Return the groups of a folded graph, in the order of their first weight node."""
    kinds = value_kinds(graph)
    flow: nx.Graph[str] = nx.Graph()
    weights = graph.of_kind(*WEIGHTS)
    flow.add_nodes_from(weights)
    # An Add of a current and an analog frame emits what `value_kinds` calls analog.
    passing = {n for n, kind in kinds.items() if kind != "spike" and n not in weights}
    members = {n for n in passing if _carries_weights(graph, n, set(weights))}
    for edge in graph.edges:
        from_current = edge.source in weights or edge.source in members
        if from_current and edge.target in members:
            flow.add_edge(edge.source, edge.target)
    order = {name: k for k, name in enumerate(graph.order)}
    parts = [sorted(part, key=order.__getitem__) for part in nx.connected_components(flow)]
    found = [_group(graph, part, weights, flow) for part in parts]
    return sorted((g for g in found if g.weights), key=lambda g: order[g.weights[0]])


def _carries_weights(graph: Graph, name: str, weights: set[str]) -> bool:
    """Whether a pass-through node or Add receives a weight node's current."""
    node = graph.nodes[name]
    if node.kind in ("MatMul", "Neuron", "Output", "Delay"):
        return False
    return any(
        source in weights or _carries_weights(graph, source, weights)
        for source in graph.inputs(name)
        if not isinstance(graph.nodes[source], Output)
    )


def _group(
    graph: Graph, part: list[str], weights: Mapping[str, object], flow: nx.Graph[str]
) -> CurrentGroup:
    inside = set(part)
    adds = [name for name in part if isinstance(graph.nodes[name], Add)]
    entries = [e for e in graph.edges if e.target in adds and e.source not in inside]
    members = tuple(name for name in part if name in weights)
    per_channel = _per_channel(graph, part, members, bool(adds))
    factors = _factors(graph, members, flow) if adds else dict.fromkeys(part, 1.0)
    return CurrentGroup(members, tuple(entries), per_channel, factors)


def _factors(graph: Graph, members: tuple[str, ...], flow: nx.Graph[str]) -> dict[str, float]:
    """Walk the group from its first weight node, multiplying by each Scale on the way."""
    factors = {members[0]: 1.0}
    for here, there in nx.bfs_edges(flow, members[0]):
        forward = here in graph.inputs(there)
        scale = graph.nodes[there if forward else here]
        factor = _scalar_factor(there if forward else here, scale)
        factors[there] = factors[here] * factor if forward else factors[here] / factor
    for source, target, _ in graph.edges:
        if source in factors and target in factors:
            expected = factors[source] * _scalar_factor(target, graph.nodes[target])
            if not np.isclose(factors[target], expected, rtol=1e-9):
                raise LoweringError(
                    "adds one current to itself under another scale",
                    node=target,
                    remedy="scale the weights of one branch instead",
                )
    return factors


def _scalar_factor(name: str, node: Node) -> float:
    if not isinstance(node, Scale) or stays_whole(node):
        return 1.0
    if node.factor.size != 1:
        raise LoweringError(
            "a scale of several values on a current that is added to others",
            node=name,
            remedy="fold it into the weights before it",
        )
    return float(node.factor.reshape(()))


def _per_channel(graph: Graph, part: list[str], weights: tuple[str, ...], adds: bool) -> bool:
    """One unit a channel is possible unless channels mix, or lead to a readout."""
    rest = [graph.nodes[name] for name in part if name not in weights]
    feeds_readout = any(
        isinstance(graph.nodes[target], Output) for name in part for target in graph.consumers(name)
    )
    mixers = graph.of_kind(*WEIGHTS, MatMul)
    feeds_weights = any(target in mixers for name in part for target in graph.consumers(name))
    pools_features = any(isinstance(n, (SumPool, MaxPool)) for n in rest) and any(
        isinstance(graph.nodes[name], Linear) for name in weights
    )
    moves = any(n.kind in ("Flatten", "Reshape", "Transpose") for n in rest)
    # A Linear's channels are its last axis, a convolution's the first.
    crossed = len({isinstance(graph.nodes[name], Linear) for name in weights}) > 1
    return not (feeds_readout or feeds_weights or pools_features or crossed or (adds and moves))


def common_unit(
    preferred: list[Array], integers: list[float]
) -> tuple[Array, list[int], list[Array]]:
    """Return the unit, the left shift of each branch and the multiple of each integer.

    `preferred`: the unit each branch would take alone, [channel] or [1] (0: no preference);
    `integers`: the scale of each integer that enters.
    """
    filled = [np.where(unit > 0, unit, unit.max(initial=0.0)) for unit in preferred]
    sizes = [float(np.exp(np.log(unit).mean())) if unit.all() else 0.0 for unit in filled]
    least = min((size for size in sizes if size > 0), default=0.0)
    shifts = [max(0, round(float(np.log2(size / least)))) if size > 0 else 0 for size in sizes]
    unit = np.max([u / 2.0**k for u, k in zip(filled, shifts, strict=True)], axis=0)
    unit = np.where(unit > 0, unit, 1.0)
    if not integers:
        return unit, shifts, []
    base = common_measure(integers)
    smallest = base / float(unit.max())
    extra = max(0, int(np.ceil(np.log2(LEAST_MULTIPLE / smallest))))
    unit, shifts = unit / 2.0**extra, [k + extra for k in shifts]
    multiple = np.floor(base / unit)
    unit = base / multiple
    return unit, shifts, [multiple * (scale / base) for scale in integers]


def common_measure(scales: list[float]) -> float:
    """Return the largest number of which all scales are whole multiples.

    Scales are ratios of pool windows (1/4, 1/9, ...); where one is no such ratio, the smallest
    scale comes back, and it is for the caller to refuse what is no multiple of it.
    """
    least = min(scales)
    ratios = [Fraction(scale / least).limit_denominator(LARGEST_RATIO) for scale in scales]
    exact = np.isclose([float(r) * least for r in ratios], scales, rtol=1e-12, atol=0).all()
    return least / lcm(*(r.denominator for r in ratios)) if exact else least


def channel_array(shape: Shape, per_channel: Array, linear: bool) -> Array:
    """Return [channel] values as an array that broadcasts to a weight node's output shape."""
    return per_channel if linear else per_channel.reshape(-1, *(1,) * (len(shape) - 1))
