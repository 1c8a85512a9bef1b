"""Dequantise: an integer graph as a float graph that any float simulator can run.

Membrane potentials keep the integer unit 1 / 2^state_shift. Thresholds stand half a unit off the
integer, so that `>` on floats decides as the integers do and rounding near it changes nothing; an
integrate-and-fire graph without bias then fires in exactly the same places. Decays do not truncate
in floats, so leaky neurons may differ in a small share of spikes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .ir import (
    WEIGHTS,
    Array,
    Edge,
    Flatten,
    Graph,
    Input,
    LoweringError,
    Neuron,
    Node,
    Output,
    Reshape,
    Scale,
    SumPool,
    Transpose,
    Weight,
    check,
)
from .ir.arith import DECAY_ONE
from .ir.nodes import MaxPool


def dequantise(graph: Graph, *, halves: bool = True) -> Graph:
    """Return the folded float graph of an integer graph; a direct input takes real frames again.

    The input's scale moves into the weights that read it; where other nodes read it too (a neuron,
    an addition), a Scale behind the Input makes its codes, unrounded.

    Args:
        halves: put the threshold of a hard reset half a unit off, so that rounding decides nothing.

    Raises:
        LoweringError: for a graph of another level.
    """
    if graph.level != "integer":
        raise LoweringError(f"a {graph.level} graph is float already")
    inside = _codes_alone(graph)
    readers = {t for name in inside for t in graph.consumers(name)} - inside
    folds = all(isinstance(graph.nodes[name], WEIGHTS) for name in readers)
    nodes: dict[str, Node] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, WEIGHTS):
            nodes[name] = _weight(node, graph.input.scale if folds and name in readers else None)
        elif isinstance(node, Neuron):
            nodes[name] = _neuron(node, halves)
        elif isinstance(node, Output):
            nodes[name] = _output(node)
        elif isinstance(node, Input):
            nodes[name] = replace(node, scale=None, low=None, high=None)
        elif isinstance(node, Scale):
            nodes[name] = Scale(node.factor.astype(np.float64))
        else:
            nodes[name] = node
    edges = graph.edges
    if graph.input.scale is not None and not folds:
        codes = f"{graph.input_name}.codes"
        nodes[codes] = Scale(np.array(1 / graph.input.scale))
        source = graph.input_name
        edges = tuple(e._replace(source=codes) if e.source == source else e for e in edges)
        edges = (*edges, Edge(source, codes))
    return check(Graph(nodes, edges, "folded", None, graph.metadata))


def _codes_alone(graph: Graph) -> set[str]:
    """Return the Input and the nodes that only rearrange or pool what comes from it alone."""
    inside = {graph.input_name}
    for name, node in graph.nodes.items():
        moves = isinstance(node, (Flatten, Reshape, Transpose, SumPool, MaxPool))
        if moves and graph.inputs(name)[0] in inside:
            inside.add(name)
    return inside


def _weight(node: Weight, input_scale: float | None) -> Weight:
    unit = 2.0**node.weight_shift / (1.0 if input_scale is None else input_scale)
    weight = node.weight.astype(np.float64) * unit
    return replace(node, weight=weight, scale=None, weight_shift=0, bits=None)


def _retention(decay: Array | None) -> Any:
    return np.float64(1) if decay is None else 1 - decay / DECAY_ONE


def _neuron(node: Neuron, halves: bool) -> Neuron:
    one = 2.0**node.state_shift
    half = 0.5 if node.compare == ">" else -0.5

    def real(value: Array | None) -> Any:
        return None if value is None else value / one

    single = halves and node.max_spikes_per_step == 1 and node.reset == "hard"
    return replace(
        node,
        v_threshold=(node.v_threshold + half) / one if single else node.v_threshold / one,
        compare=">" if single else node.compare,
        beta=_retention(node.dv),
        alpha=_retention(node.du) if node.current_based else None,
        dv=None,
        du=None,
        bias=real(node.bias),
        bias_in=real(node.bias_in),
        v_reset=real(node.v_reset),
        v_init=real(node.v_init),
        v_min=real(node.v_min),
        leak_subtract=real(node.leak_subtract),
        v_scale=None if node.v_scale is None else node.v_scale * one,
        state_shift=0,
        v_low=None,
        v_high=None,
    )


def _output(node: Output) -> Output:
    one = 2.0**node.state_shift
    return replace(
        node,
        bias=None if node.bias is None else node.bias / one,
        beta=_retention(node.dv) if node.readout == "leaky" else None,
        dv=None,
        state_shift=0,
        scale=node.scale * one,
    )
