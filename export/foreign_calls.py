"""Calls of other frameworks' neurons in an fx graph: states taken off, loops over time rolled up.

snntorch and norse hand state along (`spk, mem = lif(x, mem)`) and often loop over time inside
forward(). A graph of ours holds state itself and is one step, so the arguments that carry state are
dropped, once they are seen to come from the same layer's step before, and of a loop's equal steps
the first is kept (`foreign_loop`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from operator import getitem
from typing import Any

from .foreign import class_name
from .foreign_loop import Loop, rolled
from .loop_output import Collected, collected, name_of, returned
from .torch_layers import Refused

Stateful = Callable[[Any], bool]
START = "first_state"
"""Under this name a call's `meta` holds the membrane potential that it starts from, if not 0."""
RETURNED = "returned"
"""Under this name the output's `meta` holds how many tensors forward() returns."""
COLLECTED = "collected"
"""And how it collects the steps of its loop, where it has one (`loop_output.How`)."""
STARTING = ("snntorch.Leaky",)
"""Layers whose one state is the membrane potential, so that it may start at a value."""
FRESH_WITHOUT_STATE = ("norse",)
"""Packages whose layers start at rest where no state is given; others hold it inside."""


def one_step(
    traced: Any, modules: Mapping[str, Any], stateful: Stateful, sizes: tuple[int, ...]
) -> Loop | None:
    """Reduce a traced module's graph, in place, to one step; return the loop that it was.

    Args:
        sizes: of the example input.

    Raises:
        Refused: for a state that is not the layer's own of the step before, or unequal steps.
    """
    graph = traced.graph
    _drop_assertions(graph)
    calls = [n for n in graph.nodes if n.op == "call_module" and stateful(modules[n.target])]
    order, output = _order(calls), _output(graph)
    count = max(order.values(), default=-1) + 1
    output.meta[RETURNED] = len(list(returned(output.args[0])))
    out = _first(output.args[0])
    found = collected(out, count) if calls else None
    looped = found is not None or count > 1
    if looped and found is None:
        found = _last_of(out, order, count)
    for call in calls:
        start = _checked_start(call, modules[call.target], order, looped, traced)
        call.args, call.kwargs = call.args[:1], {}
        if start is not None:
            call.meta[START] = start
    loop = rolled(graph, found, order, sizes) if looped else None
    output.args = (out,)
    if found is not None:
        found.node.replace_all_uses_with(found.steps[0])
        output.meta[COLLECTED] = found.how
    graph.eliminate_dead_code()
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    for node in inputs[1:]:
        if not node.users:
            graph.erase_node(node)
    return loop


def _order(calls: list[Any]) -> dict[Any, int]:
    """Return of each call how many of its layer went before."""
    seen: Counter[str] = Counter()
    order = {}
    for call in calls:
        order[call] = seen[call.target]
        seen[call.target] += 1
    return order


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


def _last_of(out: Any, order: Mapping[Any, int], count: int) -> Collected | None:
    """Return the steps of a loop whose last call of a neuron is what forward() returns."""
    call, index = (out.args[0], out.args[1]) if name_of(out) == "getitem" else (out, None)
    if call not in order or order[call] != count - 1:
        return None
    calls = [other for other in order if other.target == call.target]
    steps = calls if index is None else [_item(other, index) for other in calls]
    return Collected(out, steps, "last step")


def _item(call: Any, index: int) -> Any:
    with call.graph.inserting_after(call):
        return call.graph.call_function(getitem, (call, index))


def _checked_start(
    call: Any, module: Any, order: Mapping[Any, int], looped: bool, traced: Any
) -> Any:
    """Return the tensor that a layer's first call starts from, None for rest.

    Raises:
        Refused: for a state that is computed, another layer's, or not of the step before.
    """
    names = list(signature(module.forward).parameters)
    given = {**dict(zip(names[1:], call.args[1:], strict=False)), **call.kwargs}
    back = 1 if names[1:2] == ["spk"] else 0  # which recurrent layers return first, and take first
    start = None
    if not given and not _holds(module):
        given = {names[-1]: None}
    for name, value in given.items():
        for leaf in _leaves(value):
            found = _leaf_start(leaf, call, module, order, names.index(name) - back)
            if found is not None and looped:
                start = _constant(traced, found, module)
            elif found is not None:
                raise Refused(
                    f"{call.target} starts anew at every call of forward()",
                    "let the layer hold its state, or loop over time inside forward()",
                )
    return start


def _holds(module: Any) -> bool:
    """Whether a layer that is given no state goes on from where it was."""
    return class_name(module).split(".")[0] not in FRESH_WITHOUT_STATE


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what a state consists of: norse's are named tuples."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _leaf_start(
    leaf: Any, call: Any, module: Any, order: Mapping[Any, int], position: int
) -> Any | None:
    """Return the constant that one state of a call begins with; None at rest or handed along."""
    here, index = leaf, None
    while hasattr(here, "op") and getattr(here.target, "__name__", "") == "getitem":
        here, index = here.args
    step = order[call]
    if hasattr(here, "op") and here.op == "call_module":
        if here.target != call.target or here not in order:
            raise _computed(call)
        if order[here] == step - 1 and index == position:
            return None
        raise _stale(call, step)
    if step and (hasattr(here, "op") or not _holds(module)):
        raise _computed(call) if _is_computed(here) else _stale(call, step)
    if _is_computed(here):
        raise _computed(call)
    return here if hasattr(here, "op") and here.op == "get_attr" else None


def _is_computed(here: Any) -> bool:
    return hasattr(here, "op") and here.op not in ("placeholder", "get_attr")


def _computed(call: Any) -> Refused:
    return Refused(f"the state of {call.target} is computed outside it", "hand it along as it is")


def _stale(call: Any, step: int) -> Refused:
    return Refused(
        f"step {step} of its loop gives {call.target} another state than that of step {step - 1}",
        f"hand along what {call.target} returned",
    )


def _constant(traced: Any, node: Any, module: Any) -> Any | None:
    """Return the value of a constant first state, None where it is rest (zeros, or empty)."""
    value: Any = traced
    for part in node.target.split("."):
        value = getattr(value, part)
    if not value.any():
        return None
    if class_name(module) not in STARTING:
        raise Refused(f"{class_name(module)} starts from a state that is not 0", "start at rest")
    return value.detach()
