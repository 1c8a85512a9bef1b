"""What each torch layer is in our graph: a table from class name to nodes. Data, not imports.

A rule takes the module and the shapes (without time and batch) on both sides and returns the nodes,
in order, that stand for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from .ir import (
    Array,
    AvgPool,
    BatchNorm,
    Conv1d,
    Conv2d,
    Flatten,
    Linear,
    LoweringError,
    Node,
    Reshape,
    Scale,
    Shape,
    SumPool,
)
from .ir.nodes import MaxPool
from .ir.uneven_padding import same_padding
from .overridden import overrides
from .pool_windows import divisors, windows_reached

LayerRule: TypeAlias = Callable[[Any, Shape, Shape], list[Node]]


class Refused(Exception):
    """Why a layer cannot be traced, and what to do; the tracer adds the path."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason)

    def at(self, path: str) -> LoweringError:
        """Return the error that names the source path."""
        return LoweringError(self.reason, node=path, remedy=self.remedy)


def array(tensor: Any) -> Array | None:
    """Return a tensor's values as numpy (half and bfloat16 widened to float32), or None."""
    if tensor is None:
        return None
    found = tensor.detach().cpu()
    narrow = found.is_floating_point() and found.element_size() < 4
    values: Array = (found.float() if narrow else found).numpy()
    return values


def check_map(what: str, rank: int, own: Shape, lead: int, allowed: int) -> None:
    """Refuse maps that torch reads by other axes than ours: a batch or time axis as channels.

    Args:
        rank: of the windows. own: the shape [channel, *map] without time and batch.
        lead: how many axes stand before it. allowed: how many the layer folds.
    """
    if lead == allowed and len(own) == rank + 1:
        return
    axes = "[time, batch, ...]" if lead == 2 else "[batch, ...]"
    raise Refused(
        f"{what} takes axis 1 of {axes} for its channels, and {list(own)} for the map",
        time_folded(what) if lead > allowed else "give the map a channel axis: x.unsqueeze(1)",
    )


def time_folded(layer: str) -> str:
    """Return what to write for a layer that knows no time axis."""
    if f"Seq{layer}" in OVER_TIME["spikewright.trainer.layers"]:
        return f"take spikewright.trainer.layers.Seq{layer}, which folds time into the batch"
    return "fold time into the batch before it, x.flatten(0, 1), and unfold it behind"


def as_tuple(value: Any, rank: int) -> tuple[int, ...]:
    """Return torch's int-or-tuple option as a tuple of `rank` entries."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return tuple(int(v) for v in (values * rank if len(values) == 1 else values))


def _linear(module: Any, before: Shape, after: Shape) -> list[Node]:
    return [Linear(array(module.weight), array(module.bias))]  # type: ignore[arg-type]


def _conv(module: Any, before: Shape, after: Shape) -> list[Node]:
    if module.padding_mode != "zeros":
        raise Refused(f"padding_mode {module.padding_mode!r} is not zeros", "pad with zeros")
    weight = array(module.weight)
    assert weight is not None
    options = {n: getattr(module, n) for n in ("stride", "padding", "dilation", "groups")}
    return [conv_node(weight, array(module.bias), **options)]


def conv_node(
    weight: Array, bias: Array | None, *, stride: Any, padding: Any, dilation: Any, groups: int
) -> Node:
    """Return the convolution with torch's options: numbers, tuples, or a padding by name."""
    rank = weight.ndim - 2
    steps = as_tuple(dilation, rank)
    front, end = _padding(padding, weight.shape[2:], steps)
    kind = Conv1d if rank == 1 else Conv2d
    return kind(
        weight,
        bias,
        stride=as_tuple(stride, rank),
        padding=front,
        padding_end=end,
        dilation=steps,
        groups=int(groups),
    )


def _padding(padding: Any, kernel: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Return the padding in front of each axis and behind it."""
    if padding == "same":
        return same_padding(kernel, dilation)
    both = as_tuple(0 if padding == "valid" else padding, len(dilation))
    return both, both


def _batch_norm(module: Any, before: Shape, after: Shape) -> list[Node]:
    if module.running_mean is None:
        raise Refused("BatchNorm without running statistics", "set track_running_stats=True")
    mean, var = array(module.running_mean), array(module.running_var)
    assert mean is not None and var is not None
    weight, bias = array(module.weight), array(module.bias)
    return [
        BatchNorm(
            mean,
            var,
            np.ones_like(mean) if weight is None else weight,
            np.zeros_like(mean) if bias is None else bias,
            eps=float(module.eps),
        )
    ]


def _pool_windows(module: Any, before: Shape) -> tuple[Shape, Shape, Shape, Shape, Shape]:
    """Return kernel, stride, padding, the padding behind that windows reach, and their count."""
    rank, sizes = len(before) - 1, before[1:]
    kernel = as_tuple(module.kernel_size, rank)
    stride = kernel if module.stride is None else as_tuple(module.stride, rank)
    padding = as_tuple(module.padding, rank)
    axes = zip(sizes, kernel, stride, padding, padding, strict=True)
    reached = [windows_reached(*axis, bool(module.ceil_mode)) for axis in axes]
    count, end = (tuple(column) for column in zip(*reached, strict=True))
    return kernel, stride, padding, end, count


def _maps(rule: LayerRule) -> LayerRule:
    """Return a pool's rule for maps without a channel axis too: torch takes them as one channel."""

    def convert(module: Any, before: Shape, after: Shape) -> list[Node]:
        if len(before) > _window_rank(module):
            return rule(module, before, after)
        pooled = rule(module, (1, *before), (1, *after))
        return [Reshape((1, *before)), *pooled, *reshaped((1, *after), after)]

    return convert


def _avg_pool(module: Any, before: Shape, after: Shape) -> list[Node]:
    kernel, stride, padding, end, count = _pool_windows(module, before)
    if getattr(module, "divisor_override", None):
        return [
            SumPool(kernel, stride, padding, end),
            Scale(np.array(1.0 / module.divisor_override)),
        ]
    own = padding if module.count_include_pad else (0,) * len(padding)
    counted = tuple(zip(own, own, strict=True))
    places = divisors(before[1:], kernel, stride, padding, count, counted)
    if (places == np.prod(kernel)).all():
        return [AvgPool(kernel, stride, padding, end)]
    return [SumPool(kernel, stride, padding, end), Scale(1.0 / places)]


def _max_pool(module: Any, before: Shape, after: Shape) -> list[Node]:
    kernel, stride, padding, end, _ = _pool_windows(module, before)
    if any(d != 1 for d in as_tuple(module.dilation, len(kernel))):
        raise Refused("a dilated max-pool", "use dilation=1")
    if module.return_indices:
        raise Refused("return_indices returns places beside values", "leave return_indices out")
    return [MaxPool(kernel, stride, padding, end)]


def _adaptive_avg_pool(module: Any, before: Shape, after: Shape) -> list[Node]:
    return whole_windows(before[1:], after[1:])


def whole_windows(before: Shape, after: Shape) -> list[Node]:
    """Return the AvgPool that takes map `before` to `after` by windows of one size."""
    if any(b % a for b, a in zip(before, after, strict=True)):
        raise Refused(f"adaptive pooling of {before} to {after} varies", "pick a divisor as output")
    kernel = tuple(b // a for b, a in zip(before, after, strict=True))
    return [AvgPool(kernel, kernel, (0,) * len(kernel))]


def reshaped(before: Shape, after: Shape) -> list[Node]:
    """Return the node that gives `before` the shape `after`, none if it has it."""
    if before == after:
        return []
    return [Flatten() if len(after) == 1 else Reshape(after)]


def _nothing(module: Any, before: Shape, after: Shape) -> list[Node]:
    return []


LAYERS: dict[str, LayerRule] = {
    "torch.nn.Linear": _linear,
    "torch.nn.Conv1d": _conv,
    "torch.nn.Conv2d": _conv,
    "torch.nn.BatchNorm1d": _batch_norm,
    "torch.nn.BatchNorm2d": _batch_norm,
    "torch.nn.SyncBatchNorm": _batch_norm,
    "torch.nn.AvgPool1d": _maps(_avg_pool),
    "torch.nn.AvgPool2d": _maps(_avg_pool),
    "torch.nn.MaxPool1d": _maps(_max_pool),
    "torch.nn.MaxPool2d": _maps(_max_pool),
    "torch.nn.AdaptiveAvgPool1d": _maps(_adaptive_avg_pool),
    "torch.nn.AdaptiveAvgPool2d": _maps(_adaptive_avg_pool),
    "torch.nn.Flatten": _nothing,  # a view, read as one (see RESHAPES)
    "torch.nn.Unflatten": _nothing,
    "torch.nn.Identity": _nothing,
    "torch.nn.Dropout": _nothing,
    "torch.nn.Dropout1d": _nothing,
    "torch.nn.Dropout2d": _nothing,
}


RESHAPES = ("torch.nn.Flatten", "torch.nn.Unflatten")
"""Layers that may fold time into the batch, as views do."""
OVER_TIME: Mapping[str, tuple[str, ...]] = {
    "spikewright.trainer.layers": (
        *("SeqConv1d", "SeqConv2d", "SeqBatchNorm1d", "SeqBatchNorm2d"),
        *("SeqAvgPool2d", "SeqMaxPool2d"),
    ),
    "spikingjelly": (
        *("Linear", "Conv1d", "Conv2d", "BatchNorm1d", "BatchNorm2d", "Flatten", "MaxPool1d"),
        *("MaxPool2d", "AvgPool1d", "AvgPool2d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d"),
    ),
}
"""Subclasses of torch's layers that fold time into the batch and else compute what those do."""


def rule_of(module: Any) -> LayerRule | None:
    """Return the rule of the class that `module` computes by (`table_name`), or None."""
    name = table_name(module)
    return None if name is None else LAYERS[name]


def table_name(module: Any) -> str | None:
    """Return the name in `LAYERS` of the class that `module` computes by, or None.

    That is its own class or a parent's, where no method that enters its values is another.
    """
    for cls in type(module).__mro__:
        name = _name_of((cls,)) or (_name_of(cls.__mro__) if _folds_time(cls) else None)
        if name is not None:
            return None if overrides(module, cls) else name
    return None


def check_axes(module: Any, own: Shape, lead: int) -> None:
    """Refuse a layer that reads a batch or time axis as channels or as part of the map.

    Args:
        own: the shape that enters, without time and batch. lead: how many axes stand before it.
    """
    kind, name = (table_name(module) or "").rsplit(".", 1)[-1], type(module).__name__
    rank, allowed = _window_rank(module), 2 if _takes_steps(module) else 1
    if kind.startswith("Conv"):
        check_map(name, rank, own, lead, allowed)
    elif "BatchNorm" in kind and lead != allowed:
        check_map(name, len(own) - 1, own, lead, allowed)
    elif "Pool" in kind and len(own) < rank:
        raise Refused(
            f"{name} pools over the batch axis of [..., batch, {', '.join(map(str, own))}]",
            f"use AvgPool{len(own)}d or MaxPool{len(own)}d, or give the map its axes",
        )


def _window_rank(module: Any) -> int:
    """Return over how many axes the windows of a layer go: 2 of Conv2d."""
    return next((k for k in (1, 2) if (table_name(module) or "").endswith(f"{k}d")), 0)


def _takes_steps(module: Any) -> bool:
    """Whether a layer takes [time, batch, ...]: ours do, others where their step_mode says so."""
    return bool(getattr(module, "multi_step", False)) or getattr(module, "step_mode", "s") == "m"


def _folds_time(cls: type) -> bool:
    return any(
        f"{cls.__module__}.".startswith(f"{package}.") and cls.__name__ in names
        for package, names in OVER_TIME.items()
    )


def _name_of(classes: tuple[type, ...]) -> str | None:
    names = (f"{cls.__module__.split('.modules')[0]}.{cls.__name__}" for cls in classes)
    return next((name for name in names if name in LAYERS), None)
