"""Akida: layers on convolution nodes, by the memory of their inputs and weights (a lower bound)."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod

from ..export.ir import Graph
from .mapping import Mapped, at_most, layers, weight_nodes
from .target import Target
from .violation import Violation

ACTIVATION_BITS = 4
"""The widest activation of AKD1000 (BrainChip data: 1, 2 or 4 bits)."""


def map_nodes(graph: Graph, target: Target) -> Mapped:
    """Return the fewest nodes that hold each layer's inputs and weights."""
    placed = []
    violations: list[Violation] = []
    remedy = "use fewer channels, a smaller map or fewer --bits"
    first = 0
    fullest: dict[str, int] = {}
    for layer in layers(graph, target):
        inputs = weights = 0
        for name, node in weight_nodes(graph, layer):
            inputs += ceil(prod(graph.shapes[graph.inputs(name)[0]]) * ACTIVATION_BITS / 8)
            weights += ceil(node.weight.size * (node.bits or 8) / 8)
        needs = {"input_bytes_per_core": inputs, "weight_bytes_per_core": weights}
        asked = [ceil(n / (target.limit(limit) or n or 1)) for limit, n in needs.items()]
        cores = 0 if layer.on_host else max(1, *asked)
        for limit, need in needs.items():
            if cores:
                share = ceil(need / min(cores, target.limit("cores") or cores))
                fullest[limit] = max(fullest.get(limit, 0), share)
                violations += at_most(layer.name, limit, share, target, remedy)
        placed.append(replace(layer, cores=cores, first_core=first))
        first += cores
    violations += at_most("network", "cores", first, target, remedy)
    rewrites = tuple(f"{x.name} split over {x.cores} nodes" for x in placed if x.cores > 1)
    return Mapped(tuple(placed), first, fullest, tuple(violations), rewrites)
