"""Doubts about samples: what may well be a mistake, though every value is allowed."""

from __future__ import annotations

import numpy as np

from ..export.ir import Array, Graph
from ..export.ir.arith import quantise_input
from .encode import normalised

SATURATED = 0.05
"""Share of a directly coded input beyond the range calibrated above which that is said; a
calibration on other samples of the same data leaves well below a percent beyond it."""
LOOKED_AT = 256


def doubts(graph: Graph, x: Array, y: Array | None = None) -> list[str]:
    """Return a line for each thing about samples x and labels y that is probably a mistake.

    Looks at the first 256 samples: whether the input saturates (pictures of 0..255 for a network
    calibrated on 0..1), and at all labels: whether the network has an output for each.
    """
    found = [_saturated(graph, x[:LOOKED_AT]), _beyond(graph, y)]
    return [line for line in found if line is not None]


def _saturated(graph: Graph, x: Array) -> str | None:
    node = graph.input
    if graph.level != "integer" or node.encoding != "direct" or not len(x):
        return None
    assert node.scale is not None and node.low is not None and node.high is not None
    values = normalised(node, np.asarray(x, np.float32))
    error = np.abs(values - quantise_input(values, node) * np.float32(node.scale))
    share = float(np.mean(error > node.scale))
    if share <= SATURATED:
        return None
    mean = 0.0 if node.mean is None else node.mean
    std = 1.0 if node.std is None else node.std
    low = float(np.min(node.low * node.scale * std + mean))
    high = float(np.max(node.high * node.scale * std + mean))
    return (
        f"{100 * share:.0f} % of the input saturates: data of {x.min():.4g}..{x.max():.4g}, "
        f"the network was calibrated on {low:.4g}..{high:.4g}; scale the data, or calibrate on it"
    )


def _beyond(graph: Graph, y: Array | None) -> str | None:
    outputs = int(np.prod(graph.shapes[graph.output_name]))
    if y is None or not len(y) or int(y.max()) < outputs:
        return None
    above = int(np.count_nonzero(y >= outputs))
    return (
        f"{above} of {len(y)} labels lie above {outputs - 1}, the last of the network's {outputs} "
        f"outputs (the largest is {int(y.max())}): give the labels that it was trained on"
    )
