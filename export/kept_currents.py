"""Currents that a loop without a neuron keeps from step to step: they have no form in integers.

A decay rounds by one written rule, which neurons and readouts alone have. A readout has one decay;
behind a synaptic current (norse's LI, NIR's CubaLI) it would need two.
"""

from __future__ import annotations

from typing import Any

import networkx as nx

from .ir import WEIGHTS, Delay, Graph, LoweringError, Neuron, Scale
from .ir.loops import in_loop

ONE_DECAY = (
    "read out with one decay: LIBoxCell of norse, LI of NIR, Leaky(reset_mechanism='none') of "
    "snntorch; or run it at the float level"
)


def refuse_kept_currents(graph: Graph) -> None:
    """Raise LoweringError for a loop of a delay and of factors that no neuron interrupts."""
    for name in graph.of_kind(Delay):
        if in_loop(graph, name, (Neuron,)) and _multiplies(graph, name):
            raise kept_current(graph, name)


def kept_current(graph: Graph, delay: str) -> LoweringError:
    """Return the error for a Delay on a loop without a neuron: what it is, what to use instead."""
    if graph.output_name in nx.descendants(_without_neurons(graph), delay):
        return LoweringError(
            "keeps a synaptic current in front of a readout, two decays where integers have one",
            node=delay,
            remedy=ONE_DECAY,
        )
    return LoweringError(
        "keeps a current from step to step in a loop without a neuron",
        node=delay,
        remedy="use a current-based neuron, or let a readout keep it",
    )


def _multiplies(graph: Graph, delay: str) -> bool:
    """Whether weights or a factor stand on a loop through a Delay."""
    net = _without_neurons(graph)
    loop = nx.descendants(net, delay) & nx.ancestors(net, delay)
    return any(isinstance(graph.nodes[name], (*WEIGHTS, Scale)) for name in loop)


def _without_neurons(graph: Graph) -> nx.MultiDiGraph[Any]:
    net: nx.MultiDiGraph[Any] = graph.networkx()
    net.remove_nodes_from(list(graph.neurons))
    return net
