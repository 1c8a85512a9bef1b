"""What each torch function and tensor method is in our graph: a table from name to rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from .ir import Add, AvgPool, BatchNorm, Linear, MatMul, Node, Scale, Shape, Transpose
from .time_first import COPIES
from .torch_layers import LAYERS, Refused, array, check_axes, check_map, conv_node, reshaped


@dataclass(frozen=True, slots=True)
class Lead:
    """The axes before a value's own shape: (time, batch), (time * batch,) or (batch,).

    unfolded: what they are when unfolded. averaged: whether a mean over time came before, behind
    which only what commutes with it can be computed step by step. summed: whether a sum did, behind
    which nothing may be added, either. time: which of the axes is time.
    """

    sizes: tuple[int, ...]
    unfolded: tuple[int, ...]
    averaged: bool = False
    summed: bool = False
    time: int = 0

    @property
    def reduced(self) -> tuple[bool, bool]:
        """Whether a mean over time came before, or a sum."""
        return self.averaged, self.summed

    def without_time(self, *, summed: bool = False) -> Lead:
        """Return the axes behind a mean, or a sum, over time."""
        batch = self.sizes[: self.time] + self.sizes[self.time + 1 :]
        return Lead(batch, batch, averaged=True, summed=summed)


@dataclass(frozen=True, slots=True)
class Called:
    """What a call became: nodes in a chain, the fx nodes that feed the first, the lead behind."""

    nodes: list[Node]
    sources: tuple[Any, ...]
    lead: Lead


@dataclass(frozen=True, slots=True)
class _Call:
    """A call seen by a rule: its first tensor, other arguments and shapes."""

    fx_node: Any
    leads: Mapping[Any, Lead]

    @property
    def source(self) -> Any:
        return self.fx_node.args[0]

    @property
    def lead(self) -> Lead:
        return self.leads[self.source]

    @property
    def full(self) -> tuple[int, ...]:
        return tuple(self.source.meta["value_shape"])

    @property
    def after(self) -> tuple[int, ...]:
        return tuple(self.fx_node.meta["value_shape"])

    @property
    def shape(self) -> Shape:
        return self.full[len(self.lead.sizes) :]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        if len(self.fx_node.args) > place:
            return self.fx_node.args[place]
        return self.fx_node.kwargs.get(name, default)

    def own_axis(self, axis: int) -> int:
        """Return a torch axis as an axis of the value's own shape (negative: a leading axis)."""
        return axis % len(self.full) - len(self.lead.sizes)

    def over_time(self, axes: list[int]) -> bool:
        """Whether own axes (`own_axis`) are the time axis alone."""
        return len(self.lead.sizes) == 2 and axes == [self.lead.time - 2]

    def is_tensor(self, value: Any) -> bool:
        return value in self.leads if hasattr(value, "op") else False


def convert_call(name: str, fx_node: Any, leads: Mapping[Any, Lead]) -> Called:
    """Return what the function or method `name` becomes.

    Raises:
        Refused: for one that has no rule, or arguments that have none.
    """
    rule = FUNCTIONS.get(name)
    if rule is None:
        known = f"known: {', '.join(sorted(FUNCTIONS))}"
        raise Refused(f"no rule for the operation {name!r}", INSTEAD.get(name, known))
    return rule(_Call(fx_node, leads))


def _add(call: _Call) -> Called:
    a, b = call.fx_node.args[0], call.argument(1, "other")
    if call.argument(2, "alpha", 1) != 1:
        raise Refused("add with alpha", "scale the weights of that branch")
    if not (call.is_tensor(a) and call.is_tensor(b)):
        raise Refused("adds a constant to a value", "use the bias of a layer")
    if call.leads[a].reduced != call.leads[b].reduced:
        raise Refused("adds a mean over time, or a sum, to values without it", "take it last")
    return Called([Add()], (a, b), call.leads[a])


def _multiply(call: _Call) -> Called:
    a, b = call.fx_node.args[0], call.argument(1, "other")
    if call.is_tensor(a) and call.is_tensor(b):
        raise Refused("multiplies two values elementwise", "gate with a MatMul, or move it away")
    tensor, constant = (a, b) if call.is_tensor(a) else (b, a)
    return _scaled(call, tensor, _constant(constant))


def _divide(call: _Call) -> Called:
    a, b = call.fx_node.args[0], call.argument(1, "other")
    if not call.is_tensor(a) or call.is_tensor(b):
        raise Refused("divides by a value", "divide by a constant")
    if call.argument(2, "rounding_mode") is not None:
        raise Refused("a division that rounds", "divide without rounding_mode")
    return _scaled(call, a, 1 / _constant(b))


def _scaled(call: _Call, tensor: Any, factor: Any) -> Called:
    values, lead = np.asarray(factor, np.float64), call.leads[tensor]
    own = len(tensor.meta["value_shape"]) - len(lead.sizes)
    while values.ndim > own and len(values) == 1:
        values = values[0]  # an axis of 1 that broadcasts over time or batch
    return Called([Scale(values)], (tensor,), lead)


def _constant(value: Any) -> Any:
    """Return a number, or the numpy value of a tensor that does not depend on the input."""
    if not hasattr(value, "meta"):
        return value
    if value.meta.get("value") is None:
        raise Refused("weights or factors that depend on the input", "make them parameters")
    return array(value.meta["value"])


def _matmul(call: _Call) -> Called:
    a, b = call.fx_node.args[0], call.argument(1, "other")
    if not call.is_tensor(a):
        raise Refused("multiplies a constant matrix by a value", "use a Linear layer")
    if not call.is_tensor(b):
        return _by_matrix(call, _constant(b))
    if call.leads[a].averaged or call.leads[b].averaged:
        raise averaged_first("a product")
    return Called([MatMul()], (a, b), call.leads[a])


def _by_matrix(call: _Call, matrix: Any) -> Called:
    """A value times a constant matrix [in, out] is a Linear; a stack of matrices is not."""
    if np.ndim(matrix) != 2 or not call.shape:
        raise Refused("multiplies by a constant that is no matrix", "use a Linear layer")
    return Called([Linear(np.ascontiguousarray(matrix.T))], (call.source,), call.lead)


def _reshape(call: _Call) -> Called:
    """Any view: the leading axes may be folded or unfolded, the own shape may change."""
    lead = _lead_after(call)
    return Called(reshaped(call.shape, call.after[len(lead.sizes) :]), (call.source,), lead)


def adds_constant(node: Node) -> bool:
    """Whether a node adds something at every step, which a sum over time would add once."""
    return isinstance(node, BatchNorm) or getattr(node, "bias", None) is not None


def _unsqueeze(call: _Call) -> Called:
    """An axis of 1: in front of a batch it is that of time (see `_repeat`)."""
    if len(call.lead.sizes) == 1 and call.argument(1, "dim") == 0:
        sizes = (1, *call.lead.sizes)
        return Called([], (call.source,), replace(call.lead, sizes=sizes, unfolded=sizes))
    return _reshape(call)


def _repeat(call: _Call) -> Called:
    """One frame for all steps: every step computes it again, which is the same."""
    if call.after[1:] != call.full[1:] or call.full[0] != 1 or len(call.lead.sizes) != 2:
        raise Refused(
            f"repeats {list(call.full)} to {list(call.after)}",
            "repeat a frame over time alone: x.unsqueeze(0).repeat(T, 1, ...)",
        )
    sizes = call.after[: len(call.lead.sizes)]
    return Called([], (call.source,), replace(call.lead, sizes=sizes, unfolded=sizes))


def averaged_first(what: str) -> Refused:
    """Return the refusal of what does not commute with a mean over time that comes before it."""
    return Refused(f"{what} behind a mean over time", "take the mean over time last")


def _lead_after(call: _Call) -> Lead:
    unfolded, own = call.lead.unfolded, prod(call.shape)
    likely = [call.lead.sizes, unfolded, (prod(unfolded),)]
    if len(call.after) - len(call.full) == len(unfolded) - len(call.lead.sizes) > 0:
        likely = [unfolded, call.lead.sizes]  # of a batch of 1 both fit: one more axis unfolds
    for sizes in likely:
        rest = call.after[len(sizes) :]
        if call.after[: len(sizes)] == sizes and prod(rest) == own:
            return replace(call.lead, sizes=sizes)
    raise Refused(
        f"reshapes {call.full} to {call.after}, mixing batch or time with the rest",
        "keep the batch axis apart",
    )


def _permute(call: _Call) -> Called:
    given = call.fx_node.args[1:] or call.fx_node.kwargs["dims"]
    axes = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
    own, lead = [call.own_axis(axis) for axis in axes], len(call.lead.sizes)
    if own[:lead] != list(range(-lead, 0)):
        raise Refused("permutes the batch or time axis", "keep them in front")
    return _transposed(call, own[lead:])


def _transpose(call: _Call) -> Called:
    first = call.own_axis(call.argument(1, "dim0"))
    second = call.own_axis(call.argument(2, "dim1"))
    axes = list(range(len(call.shape)))
    if min(first, second) < 0:
        raise Refused("transposes the batch or time axis", "keep them in front")
    axes[first], axes[second] = axes[second], axes[first]
    return _transposed(call, axes)


def _transposed(call: _Call, axes: list[int]) -> Called:
    if sorted(axes) != list(range(len(call.shape))):
        raise Refused("permutes the batch or time axis", "keep them in front")
    return Called([Transpose(tuple(axes))], (call.source,), call.lead)


def _mean(call: _Call) -> Called:
    """Mean over own axes; a mean over time leaves the steps to the readout, which adds them."""
    given = call.argument(1, "dim")
    if given is None:
        raise Refused("a mean over everything", "name the axes")
    dims = [given] if isinstance(given, int) else list(given)
    axes = sorted(call.own_axis(axis) for axis in dims)
    if call.over_time(axes):
        if call.argument(2, "keepdim", False):
            raise Refused("a mean over time that keeps its axis", "leave keepdim out")
        return Called([], (call.source,), call.lead.without_time())
    if axes[0] < 0:
        raise Refused("a mean over the batch axis", "average over the network's own axes")
    rest = [axis for axis in range(len(call.shape)) if axis not in axes]
    order = (*rest, *axes)
    kernel = tuple(call.shape[axis] for axis in axes)
    nodes: list[Node] = [] if order == tuple(range(len(order))) else [Transpose(order)]
    nodes.append(AvgPool(kernel, kernel, (0,) * len(kernel)))
    pooled = (*(call.shape[axis] for axis in rest), *(1,) * len(axes))
    nodes += reshaped(pooled, call.after[len(call.lead.sizes) :])
    return Called(nodes, (call.source,), call.lead)


def _sum(call: _Call) -> Called:
    """A sum over time, which is what the readout computes; others have no node."""
    given = call.argument(1, "dim")
    axes = [given] if isinstance(given, int) else list(given or ())
    if not call.over_time([call.own_axis(axis) for axis in axes]):
        raise Refused("a sum over other axes than time", INSTEAD["sum"])
    if call.argument(2, "keepdim", False):
        raise Refused("a sum over time that keeps its axis", "leave keepdim out")
    return Called([], (call.source,), call.lead.without_time(summed=True))


def _linear(call: _Call) -> Called:
    weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
    node = Linear(_constant(weight), None if bias is None else _constant(bias))
    return Called([node], (call.source,), call.lead)


def _conv(call: _Call) -> Called:
    """A convolution with weights that are constants: standardised, masked, quantised ones."""
    weight, bias = _constant(call.argument(1, "weight")), call.argument(2, "bias")
    check_map(call.fx_node.target.__name__, weight.ndim - 2, call.shape, len(call.lead.sizes), 1)
    node = conv_node(
        weight,
        None if bias is None else _constant(bias),
        stride=call.argument(3, "stride", 1),
        padding=call.argument(4, "padding", 0),
        dilation=call.argument(5, "dilation", 1),
        groups=call.argument(6, "groups", 1),
    )
    return Called([node], (call.source,), call.lead)


def _keep(call: _Call) -> Called:
    return Called([], (call.source,), call.lead)


def _cast(call: _Call) -> Called:
    """A device, another layout in memory or another float of 32 bits and more changes no value."""
    import torch

    given = (*call.fx_node.args[1:], *call.fx_node.kwargs.values())
    for kind in (value for value in given if isinstance(value, torch.dtype)):
        if kind not in (torch.float32, torch.float64):
            raise Refused(f"converts to {kind}", "compute in float32")
    return _keep(call)


_WINDOW = ("kernel_size", "stride", "padding")
POOLS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "avg_pool1d": ("AvgPool1d", (*_WINDOW, "ceil_mode", "count_include_pad")),
    "avg_pool2d": (
        "AvgPool2d",
        (*_WINDOW, "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    "max_pool1d": ("MaxPool1d", (*_WINDOW, "dilation", "ceil_mode", "return_indices")),
    "max_pool2d": ("MaxPool2d", (*_WINDOW, "dilation", "ceil_mode", "return_indices")),
    "adaptive_avg_pool1d": ("AdaptiveAvgPool1d", ("output_size",)),
    "adaptive_avg_pool2d": ("AdaptiveAvgPool2d", ("output_size",)),
}
"""The layer that does what a function of torch.nn.functional does, and its arguments in order."""


def _pool(call: _Call) -> Called:
    """A pool, as the layer of the same name."""
    from torch import nn

    name, arguments = POOLS[call.fx_node.target.__name__]
    given = {k: call.argument(place, k) for place, k in enumerate(arguments, 1)}
    layer = getattr(nn, name)(**{k: value for k, value in given.items() if value is not None})
    check_axes(layer, call.shape, len(call.lead.sizes))
    after = call.after[len(call.lead.sizes) :]
    return Called(LAYERS[f"torch.nn.{name}"](layer, call.shape, after), (call.source,), call.lead)


def _dropout(call: _Call) -> Called:
    if call.argument(2, "training", True):
        raise Refused("dropout that stays on in eval mode", "pass training=self.training")
    return _keep(call)


def _in_place(rule: Callable[[_Call], Called]) -> Callable[[_Call], Called]:
    """Return the rule of an operation that overwrites its first operand: nothing may read it on."""

    def convert(call: _Call) -> Called:
        order = {node: k for k, node in enumerate(call.fx_node.graph.nodes)}
        if any(order[user] > order[call.fx_node] for user in getattr(call.source, "users", ())):
            raise Refused("overwrites a value that is read again", "compute it out of place")
        return rule(call)

    return convert


_SPIKES = "put a spiking neuron there, e.g. sw.MixedLIF"
_READOUT = "return every step; the readout adds them up, and a mean over time may be taken last"
INSTEAD: Mapping[str, str] = {
    "relu": _SPIKES,
    "gelu": _SPIKES,
    "sigmoid": _SPIKES,
    "tanh": _SPIKES,
    "softmax": "leave it out: spiking attention needs none, and argmax does not change by it",
    "log_softmax": "leave it out: argmax does not change by it",
    "sum": _READOUT,
    "getitem": _READOUT,
    "batch_norm": "use a layer, e.g. nn.BatchNorm2d",
    "pad": "pad in the convolution: padding=",
}
"""What to write for an operation that has no rule and that networks often hold."""

FUNCTIONS: dict[str, Callable[[_Call], Called]] = {
    "add": _add,
    "iadd": _in_place(_add),
    "add_": _in_place(_add),
    "mul": _multiply,
    "imul": _in_place(_multiply),
    "truediv": _divide,
    "div": _divide,
    "matmul": _matmul,
    "bmm": _matmul,
    "flatten": _reshape,
    "unflatten": _reshape,
    "reshape": _reshape,
    "view": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _unsqueeze,
    "repeat": _repeat,
    "expand": _repeat,
    "permute": _permute,
    "transpose": _transpose,
    "mean": _mean,
    "sum": _sum,
    "linear": _linear,
    "conv1d": _conv,
    "conv2d": _conv,
    **dict.fromkeys((*COPIES, "double", "cpu", "cuda"), _keep),
    "to": _cast,
    "type_as": _cast,
    "mul_": _in_place(_multiply),
    "div_": _in_place(_divide),
    **dict.fromkeys(POOLS, _pool),
    "dropout": _dropout,
}
