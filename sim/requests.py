"""What a caller hands in from Python, checked once and said in one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..export.ir import Array, Graph, InputError
from ..export.ir.arguments import described, whole


def graph_in(value: Any) -> Graph:
    """Return `value` if it is a Graph.

    Raises:
        InputError: for anything else, with the call that makes one.
    """
    if isinstance(value, Graph):
        return value
    remedy = "lower it first: sw.lower(name, path or module)"
    raise InputError(f"{described(value)}, a Graph is needed", node="graph", remedy=remedy)


def time_steps_in(value: Any) -> int:
    """Return T as an int.

    Raises:
        InputError: for what is no whole number of at least 1.
    """
    return int(whole(1)("time_steps", value))


def samples_in(x: Any) -> Array:
    """Return samples as an array: arrays as they are, tensors and nested lists converted.

    Raises:
        InputError: for one value, or rows of unequal length; `encode` checks the rest.
    """
    if hasattr(x, "detach"):
        x = _from_tensor(x)
    try:
        found = np.asarray(x)
    except (ValueError, TypeError):
        found = np.zeros(())
    if found.ndim == 0:
        remedy = "give an array [sample, *shape] or [sample, time, *shape]"
        raise InputError(f"{described(x)} is no array of samples", node="x", remedy=remedy)
    return found


def _from_tensor(x: Any) -> Any:
    """Return a tensor on the CPU, in a type that numpy has: bfloat16 widened to float32.

    Raises:
        InputError: for one without values (meta), or that does not hold all of them (sparse).
    """
    if x.is_meta:
        raise InputError("a tensor on the device meta has no values", node="x")
    if str(x.layout) != "torch.strided":
        raise InputError(f"a tensor of layout {x.layout}", node="x", remedy="give x.to_dense()")
    x = x.detach().cpu()
    return x.float() if x.is_floating_point() and x.element_size() < 4 else x


def labels_in(labels: Any, samples: int) -> Array | None:
    """Return the classes of `samples` samples as an array, None where there are none.

    Raises:
        InputError: for another number of labels, or labels that are no integers.
    """
    if labels is None:
        return None
    try:
        found = np.asarray(labels)
    except ValueError:
        found = np.zeros(())
    if found.shape != (samples,) or found.dtype.kind not in "biu":
        shape = f"{found.dtype} of shape {found.shape}"
        raise InputError(f"{shape}, one integer a sample is ({samples},)", node="labels")
    return found
