"""What each torch layer is in our graph: a table from class name to nodes. Data, not imports.

A rule takes the module and the shapes (without time and batch) on both sides and returns the nodes,
in order, that stand for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    Shape,
)
from .ir.nodes import MaxPool
from .ir.uneven_padding import same_padding


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


def as_tuple(value: Any, rank: int) -> tuple[int, ...]:
    """Return torch's int-or-tuple option as a tuple of `rank` entries."""
    return (int(value),) * rank if isinstance(value, int) else tuple(int(v) for v in value)


def _linear(module: Any, before: Shape, after: Shape) -> list[Node]:
    return [Linear(array(module.weight), array(module.bias))]  # type: ignore[arg-type]


def _conv(module: Any, before: Shape, after: Shape) -> list[Node]:
    rank = module.weight.ndim - 2
    if module.padding_mode != "zeros":
        raise Refused(f"padding_mode {module.padding_mode!r} is not zeros", "pad with zeros")
    dilation = as_tuple(module.dilation, rank)
    weight = array(module.weight)
    assert weight is not None
    padding, padding_end = _padding(module, weight.shape[2:], dilation)
    options = {
        "stride": as_tuple(module.stride, rank),
        "padding": padding,
        "padding_end": padding_end,
        "dilation": dilation,
        "groups": int(module.groups),
    }
    kind = Conv1d if rank == 1 else Conv2d
    return [kind(weight, array(module.bias), **options)]  # type: ignore[arg-type]


def _padding(module: Any, kernel: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Return the padding in front of each axis and behind it."""
    if module.padding == "same":
        return same_padding(kernel, dilation)
    both = 0 if module.padding == "valid" else module.padding
    return (as_tuple(both, len(dilation)),) * 2


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


def _pool_windows(module: Any, before: Shape) -> tuple[tuple[int, ...], ...]:
    rank = len(before) - 1
    if module.ceil_mode:
        raise Refused("ceil_mode makes windows of varying size", "use ceil_mode=False")
    kernel = as_tuple(module.kernel_size, rank)
    stride = kernel if module.stride is None else as_tuple(module.stride, rank)
    return kernel, stride, as_tuple(module.padding, rank)


def _avg_pool(module: Any, before: Shape, after: Shape) -> list[Node]:
    kernel, stride, padding = _pool_windows(module, before)
    if any(padding) and not module.count_include_pad:
        raise Refused("padding with a varying divisor", "use count_include_pad=True")
    if getattr(module, "divisor_override", None):
        raise Refused("divisor_override is set", "fold it into the next weights")
    return [AvgPool(kernel, stride, padding)]


def _max_pool(module: Any, before: Shape, after: Shape) -> list[Node]:
    kernel, stride, padding = _pool_windows(module, before)
    if any(d != 1 for d in as_tuple(module.dilation, len(kernel))):
        raise Refused("a dilated max-pool", "use dilation=1")
    return [MaxPool(kernel, stride, padding)]


def _adaptive_avg_pool(module: Any, before: Shape, after: Shape) -> list[Node]:
    return whole_windows(before[1:], after[1:])


def whole_windows(before: Shape, after: Shape) -> list[Node]:
    """Return the AvgPool that takes map `before` to `after` by windows of one size."""
    if any(b % a for b, a in zip(before, after, strict=True)):
        raise Refused(f"adaptive pooling of {before} to {after} varies", "pick a divisor as output")
    kernel = tuple(b // a for b, a in zip(before, after, strict=True))
    return [AvgPool(kernel, kernel, (0,) * len(kernel))]


def _flatten(module: Any, before: Shape, after: Shape) -> list[Node]:
    return reshaped(before, after)


def reshaped(before: Shape, after: Shape) -> list[Node]:
    """Return the node that gives `before` the shape `after`, none if it has it."""
    if before == after:
        return []
    return [Flatten() if len(after) == 1 else Reshape(after)]


def _nothing(module: Any, before: Shape, after: Shape) -> list[Node]:
    return []


LayerRule = Callable[[Any, Shape, Shape], list[Node]]
LAYERS: dict[str, LayerRule] = {
    "torch.nn.Linear": _linear,
    "torch.nn.Conv1d": _conv,
    "torch.nn.Conv2d": _conv,
    "torch.nn.BatchNorm1d": _batch_norm,
    "torch.nn.BatchNorm2d": _batch_norm,
    "torch.nn.SyncBatchNorm": _batch_norm,
    "torch.nn.AvgPool1d": _avg_pool,
    "torch.nn.AvgPool2d": _avg_pool,
    "torch.nn.MaxPool1d": _max_pool,
    "torch.nn.MaxPool2d": _max_pool,
    "torch.nn.AdaptiveAvgPool1d": _adaptive_avg_pool,
    "torch.nn.AdaptiveAvgPool2d": _adaptive_avg_pool,
    "torch.nn.Flatten": _flatten,
    "torch.nn.Unflatten": _flatten,
    "torch.nn.Identity": _nothing,
    "torch.nn.Dropout": _nothing,
    "torch.nn.Dropout1d": _nothing,
    "torch.nn.Dropout2d": _nothing,
}


def rule_of(module: Any) -> LayerRule | None:
    """Return the rule of the nearest class of `module` in the table, or None."""
    for cls in type(module).__mro__:
        package = cls.__module__.split(".modules")[0]
        rule = LAYERS.get(f"{package}.{cls.__name__}")
        if rule is not None:
            return rule
    return None
