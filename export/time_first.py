"""What forward() does to its input before its first layer: a copy, or time moved to the front."""

from __future__ import annotations

from typing import Any

SWAPS = ("transpose", "swapaxes", "swapdims", "movedim", "moveaxis")
"""Names of operations that, given the axes 0 and 1, exchange them."""
COPIES = ("contiguous", "clone", "detach", "float")
"""Names of operations that leave every value of an input, which graphs take as float32."""


def moves_time_first(graph: Any) -> bool:
    """Take copies and `x.transpose(0, 1)` in front of everything out of an fx graph.

    Returns:
        Whether axes were exchanged: what is left takes [time, batch, ...], the module itself
        [batch, time, ...].
    """
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        return False
    _leave_out_copies(graph, inputs[0])
    swaps = bool(inputs[0].users) and all(exchanges(node, inputs[0]) for node in inputs[0].users)
    if swaps:
        _leave_out(graph, inputs[0], exchanges)
        _leave_out_copies(graph, inputs[0])
    return swaps


def copies(node: Any, source: Any) -> bool:
    """Whether a node holds the values of `source` as they are."""
    return _name_of(node, source) in COPIES and len(node.args) == 1 and not node.kwargs


def exchanges(node: Any, source: Any) -> bool:
    """Whether a node exchanges the first two axes of `source` and leaves the others."""
    name = _name_of(node, source)
    axes = [*node.args[1:], *node.kwargs.values()]
    if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
        axes = list(axes[0])
    if not all(isinstance(axis, int) for axis in axes):
        return False
    if name in SWAPS:
        return sorted(axes) == [0, 1]
    return name == "permute" and axes == [1, 0, *range(2, len(axes))]


def _name_of(node: Any, source: Any) -> str:
    """Return the name of an operation whose first argument is `source`, else nothing."""
    if node.op not in ("call_method", "call_function") or not node.args:
        return ""
    if node.args[0] is not source:
        return ""
    return str(node.target if node.op == "call_method" else getattr(node.target, "__name__", ""))


def _leave_out(graph: Any, source: Any, rule: Any) -> None:
    """Put `source` in the place of the nodes behind it that a rule describes."""
    for node in [node for node in source.users if rule(node, source)]:
        node.replace_all_uses_with(source)
        graph.erase_node(node)


def _leave_out_copies(graph: Any, source: Any) -> None:
    """Leave out copies, and copies of those."""
    while any(copies(node, source) for node in source.users):
        _leave_out(graph, source, copies)
