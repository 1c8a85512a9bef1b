"""What is the same at every step: a frame repeated by view, and the nodes that it alone drives.

A repeated frame is an array [time, ...] whose first axis has stride 0: one frame in memory, seen T
times. Encoding makes it of a static sample, and of nothing else; executors and counters then
compute what depends on it once. Samples that come with a time axis are frames of their own, even
where they are equal or lie in memory once: what takes them computes each.
"""

from __future__ import annotations

from ..export.ir import Array, Delay, Graph, Input, Neuron, Output


def is_repeated(values: Array) -> bool:
    """Whether values [time, ...] are one frame, repeated by view."""
    return bool(values.strides[0] == 0)


def static_nodes(graph: Graph) -> set[str]:
    """The stateless nodes that depend on the Input alone."""
    static: set[str] = set()
    for name, node in graph.nodes.items():
        stateful = isinstance(node, (Neuron, Delay, Output))
        if isinstance(node, Input) or (
            not stateful and all(source in static for source in graph.inputs(name))
        ):
            static.add(name)
    return static
