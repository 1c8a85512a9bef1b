"""Where numbers part: what a float reader of an integer graph may compute otherwise, by node.

Such a file is right in all that NIR can say; these lines tell where rounding, or a state out of
reach, may decide a spike. --strict does not refuse them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir import Graph, Neuron
from ..ir.bounds import bounds

EXACT = 1 << 24
"""Integers below are exact in float32."""
USUAL_STEPS = 4


def roundings(graph: Graph) -> list[str]:
    """Return one line a node of an integer graph that float32 may compute otherwise."""
    if graph.level != "integer":
        return []
    found = []
    if graph.input.scale is not None:
        found.append(f"{graph.input_name}: samples are rounded, other readers take them as is")
    steps = int(graph.metadata.get("time_steps") or USUAL_STEPS)
    known = bounds(graph, states=False)
    for name, node in graph.neurons.items():
        (source,) = graph.inputs(name)
        current = known[source].magnitude << node.state_shift
        found += [f"{name}: {line}" for line in _of_neuron(node, current, steps)]
    return found


def _of_neuron(node: Neuron, current: int, steps: int) -> Iterator[str]:
    if any(decay is not None and decay.any() for decay in (node.dv, node.du)):
        yield "its decay rounds toward zero, other readers do not round"
        return
    bias = 0 if node.bias is None else int(abs(node.bias).max())
    start = int(max(abs(node.v_init).max(), abs(node.v_reset).max()))
    reached = start + steps * (current + bias)
    threshold = 2 * int(abs(node.v_threshold).max()) + 1
    if max(reached, threshold) >= EXACT:
        yield f"within {steps} steps v may reach {reached}, float32 is exact below {EXACT}"
    if reached > min(-node.v_limits[0], node.v_limits[1]):
        yield f"within {steps} steps v may saturate at {node.v_limits}, other readers do not"
