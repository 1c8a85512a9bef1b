"""What a loop over time inside forward() makes of its steps: a stack, a sum, a mean, the last one.

Each is matched on the fx graph, from the output back: a factor may follow (``/ T``), then a sum,
a mean or an index over the stack of all steps; or the steps are added as they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .torch_layers import Refused

How: TypeAlias = Literal["each step", "each step, batch first", "sum", "mean", "last step"]
SCALES = ("mul", "truediv", "div", "mul_", "div_", "imul", "itruediv")
ADDS = ("add", "iadd", "add_", "radd")


@dataclass(frozen=True, slots=True)
class Collected:
    """Where a graph holds what its loop collects.

    Attributes:
        node: that stands for all steps. steps: the value of each. how: they are collected.
    """

    node: Any
    steps: list[Any]
    how: How


def name_of(node: Any) -> str:
    """Return the name of the function or method that a node of fx calls."""
    if node.op == "call_method":
        return str(node.target)
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def collected(out: Any, calls: int) -> Collected | None:
    """Return what a loop collects in the output of a graph, None where there is no such thing.

    Args:
        calls: how many times the layer that is called most is called.
    """
    core = out
    while name_of(core) in SCALES and _is_number(core.args[1]):
        core = core.args[0]
    stack = _stack(core)
    if stack is not None:
        return Collected(core, stack[0], "each step, batch first" if stack[1] else "each step")
    reduced = _reduced(core)
    if reduced is not None:
        return reduced
    steps = _added(core, calls)
    return None if steps is None else Collected(core, steps, "sum")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _stack(node: Any) -> tuple[list[Any], int] | None:
    """Return what a ``torch.stack`` stacks, and along which axis: the first or the second."""
    if name_of(node) != "stack" or not isinstance(node.args[0], (tuple, list)):
        return None
    dim = _argument(node, 1, "dim", 0)
    steps = list(node.args[0])
    return (steps, dim) if dim in (0, 1) and all(hasattr(s, "op") for s in steps) else None


def _argument(node: Any, place: int, name: str, default: Any = None) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _reduced(node: Any) -> Collected | None:
    """Return the steps of a sum or mean over the axis that a stack makes, or of its last entry."""
    inner = node.args[0] if node.args and hasattr(node.args[0], "op") else None
    stack = None if inner is None else _stack(inner)
    if stack is None:
        return None
    steps, dim = stack
    name = name_of(node)
    if name == "getitem" and is_last(node.args[1], dim, len(steps)):
        return Collected(node, steps, "last step")
    given = _argument(node, 1, "dim")
    axes = [given] if isinstance(given, int) else list(given or ())
    if name not in ("sum", "mean") or axes != [dim] or _argument(node, 2, "keepdim", False):
        return None
    return Collected(node, steps, "sum" if name == "sum" else "mean")


def is_last(index: Any, axis: int, steps: int = 0) -> bool:
    """Whether an index takes the last step of an axis: the first or the second.

    Args:
        steps: how many there are, where known.
    """
    last = (-1, steps - 1)
    if axis == 0:
        return isinstance(index, int) and index in last
    return isinstance(index, tuple) and index in [(slice(None), k) for k in last]


def refuse_collected(how: How, integrates: bool) -> None:
    """Raise Refused for what no readout computes of an integrator, or of values of each step."""
    if how == "last step" and not integrates:
        raise Refused(
            "returns the last step alone",
            "return torch.stack of all steps, or their sum or mean over time",
        )
    if how in ("sum", "mean") and integrates:
        raise Refused(
            f"returns the {how} over time of a potential that integrates over time",
            "return the potential of every step, or of the last",
        )


def _added(node: Any, calls: int) -> list[Any] | None:
    """Return the steps that are added one after the other: ``out = out + x``, or ``sum(list)``."""
    steps: list[Any] = []
    while len(steps) < calls and name_of(node) in ADDS and _argument(node, 2, "alpha", 1) == 1:
        before, step = node.args[0], _argument(node, 1, "other")
        if _is_zero(before) and not _is_zero(step):
            before, step = step, before
        if _is_zero(step):  # 0 + the first step
            node = before
            break
        steps.insert(0, step)
        node = before
        if not hasattr(node, "op") or _is_zero(node):
            node = None
            break
    if node is not None and hasattr(node, "op") and not _is_zero(node):
        steps.insert(0, node)
    alike = all(hasattr(step, "op") for step in steps)
    return steps if calls > 1 and alike and len(steps) == calls else None


def _is_zero(value: Any) -> bool:
    """Whether a value is 0: a number, a constant, or torch's zeros."""
    if not hasattr(value, "op"):
        return (_is_number(value) and value == 0) or _is_zero_tensor(value)
    if value.op == "get_attr":
        held: Any = value.graph.owning_module
        for part in str(value.target).split("."):
            held = getattr(held, part)
        return _is_zero_tensor(held)
    return name_of(value) in ("zeros", "zeros_like", "new_zeros")


def _is_zero_tensor(value: Any) -> bool:
    return hasattr(value, "any") and not bool(value.any())


def returned(value: Any) -> Iterator[Any]:
    """Yield the tensors that forward() returns, without the states that stand in lists of them."""
    if hasattr(value, "op"):
        yield value
    elif isinstance(value, (tuple, list)):
        yield from (item for item in value if hasattr(item, "op"))
    elif isinstance(value, Mapping):
        raise Refused("forward() returns a dictionary", "return the output first")
