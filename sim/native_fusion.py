"""Which neurons take the sums of their weights tile by tile, and a second branch with them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from ..export.ir import WEIGHTS, Add, Bound, Flatten, Graph, MatMul, Reshape, Scale, Transpose
from .native_values import INT8, UINT8, kind_of


@dataclass(frozen=True, slots=True)
class Fusion:
    """A neuron that reads `weights` alone, or their sum with one other branch.

    Attributes:
        add: the addition it takes over. other: what is added; scale: a Scale before the addition
            that it takes over too (then `other` stands for the Scale's source).
    """

    weights: str
    add: str | None = None
    other: str | None = None
    scale: str | None = None


def fused_neurons(graph: Graph, limits: Mapping[str, Bound], static: Set[str]) -> dict[str, Fusion]:
    """Return the fusion of each neuron that has one; `static` sums are made once, not each step."""
    found = {}
    for name in graph.neurons:
        source = graph.inputs(name)[0]
        if _sums_for_one(graph, source, static):
            found[name] = Fusion(source)
        elif isinstance(graph.nodes[source], Add) and len(graph.consumers(source)) == 1:
            fusion = _with_addition(graph, source, limits, static)
            if fusion is not None:
                found[name] = fusion
    return found


def _sums_for_one(graph: Graph, name: str, static: Set[str]) -> bool:
    weights = isinstance(graph.nodes[name], WEIGHTS)
    return weights and len(graph.consumers(name)) == 1 and name not in static


def _with_addition(
    graph: Graph, add: str, limits: Mapping[str, Bound], static: Set[str]
) -> Fusion | None:
    sources = graph.inputs(add)
    if len(sources) != 2:
        return None
    # The later branch is fused: what it is added to is there by then.
    place = {name: k for k, name in enumerate(graph.order)}
    for weights in sorted(sources, key=place.__getitem__, reverse=True):
        other = sources[1] if weights == sources[0] else sources[0]
        if other == weights or not _sums_for_one(graph, weights, static):
            continue
        scaled = isinstance(graph.nodes[other], Scale) and len(graph.consumers(other)) == 1
        if scaled and _in_bytes(graph, graph.inputs(other)[0], limits):
            return Fusion(weights, add, other, other)
        if kind_of(limits[other]) != INT8:
            return Fusion(weights, add, other)
    return None


def _in_bytes(graph: Graph, name: str, limits: Mapping[str, Bound]) -> bool:
    """Return whether a node's values lie as uint8; sums lie as int32, however small they are."""
    while isinstance(graph.nodes[name], (Flatten, Reshape, Transpose)):
        name = graph.inputs(name)[0]
    sums = isinstance(graph.nodes[name], (*WEIGHTS, MatMul))
    return not sums and kind_of(limits[name]) == UINT8
