"""Arguments of the trainer's public calls: tensors, shapes, and constants of neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..export.ir.arguments import Check, described, flag, optional, text, whole
from ..export.ir.errors import InputError

SIZE = whole(1, (1 << 31) - 1)
SEED = whole(0, (1 << 63) - 1)
"""What torch's generators take."""


def tensor(*axes: str) -> Check:
    """Return the check of a tensor of floats with these axes."""

    def check(name: str, value: Any) -> Tensor:
        if isinstance(value, Tensor) and value.ndim == len(axes) and value.is_floating_point():
            return value
        shape = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else ""
        wanted = f"a tensor of floats [{', '.join(axes)}] is needed"
        raise InputError(f"{shape or described(value)}, {wanted}", node=name)

    return check


def alike(one: Tensor, two: Tensor, names: str) -> None:
    """Check that two tensors have one shape.

    Raises:
        InputError: naming both shapes.
    """
    if one.shape != two.shape:
        reason = f"shapes {list(one.shape)} and {list(two.shape)}, one shape is needed"
        raise InputError(reason, node=names)


def number(name: str, value: Any) -> float:
    """Check a number; the constants' own ranges, infinity included, are judged where they act."""
    if isinstance(value, (str, bytes, bool)):
        value = None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{described(value)}, a number is needed", node=name) from None


def surrogate(name: str, value: Any) -> Any:
    """A surrogate's name, or an object with a gradient and its antiderivative."""
    if isinstance(value, str):
        return text(name, value)
    if all(callable(getattr(value, part, None)) for part in ("gradient", "antiderivative")):
        return value
    raise InputError(f"{described(value)} is no surrogate", node=name, remedy="name one, e.g. atan")


NEURON: Mapping[str, Check] = {
    "tau": number,
    "v_threshold": number,
    "v_reset": number,
    "surrogate": surrogate,
    "width": optional(number),
    "alpha": optional(number),
    "reset": text,
    "compare": text,
    "decay_input": flag,
}
"""Of the constructors of neurons; ranges are judged by `LIFParameters`."""


def checked_options(options: Mapping[str, Any], by_type: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of an options class, each checked by its annotation.

    Args:
        by_type: the annotation of each field, as text.
    """
    return {
        name: BY_TYPE[by_type[name]](name, value) if by_type.get(name) in BY_TYPE else value
        for name, value in options.items()
    }


_COUNT = whole(0)


def _shapes(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"{described(value)}, a list of whole numbers is needed", node=name)
    return tuple(_COUNT(name, size) for size in value)


BY_TYPE: Mapping[str, Callable[[str, Any], Any]] = {
    "int": _COUNT,
    "float": number,
    "float | None": optional(number),
    "str": text,
    "bool": flag,
    "tuple[int, ...]": _shapes,
    "tuple[int, int, int]": _shapes,
}
