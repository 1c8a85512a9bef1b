"""Fold: a float graph without BatchNorm, AvgPool or decayed inputs, emitting the same.

BatchNorm moves back into the weights (Jacob et al., CVPR 2018, eq. 14), AvgPool becomes SumPool
and a Scale of 1 / prod(kernel), and v + (x - v) / tau becomes beta = 1 - 1/tau, v in units of
1/tau. Neurons take the plainest of the rules that emit the same spikes (`equal_rules`).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from .ir import (
    WEIGHTS,
    Array,
    AvgPool,
    BatchNorm,
    Edge,
    Graph,
    Input,
    LoweringError,
    Neuron,
    Node,
    Scale,
    SumPool,
    Weight,
    check,
)
from .ir.equal_rules import plainest
from .ir.nodes import POOLS, MaxPool, Pool, Transpose, is_padded


def fold(graph: Graph) -> Graph:
    """Return the folded form of a float graph.

    Raises:
        GraphError: if `graph` breaks a rule of the float level.
        LoweringError: naming a BatchNorm that has no weights to move into.
    """
    check(graph)
    for name in graph.of_kind(BatchNorm):
        graph = _fold_batch_norm(graph, name)
    pools: dict[str, Pool] = graph.of_kind(AvgPool, SumPool, MaxPool)
    for name, pool in pools.items():
        if max(*pool.kernel, *pool.stride) == 1 and not is_padded(pool):
            graph = _bypass(graph, name)
    for name in graph.of_kind(AvgPool):
        graph = _split_average(graph, name)
    folded = graph.map_nodes(lambda _, node: _fold_neuron(node))
    return check(folded.replace(level="folded"))


def _fold_batch_norm(graph: Graph, name: str) -> Graph:
    norm = graph.nodes[name]
    assert isinstance(norm, BatchNorm)
    gain = norm.weight.astype(np.float64) / np.sqrt(norm.var.astype(np.float64) + norm.eps)
    offset = norm.bias - norm.mean * gain
    host = _host(graph, name, norm.axis, gain)
    node = graph.nodes[host]
    folded: Node
    if isinstance(node, Input):
        folded = _into_input(node, name, gain, offset, norm.axis)
    else:
        assert isinstance(node, WEIGHTS)
        folded = _into_weight(node, gain, offset)
    return _bypass(graph.replace({**graph.nodes, host: folded}), name)


def _host(graph: Graph, name: str, axis: int, gain: Array) -> str:
    """Return the weight node (or Input) that `name` can move back into, past nodes that commute."""
    here = graph.inputs(name)[0]
    while True:
        node = graph.nodes[here]
        if len(graph.consumers(here)) != 1:
            raise _refused(name, f"{here} feeds other nodes too")
        if isinstance(node, Input) and node.encoding == "direct" and (gain > 0).all():
            return here
        if isinstance(node, WEIGHTS):
            _check_axis(graph, name, here, node, axis)
            return here
        if isinstance(node, Transpose):
            axis = node.axes[axis]
        elif isinstance(node, POOLS) and axis >= len(graph.shapes[here]) - len(node.kernel):
            raise _refused(name, f"its axis {axis} is pooled by {here}")
        elif isinstance(node, MaxPool):
            if (gain < 0).any():
                raise _refused(name, f"{int((gain < 0).sum())} negative scales after a MaxPool")
        elif not isinstance(node, (AvgPool, SumPool)) or is_padded(node):
            raise _refused(name, f"it follows {here} ({node.kind}), not a Linear or convolution")
        elif isinstance(node, SumPool):
            raise _refused(name, "it follows a SumPool")
        here = graph.inputs(here)[0]


def _check_axis(graph: Graph, name: str, host: str, node: Weight, axis: int) -> None:
    from .ir import Linear

    channel = len(graph.shapes[host]) - 1 if isinstance(node, Linear) else 0
    if axis != channel:
        raise _refused(name, f"its axis {axis} is not the output channel axis {channel} of {host}")


def _refused(name: str, reason: str) -> LoweringError:
    return LoweringError(
        f"BatchNorm cannot be folded: {reason}",
        node=name,
        remedy="put it right behind a Linear or convolution of its own",
    )


def _into_weight(node: Weight, gain: Array, offset: Array) -> Weight:
    column = gain.reshape(-1, *(1,) * (node.weight.ndim - 1))
    bias = 0.0 if node.bias is None else node.bias.astype(np.float64)
    dtype = node.weight.dtype
    return replace(
        node,
        weight=np.multiply(  # in float64, a buffer at a time: no copy of that width
            node.weight,
            column,
            out=np.empty_like(node.weight),
            dtype=np.float64,
            casting="same_kind",
        ),
        bias=(bias * gain + offset).astype(dtype),
    )


def _into_input(node: Input, name: str, gain: Array, offset: Array, axis: int) -> Input:
    """Compose gain * ((x - mean) / std) + offset into one mean and std."""
    column: list[int] = [1] * len(node.shape)
    column[axis] = -1
    gain, offset = gain.reshape(column), offset.reshape(column)
    std = 1.0 if node.std is None else node.std.astype(np.float64)
    mean = 0.0 if node.mean is None else node.mean.astype(np.float64)
    return replace(node, mean=mean - offset * std / gain, std=std / gain)


def _bypass(graph: Graph, name: str) -> Graph:
    """Return the graph without the one-input node `name`; its consumers read its source."""
    source = graph.inputs(name)[0]
    nodes = {key: node for key, node in graph.nodes.items() if key != name}
    edges = [
        Edge(source if edge.source == name else edge.source, edge.target, edge.port)
        for edge in graph.edges
        if edge.target != name
    ]
    return graph.replace(nodes, edges)


def _split_average(graph: Graph, name: str) -> Graph:
    node = graph.nodes[name]
    assert isinstance(node, AvgPool)
    divisor = f"{name}.divisor"
    nodes: dict[str, Node] = {}
    for key, other in graph.nodes.items():
        nodes[key] = other
        if key == name:
            nodes[key] = SumPool(node.kernel, node.stride, node.padding, node.padding_end)
            nodes[divisor] = Scale(np.array(1 / prod(node.kernel)))
    edges = [edge._replace(source=divisor) if edge.source == name else edge for edge in graph.edges]
    return graph.replace(nodes, [*edges, Edge(name, divisor)])


def _fold_neuron(node: Node) -> Node:
    return plainest(_fold_tau(node)) if isinstance(node, Neuron) else node


def _fold_tau(node: Neuron) -> Neuron:
    if node.tau is None:
        return node
    tau = node.tau.astype(np.float64)

    def times_tau(value: Array | None) -> Any:
        return None if value is None else value * tau

    return replace(
        node,
        tau=None,
        beta=1 - 1 / tau,
        v_threshold=times_tau(node.v_threshold),
        v_reset=times_tau(node.v_reset),
        v_init=times_tau(node.v_init),
        v_min=times_tau(node.v_min),
        leak_subtract=times_tau(node.leak_subtract),
        v_scale=(1.0 if node.v_scale is None else node.v_scale) / tau,
    )
