"""The layer table of a graph, as rows, text and HTML."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import spelled
from .graph import DEFAULT_TIME_STEPS
from .nodes import WEIGHTS, Array, Conv1d, Conv2d, MatMul, Neuron, Node
from .printed import aligned
from .visible import escaped, visible

if TYPE_CHECKING:
    from .graph import Graph

COLUMNS = ("name", "kind", "shape", "bits", "parameters", "dense_macs", "v_threshold", "bound")


def rows(graph: Graph) -> list[dict[str, Any]]:
    """Return one row a node, with the keys of `COLUMNS`.

    `dense_macs` are per time step and sample, borders of padded convolutions counted as in dense
    arithmetic; `bound` is the worst-case |value| (integer level only).
    """
    limits = _limits(graph)
    return [
        {
            "name": name,
            "kind": node.kind,
            "shape": list(graph.shapes[name]),
            "bits": getattr(node, "bits", None),
            "parameters": parameters(node),
            "dense_macs": dense_macs(graph, name),
            "v_threshold": _span(node.v_threshold) if isinstance(node, Neuron) else None,
            "bound": limits.get(name),
        }
        for name, node in graph.nodes.items()
    ]


def parameters(node: Node) -> int:
    """Return how many trained numbers the node holds: weights, biases, BatchNorm affine."""
    return sum(
        int(getattr(node, name).size)
        for name in ("weight", "bias")
        if isinstance(getattr(node, name, None), np.ndarray)
    )


def dense_macs(graph: Graph, name: str) -> int:
    """Return the multiply-accumulates of a weight or MatMul node for one step of one sample."""
    node = graph.nodes[name]
    outputs = prod(graph.shapes[name])
    if isinstance(node, (Conv1d, Conv2d)):
        return outputs * prod(map(int, node.weight.shape[1:]))
    if isinstance(node, WEIGHTS):
        return outputs * int(node.weight.shape[1])
    if isinstance(node, MatMul):
        return outputs * graph.shapes[graph.inputs(name)[0]][-1]
    return 0


def _limits(graph: Graph) -> dict[str, int]:
    if graph.level != "integer":
        return {}
    from .bounds import bounds

    return {name: bound.largest for name, bound in bounds(graph).items()}


def _span(values: Array) -> list[float]:
    return [float(values.min()), float(values.max())]


def _cell(value: Any) -> str:
    if value is None or value == 0:
        return ""
    if isinstance(value, list) and value and isinstance(value[0], float):
        low, high = value
        return _number(low) if low == high else f"{_number(low)}..{_number(high)}"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else visible(str(value))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.6g}"


def _cells(graph: Graph) -> list[list[str]]:
    return [[_cell(row[column]) for column in COLUMNS] for row in rows(graph)]


def as_text(graph: Graph) -> str:
    """Return the table as aligned text with a closing line of totals."""
    lines = aligned([list(COLUMNS), *_cells(graph)], left=3)
    return "\n".join([*lines, _totals(graph)])


def _totals(graph: Graph) -> str:
    total = sum(parameters(node) for node in graph.nodes.values())
    macs = sum(dense_macs(graph, name) for name in graph.nodes)
    name = f", profile {graph.profile.name}" if graph.profile else ""
    steps = graph.metadata.get("time_steps")
    time = f", T = {steps}" if steps else ""
    default = spelled(f"T = {DEFAULT_TIME_STEPS} on static samples (default; -T changes it)")
    counted = f"{graph.level} graph{name}{time}: {total:,} parameters, {macs:,} dense MACs a step"
    return counted if steps else f"{counted}; {default}"


def as_html(graph: Graph) -> str:
    """Return the table as HTML, for notebooks."""
    head = "".join(f"<th>{escaped(column)}</th>" for column in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>"
        for row in _cells(graph)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"{table}<p>{escaped(_totals(graph))}</p>"
