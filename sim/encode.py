"""Encode: raw samples to the values that enter a graph, once, for every executor alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..export.ir import Array, Graph, Input, InputError, UnknownNameError
from ..export.ir.arith import quantise_input


def encode(
    graph: Graph,
    x: Array,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
) -> Array:
    """Return the encoded values [time, batch, *shape] of samples x.

    Args:
        x: static samples [sample, *shape], or with time [sample, time, *shape].
        time_steps: T; needed for static samples, and at most the samples' own T otherwise.
        encoding: `direct`, `rate`, `latency`, `frames` or `spikes`; default: the graph's own.
        seed: of the `rate` encoding's Bernoulli draws.

    Raises:
        InputError: for a wrong shape, dtype or range, naming the limit and the value.
        UnknownNameError: for an unknown encoding.
    """
    node = graph.input
    kind = encoding or node.encoding
    if kind not in ENCODINGS:
        raise UnknownNameError.of("encoding", kind, ENCODINGS)
    if (kind == "direct") != (node.encoding == "direct"):
        raise InputError(
            f"encoding {kind!r} does not fit a network lowered for {node.encoding!r}",
            node=graph.input_name,
            remedy=f"lower it with --encode {kind}",
        )
    timed = _check(graph.input_name, node, x, time_steps)
    values = ENCODINGS[kind](_normalised(node, x), time_steps, timed, seed)
    return _coded(graph, node, values)


def _check(name: str, node: Input, x: Array, time_steps: int | None) -> bool:
    """Check x; return whether it has a time axis."""
    if x.dtype.kind not in "fiub":
        raise InputError(f"dtype {x.dtype}, numbers are needed", node=name)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError(
            "the data holds NaN or infinite values", node=name, remedy="clean the data"
        )
    timed = x.ndim == len(node.shape) + 2
    if x.shape[-len(node.shape) :] != node.shape or x.ndim not in (
        len(node.shape) + 1,
        len(node.shape) + 2,
    ):
        wanted = "x".join(map(str, node.shape))
        raise InputError(
            f"data of shape {x.shape}, the network takes [sample, {wanted}] or "
            f"[sample, time, {wanted}]",
            node=name,
            remedy="reshape the data, or pick another network",
        )
    if time_steps is None and not timed:
        raise InputError("static samples need a number of time steps", node=name, remedy="give -T")
    if time_steps is not None and time_steps < 1:
        raise InputError(f"{time_steps} time steps, at least 1 is needed", node=name)
    if timed and time_steps is not None and time_steps > x.shape[1]:
        raise InputError(f"{time_steps} time steps asked, the data has {x.shape[1]}", node=name)
    return timed


def _normalised(node: Input, x: Array) -> Array:
    if node.mean is None and node.std is None:
        return x
    mean = 0.0 if node.mean is None else node.mean
    std = 1.0 if node.std is None else node.std
    return np.asarray((x - mean) / std, np.float32)


def _over_time(x: Array, time_steps: int | None, timed: bool, seed: int) -> Array:
    """Each step its own frame, or one frame repeated by view."""
    if timed:
        return np.swapaxes(x, 0, 1)[:time_steps]
    assert time_steps is not None
    return np.broadcast_to(x, (time_steps, *x.shape))


def _rate(x: Array, time_steps: int | None, timed: bool, seed: int) -> Array:
    """Bernoulli spikes of probability x, clipped to 0..1."""
    frames = _over_time(x, time_steps, timed, seed)
    draws = np.random.default_rng(seed).random(frames.shape, dtype=np.float32)
    return np.asarray(draws < np.clip(frames, 0, 1), np.int64)


def _latency(x: Array, time_steps: int | None, timed: bool, seed: int) -> Array:
    """One spike at step floor((1 - x) (T - 1) + 1/2); none where x is 0 or below."""
    if timed or time_steps is None:
        raise InputError("latency encoding takes static samples", remedy="use --encode spikes")
    step = np.floor((1 - np.clip(x, 0, 1)) * (time_steps - 1) + 0.5)
    steps = np.arange(time_steps).reshape(-1, *(1,) * x.ndim)
    return np.asarray((steps == step) & (x > 0), np.int64)


ENCODINGS: dict[str, Callable[[Array, int | None, bool, int], Array]] = {
    "direct": _over_time,
    "spikes": _over_time,
    "frames": _over_time,
    "rate": _rate,
    "latency": _latency,
}


def _coded(graph: Graph, node: Input, values: Array) -> Array:
    """Return values as the graph's level takes them."""
    if graph.level != "integer":
        return values
    if values.dtype.kind in "iub":
        return _within(graph.input_name, node, values)
    if node.encoding == "direct":
        return _once(values, lambda frames: quantise_input(frames, node))
    if (values != np.rint(values)).any():
        raise InputError(
            f"{node.encoding} data must be whole numbers",
            node=graph.input_name,
            remedy="use --encode rate or direct, and lower the network for it",
        )
    return _within(graph.input_name, node, values)


def _once(values: Array, change: Callable[[Array], Array]) -> Array:
    """Apply `change` to a repeated frame once, and repeat by view again."""
    if values.strides[0] == 0:
        return np.broadcast_to(change(values[0]), values.shape)
    return change(values)


def _within(name: str, node: Input, values: Array) -> Array:
    low, high = node.low, node.high
    assert low is not None and high is not None
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        found = f"{int(values.min())}..{int(values.max())}"
        raise InputError(
            f"integer input {found} leaves the range {low}..{high} the network was lowered for",
            node=name,
            remedy="clip the data, or calibrate the lowering on it",
        )

    def widened(frames: Array) -> Array:
        whole: Any = frames.astype(np.int64)
        return np.asarray(whole)

    return _once(values, widened)
