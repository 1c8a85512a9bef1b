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
    Graph,
    Input,
    LoweringError,
    Neuron,
    Node,
    Output,
    Scale,
    Weight,
    check,
    value_kinds,
)
from .ir.arith import DECAY_ONE


def dequantise(graph: Graph) -> Graph:
    """Return the folded float graph of an integer graph; a direct input takes real frames again.

    Raises:
        LoweringError: for a graph of another level.
    """
    if graph.level != "integer":
        raise LoweringError(f"a {graph.level} graph is float already")
    kinds = value_kinds(graph)
    nodes: dict[str, Node] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, WEIGHTS):
            analog = kinds[graph.inputs(name)[0]] == "analog"
            nodes[name] = _weight(node, graph.input.scale if analog else None)
        elif isinstance(node, Neuron):
            nodes[name] = _neuron(node)
        elif isinstance(node, Output):
            nodes[name] = _output(node)
        elif isinstance(node, Input):
            nodes[name] = replace(node, scale=None, low=None, high=None)
        elif isinstance(node, Scale):
            nodes[name] = Scale(node.factor.astype(np.float64))
        else:
            nodes[name] = node
    return check(Graph(nodes, graph.edges, "folded", None, graph.metadata))


def _weight(node: Weight, input_scale: float | None) -> Weight:
    unit = 2.0**node.weight_shift / (1.0 if input_scale is None else input_scale)
    weight = node.weight.astype(np.float64) * unit
    return replace(node, weight=weight, scale=None, weight_shift=0, bits=None)


def _retention(decay: Array | None) -> Any:
    return np.float64(1) if decay is None else 1 - decay / DECAY_ONE


def _neuron(node: Neuron) -> Neuron:
    one = 2.0**node.state_shift
    half = 0.5 if node.compare == ">" else -0.5

    def real(value: Array | None) -> Any:
        return None if value is None else value / one

    single = node.max_spikes_per_step == 1 and node.reset == "hard"
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
