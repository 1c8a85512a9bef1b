"""Time: how many steps a graph runs on samples [sample, time, *shape] or static ones."""

from __future__ import annotations

from ..export.ir import Array, Graph, InputError
from ..export.ir.graph import DEFAULT_TIME_STEPS
from .requests import time_steps_in


def time_steps_of(graph: Graph, time_steps: int | None = None) -> int:
    """Return T: as asked, else as trained, traced or lowered, else 4."""
    if time_steps is None:
        return int(graph.metadata.get("time_steps") or DEFAULT_TIME_STEPS)
    return time_steps_in(time_steps)


def steps_for(graph: Graph, x: Array, time_steps: int | None = None) -> int:
    """Return T for samples x: as asked, else the network's, else that of the samples' time axis.

    Raises:
        InputError: for samples of another T than the network's, where none was asked for.
    """
    name, node = graph.input_name, graph.input
    timed = x.ndim == len(node.shape) + 2 and x.shape[2:] == node.shape
    if time_steps is not None or not timed:
        return time_steps_of(graph, time_steps)
    own, steps = graph.metadata.get("time_steps"), int(x.shape[1])
    if own is None or own == steps:
        return steps
    if x.shape[0] == own:
        raise InputError(
            f"samples of shape {list(x.shape)}: axis 0 is the network's T = {own}, axis 1 is not; "
            "the axes are swapped",
            node=name,
            remedy="give samples as [sample, time, ...]",
        )
    raise InputError(
        f"samples of {steps} time steps, the network has T = {own}",
        node=name,
        remedy=f"give -T {steps} to run them all"
        + (f", or -T {own} for their first {own}" if own < steps else ""),
    )
