"""Calls of other frameworks' neurons in an fx graph: states taken off, loops over time rolled up.

snntorch and norse hand state along (`spk, mem = lif(x, mem)`) and often loop over time inside
forward(). A graph of ours holds state itself and is one step, so the arguments that carry state are
dropped, after a look at where they come from, and of a loop's equal steps the first is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .torch_layers import Refused

Stateful = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop over time inside forward(): its steps, and the input's axis they lie on, if any."""

    steps: int
    axis: int | None

    def first(self, sample: Any) -> Any:
        """Return what the first step takes of an input."""
        return sample if self.axis is None else sample.select(self.axis, 0)


def one_step(graph: Any, modules: Mapping[str, Any], stateful: Stateful) -> Loop | None:
    """Reduce an fx graph, in place, to one step and one output; return the loop that it was.

    Raises:
        Refused: for a state that is computed, or steps that are not alike.
    """
    _drop_assertions(graph)
    calls = _stateful_calls(graph, modules, stateful)
    for call in calls:
        _check_states(call, modules, stateful)
        call.args, call.kwargs = call.args[:1], {}
    steps = _steps(_first(_output(graph).args[0]))
    loop = _rolled(graph, steps) if _looped(calls) else None
    _output(graph).args = (steps[0],)
    graph.eliminate_dead_code()
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    for node in inputs[1:]:
        if not node.users:
            graph.erase_node(node)
    return loop


def _stateful_calls(graph: Any, modules: Mapping[str, Any], stateful: Stateful) -> list[Any]:
    return [n for n in graph.nodes if n.op == "call_module" and stateful(modules[n.target])]


def _drop_assertions(graph: Any) -> None:
    """Take off what fx asserts of arguments that were left at their defaults."""
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and getattr(node.target, "__name__", "") == "_assert":
            graph.erase_node(node)


def _output(graph: Any) -> Any:
    return next(node for node in graph.nodes if node.op == "output")


def _first(value: Any) -> Any:
    """Return the first of several outputs: the states behind it are ours to keep."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    if not hasattr(value, "op"):
        raise Refused("forward() does not return a tensor", "return the output first")
    return value


def _looped(calls: list[Any]) -> bool:
    return len({call.target for call in calls}) < len(calls)


def _check_states(call: Any, modules: Mapping[str, Any], stateful: Stateful) -> None:
    """Refuse a state that does not come from the same layer, from rest or from outside."""
    for value in (*call.args[1:], *call.kwargs.values()):
        here = value
        while hasattr(here, "op") and getattr(here.target, "__name__", "") == "getitem":
            here = here.args[0]
        if not hasattr(here, "op"):
            continue  # None, or what a norse layer starts from
        own = here.op == "call_module" and here.target == call.target
        if not own and here.op not in ("placeholder", "get_attr"):
            raise Refused("its state is computed outside the layer", "hand it along as it is")


def _steps(out: Any) -> list[Any]:
    """Return the values that a loop collects: of a stack over time each, else the one."""
    if getattr(out.target, "__name__", "") == "stack" and isinstance(out.args[0], (tuple, list)):
        dim = out.args[1] if len(out.args) > 1 else out.kwargs.get("dim", 0)
        if dim == 0 and all(hasattr(step, "op") for step in out.args[0]):
            return list(out.args[0])
    return [out]


def _axis(index: Any) -> int | None:
    """Return the axis of one step: 0 of ``x[t]``, 1 of ``x[:, t]``."""
    if isinstance(index, int):
        return 0
    if isinstance(index, tuple) and index[0] == slice(None) and len(index) == 2:
        return 1 if isinstance(index[1], int) else None
    return None


def _rolled(graph: Any, steps: list[Any]) -> Loop:
    """Make all steps take the whole input where they take ``x[t]``; refuse unequal steps."""
    source = next(node for node in graph.nodes if node.op == "placeholder")
    taken = [
        node
        for node in graph.nodes
        if getattr(node.target, "__name__", "") == "getitem"
        and node.args[0] is source
        and _axis(node.args[1]) is not None
    ]
    axes = {_axis(node.args[1]) for node in taken}
    if (taken and set(source.users) - set(taken)) or len(axes) > 1:
        raise Refused("takes its input both whole and by steps", "take x[t] in every step")
    for node in taken:
        node.replace_all_uses_with(source)
        graph.erase_node(node)
    known: dict[Any, Any] = {}
    looks = {_look(step, known) for step in steps}
    if len(looks) > 1:
        raise Refused("the steps of its loop over time differ", "do the same in every step")
    if len(steps) == 1:
        raise Refused(
            "a loop over time of which the output is not a stack of all steps",
            "return torch.stack(outputs)",
        )
    return Loop(len(steps), axes.pop() if axes else None)


def _look(node: Any, known: dict[Any, Any]) -> Any:
    """Return what a value is computed by, whichever step it stands in."""
    if node not in known:
        known[node] = hash((node.op, str(node.target), *_looks((node.args, node.kwargs), known)))
    return known[node]


def _looks(value: Any, known: dict[Any, Any]) -> tuple[Any, ...]:
    if hasattr(value, "op"):
        return (_look(value, known),)
    if isinstance(value, Mapping):
        value = tuple(sorted(value.items()))
    if isinstance(value, (tuple, list)):
        return tuple(_looks(item, known) for item in value)
    return (repr(value),)
