"""Containers of other frameworks that hold layers: recurrence, and layers applied at every step.

A rule takes the live container and the shapes on both sides (without time and batch) and returns
what stands for it, `Looped` or a list of `Part`s. Read in the sources of norse 1.1.0, spikingjelly
2.0.0 and sinabs 3.1.3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from .ir import Array, AvgPool, Flatten, Linear, Neuron, Node, Reshape, Scale, Shape, SumPool
from .lower_start import no_lower_start, starting_lower
from .torch_layers import RESHAPES, Refused, array, reshaped, rule_of, table_name


@dataclass(frozen=True, slots=True)
class Part:
    """A node within a container, with the path below it: nothing for the container's own."""

    path: str
    node: Node


@dataclass(frozen=True, slots=True)
class Looped:
    """What takes back a value of its own one step later, added to its input.

    Attributes:
        body: from the sum to the value that is taken back; none: the sum itself. back: what that
            value passes on its way back. into: what the input passes before the sum. behind: what
            the value passes on its way out. shape: of the value.
    """

    body: list[Part]
    back: list[Node]
    shape: Shape
    into: list[Node] = field(default_factory=list)
    behind: list[Node] = field(default_factory=list)


NodesOf: TypeAlias = Callable[[Any, Shape], list[Node]]
"""Returns the nodes of a neuron or layer of another framework, of a shape; refuses others."""


def parts_of(module: Any, before: Shape, path: str, foreign: NodesOf) -> tuple[list[Part], Shape]:
    """Return the nodes of a layer, or of several in a row, and the shape behind them.

    Raises:
        Refused: for a layer without a rule, or with hooks.
    """
    children = _in_a_row(module)
    if children is not None:
        found: list[Part] = []
        for name, child in children:
            inner, before = parts_of(child, before, f"{path}.{name}" if path else name, foreign)
            found += inner
        return found, before
    if module._forward_hooks or module._forward_pre_hooks:
        raise Refused(f"{path} has hooks inside a container", "take them off (handle.remove())")
    rule = rule_of(module)
    if rule is None:
        nodes = foreign(module, before)
        return [Part(path, node) for node in nodes], _behind(nodes, module, before)
    after = _after(module, before)
    if table_name(module) in RESHAPES:
        return [Part(path, node) for node in reshaped(before, after)], after
    return [Part(path, node) for node in rule(module, before, after)], after


def _in_a_row(module: Any) -> Iterable[tuple[str, Any]] | None:
    row = type(module).__name__ == "Sequential" and type(module).__module__.startswith("torch.")
    return list(module.named_children()) if row else None


def _behind(nodes: list[Node], module: Any, before: Shape) -> Shape:
    """Return the shape behind a framework's layer: a neuron keeps it, a pool does not."""
    changes = any(isinstance(node, (SumPool, AvgPool)) for node in nodes)
    return _after(module, before) if changes else before


def _after(module: Any, before: Shape) -> Shape:
    """Return the shape that a layer of torch makes."""
    import torch

    with torch.no_grad():
        return tuple(module(torch.zeros(1, *before)).shape[1:])


def nodes_of(module: Any, before: Shape, path: str, foreign: NodesOf) -> tuple[list[Node], Shape]:
    """Return `parts_of` without their paths."""
    parts, after = parts_of(module, before, path, foreign)
    return [part.node for part in parts], after


def linear_recurrent(m: Any, before: Shape, after: Shape, foreign: NodesOf) -> Looped:
    """spikingjelly: i = W [x, y of the step before] + b, y = sub_module(i)."""
    weight = array(m.rc.weight)
    assert weight is not None
    split = weight.shape[1] - int(m.sub_module_out_features)
    body, shape = _spiking(m.sub_module, (*before[:-1], weight.shape[0]), foreign)
    into: list[Node] = [Linear(weight[:, :split], array(m.rc.bias))]
    return Looped(body, [Linear(weight[:, split:])], shape, into)


def element_wise_recurrent(m: Any, before: Shape, after: Shape, foreign: NodesOf) -> Looped:
    """spikingjelly: i = f(y of the step before, x), y = sub_module(i); f an addition."""
    if not _adds(m.element_wise_function):
        raise Refused(
            "ElementWiseRecurrentContainer with another function than an addition",
            "add: element_wise_function=lambda x, y: x + y",
        )
    body, shape = _spiking(m.sub_module, before, foreign)
    if shape != before:
        raise Refused("ElementWiseRecurrentContainer that changes the shape", "keep the shape")
    return Looped(body, [], shape)


def _spiking(module: Any, before: Shape, foreign: NodesOf) -> tuple[list[Part], Shape]:
    body, shape = parts_of(module, before, "sub_module", foreign)
    if not body or not isinstance(body[-1].node, Neuron):
        raise Refused("feeds back values that are not spikes", "let the sub_module end in a neuron")
    return body, shape


def _adds(function: Any) -> bool:
    """Whether a function of two values adds them, seen by what torch.fx traces."""
    import torch

    if function in (operator.add, operator.iadd, torch.add):
        return True
    try:
        graph = torch.fx.symbolic_trace(function).graph
    except Exception:  # code that depends on values
        return False
    *given, call, out = graph.nodes
    name = getattr(call.target, "__name__", call.target)
    plain = len(given) == 2 and not call.kwargs and out.args[0] is call
    return plain and name in ("add", "iadd") and set(call.args) == set(given)


def each_step(m: Any, before: Shape, after: Shape, foreign: NodesOf) -> list[Part]:
    """spikingjelly's MultiStepContainer and kin, norse's Lift: what they hold, step by step."""
    if hasattr(m, "lifted_module"):
        return parts_of(m.lifted_module, before, "lifted_module", foreign)[0]
    found: list[Part] = []
    for name, child in m.named_children():
        inner, before = parts_of(child, before, name, foreign)
        found += inner
    return found


def connected(nodes: list[Node], connection: Any, shape: Shape, foreign: NodesOf) -> Looped:
    """sinabs: x + rec_connect(spikes of the step before), at the first step nothing, nor its bias.

    Ours has the bias at every step: so the potential starts lower by what it adds at the first.
    """
    back, after = nodes_of(connection, shape, "rec_connect", foreign)
    *weights, neuron = nodes
    assert isinstance(neuron, Neuron)
    gain = np.prod([node.factor for node in weights if isinstance(node, Scale)] or [np.ones(())], 0)
    early = gain * _added(back, after).reshape(shape)
    if early.any():
        reason = no_lower_start(neuron, early)
        if reason:
            why = "tau_syn" if neuron.current_based else f"a neuron that {reason}"
            raise Refused(f"rec_connect with a bias, and {why}", "build it with bias=False")
        neuron = starting_lower(neuron, early)
    body = [Part("", node) for node in (*weights, neuron)]
    return Looped(body, [*back, *reshaped(after, shape)], shape)


def _added(back: list[Node], after: Shape) -> Array:
    """Return what a connection makes of no spikes, of its shape."""
    biases = [getattr(node, "bias", None) for node in back]
    places = [k for k, bias in enumerate(biases) if bias is not None and bias.any()]
    if not places:
        return np.zeros(after)
    behind = back[places[-1] + 1 :]
    if len(places) > 1 or not all(isinstance(node, (Flatten, Reshape)) for node in behind):
        raise Refused("rec_connect with a bias before other weights", "build it with bias=False")
    node, bias = back[places[0]], np.asarray(biases[places[0]], np.float64)
    if isinstance(node, Linear):
        return np.broadcast_to(bias, after) if not behind else bias
    if behind:
        raise Refused("rec_connect that reshapes behind a convolution", "build it with bias=False")
    return np.broadcast_to(bias.reshape(-1, *(1,) * (len(after) - 1)), after)


Rule: TypeAlias = Callable[[Any, Shape, Shape, NodesOf], "Looped | list[Part]"]
CONTAINERS: dict[str, Rule] = {
    "norse.Lift": each_step,
    "spikingjelly.MultiStepContainer": each_step,
    "spikingjelly.SeqToANNContainer": each_step,
    "spikingjelly.StepModeContainer": each_step,
    "spikingjelly.LinearRecurrentContainer": linear_recurrent,
    "spikingjelly.ElementWiseRecurrentContainer": element_wise_recurrent,
}
"""By package and class."""
