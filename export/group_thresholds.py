"""Group thresholds: a layer's neurons share as few as a chip can hold, each moved the least."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .ir import Array, Graph, Neuron
from .ir.profile import GROUPED_THRESHOLDS


def group_thresholds(graph: Graph) -> Graph:
    """Return the integer graph with at most `thresholds_per_layer` of its profile in each layer.

    What was moved, and by how much at most (a fraction of the threshold), stands in the metadata.
    """
    most = None if graph.profile is None else graph.profile.thresholds_per_layer
    if graph.profile is None or most is None:
        return graph
    nodes, notes = dict(graph.nodes), {}
    for name, node in graph.neurons.items():
        if len(np.unique(node.v_threshold)) > most:
            shared = grouped(node.v_threshold, most, graph.profile.threshold_step)
            nodes[name] = replace(node, v_threshold=shared)
            notes[name] = _note(node, shared)
    if not notes:
        return graph
    return graph.replace(nodes, metadata={**graph.metadata, GROUPED_THRESHOLDS: notes})


def grouped(thresholds: Array, most: int, step: int = 1) -> Array:
    """Return int32 thresholds of at most `most` values, multiples of `step`.

    The largest move is the least possible one: relative to the threshold where all are above 0
    (it decides how much charge a spike takes), else absolute.
    """
    values, place = np.unique(thresholds, return_inverse=True)
    positive = bool(values[0] > 0)
    measured = np.log(values) if positive else values.astype(np.float64)
    group = _narrowest(measured, most)
    middles = [(measured[group == k][[0, -1]]).mean() for k in range(group[-1] + 1)]
    real = np.exp(middles) if positive else np.array(middles)
    shared = np.rint(real / step).astype(np.int64) * step
    moved: Array = shared[group][place].reshape(thresholds.shape)
    return moved.astype(np.int32)


def _narrowest(values: Array, most: int) -> Array:
    """Return the group of each ascending value, so that the widest of `most` is narrowest.

    A width that serves lets a group, begun at the least value left, reach all within it; the least
    such width is found by halving.
    """
    low, high = 0.0, float(values[-1] - values[0])
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _groups(values, middle)[-1] < most else (middle, high)
    return _groups(values, high)


def _groups(values: Array, width: float) -> Array:
    group = np.zeros(len(values), np.int64)
    start, number = 0, 0
    while start < len(values):
        end = int(np.searchsorted(values, values[start] + width, side="right"))
        group[start:end] = number
        start, number = max(end, start + 1), number + 1
    return group


def _note(node: Neuron, shared: Array) -> dict[str, Any]:
    before = np.broadcast_to(node.v_threshold, node.shape).astype(np.float64)
    move = np.abs(shared - before) / np.maximum(np.abs(before), 1)
    return {
        "neurons": int(before.size),
        "moved": int((move > 0).sum()),
        "distinct": len(np.unique(node.v_threshold)),
        "kept": len(np.unique(shared)),
        "largest_move": float(move.max()),
    }
