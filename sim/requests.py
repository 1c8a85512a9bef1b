"""What a caller hands in from Python, checked once and said in one line."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..export.ir import Array, Graph, InputError


def graph_in(value: Any) -> Graph:
    """Return `value` if it is a Graph.

    Raises:
        InputError: for anything else, with the call that makes one.
    """
    if isinstance(value, Graph):
        return value
    remedy = "lower it first: sw.lower(name, path or module)"
    raise InputError(f"{_said(value)}, a Graph is needed", node="graph", remedy=remedy)


def time_steps_in(value: Any) -> int:
    """Return T as an int.

    Raises:
        InputError: for what is no whole number of at least 1.
    """
    try:
        steps = operator.index(value)
    except TypeError:
        steps = 0
    if steps < 1:
        raise InputError(f"{_said(value)}, allowed whole numbers from 1 up", node="time_steps")
    return steps


def samples_in(x: Any) -> Array:
    """Return samples as an array: arrays as they are, tensors and nested lists converted.

    Raises:
        InputError: for one value, or rows of unequal length; `encode` checks the rest.
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu()
    try:
        found = np.asarray(x)
    except ValueError:
        found = np.zeros(())
    if found.ndim == 0:
        remedy = "give an array [sample, *shape] or [sample, time, *shape]"
        raise InputError(f"{_said(x)} is no array of samples", node="x", remedy=remedy)
    return found


def labels_in(labels: Any, samples: int) -> Array | None:
    """Return the classes of `samples` samples as an array, None where there are none.

    Raises:
        InputError: for another number of labels, or labels that are no integers.
    """
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.shape != (samples,) or found.dtype.kind not in "biu":
        shape = f"{found.dtype} of shape {found.shape}"
        raise InputError(f"{shape}, one integer a sample is ({samples},)", node="labels")
    return found


def _said(value: Any) -> str:
    text = repr(value).split("\n")[0]
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
