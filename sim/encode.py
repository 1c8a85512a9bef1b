"""Encode: raw samples to the values that enter a graph, once, for every executor alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..export.ir import Array, Graph, Input, InputError
from ..export.ir.arith import quantise_input
from .encoding import taken_as_counts, with_encoding
from .repeated import is_repeated


@dataclass(frozen=True, slots=True)
class _Request:
    """What an encoding needs beside the data; `timed`: whether the data has a time axis."""

    time_steps: int | None
    timed: bool
    seed: int
    first_sample: int
    generators: Sequence[np.random.Generator] | None = None

    def generator(self, sample: int) -> np.random.Generator:
        """Return what draws the spikes of one sample of the batch."""
        if self.generators is not None:
            return self.generators[sample]
        return sample_generator(self.seed, self.first_sample + sample)


def sample_generator(seed: int, sample: int) -> np.random.Generator:
    """Return what draws the `rate` spikes of the sample of that number, step after step."""
    return np.random.default_rng([seed, sample])


def encode(
    graph: Graph,
    x: Array,
    time_steps: int | None = None,
    encoding: str | None = None,
    seed: int = 0,
    first_sample: int = 0,
    generators: Sequence[np.random.Generator] | None = None,
) -> Array:
    """Return the encoded values [time, batch, *shape] of samples x.

    Samples go through the Input's mean and std, the encoding and, at the integer level with
    `direct`, `quantise_input`, whatever their dtype: a `uint8` image is raw data as its floats are.
    For the other encodings integers are counts of spikes already, taken as they are (a float graph
    that normalises its input normalises them too); `spikes` and `frames` take whole numbers alone,
    whatever their dtype. Codes need no encoding: give them to a session.

    Args:
        x: static samples [sample, *shape], or with time [sample, time, *shape].
        time_steps: T; needed for static samples, and at most the samples' own T otherwise.
        encoding: `direct`, `rate`, `latency`, `frames` or `spikes`; default: the graph's own.
        seed: of the `rate` encoding's Bernoulli draws.
        first_sample: the number of x[0] in its data set: the draws of a sample depend on its
            number and the seed, so that batches of any size see the same spikes.
        generators: one a sample (`sample_generator`), which the draws go on from; for data that
            comes step by step. Default: new ones.

    Raises:
        InputError: for a wrong shape, dtype or range, naming the limit and the value.
        UnknownNameError: for an unknown encoding.
    """
    graph = with_encoding(graph, encoding)
    node, name, x = graph.input, graph.input_name, np.asarray(x)
    kind = node.encoding
    _check_numbers(name, x)
    if kind in COUNTS:
        _check_whole(name, kind, x)
    timed = _check_shape(name, node, x)
    _check_time(name, x, time_steps, timed)
    if seed < 0:
        raise InputError(f"seed {seed}, allowed 0 and above", node=name)
    request = _Request(time_steps, timed, seed, first_sample, generators)
    if taken_as_counts(graph, x):
        values = _over_time(x, request)
    else:
        values = ENCODINGS[kind](normalised(node, x), request)
    return _coded(graph, node, values)


def _check_numbers(name: str, x: Array) -> None:
    if x.dtype.kind not in "fiub":
        raise InputError(f"dtype {x.dtype}, numbers are needed", node=name)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int(np.count_nonzero(~np.isfinite(x)))
        raise InputError(
            f"{bad} NaN or infinite values of {x.size}", node=name, remedy="clean the data"
        )


def _check_whole(name: str, encoding: str, x: Array) -> None:
    """Check counts of spikes, as they came, at any level: a share of a spike is none."""
    if x.dtype.kind == "f" and (x != np.rint(x)).any():
        raise InputError(
            f"{encoding} data must be whole numbers",
            node=name,
            remedy="use --encode rate or direct, and lower the network for it",
        )


def _check_shape(name: str, node: Input, x: Array) -> bool:
    """Check the shape of x; return whether it has a time axis."""
    rank = len(node.shape)
    if x.ndim in (rank + 1, rank + 2) and x.shape[x.ndim - rank :] == node.shape:
        return x.ndim == rank + 2
    wanted = ", ".join(["sample", *map(str, node.shape)])
    timed = ", ".join(["sample", "time", *map(str, node.shape)])
    raise InputError(
        f"data of shape {list(x.shape)}, the network takes [{wanted}] or [{timed}]",
        node=name,
        remedy="reshape the data, or pick another network",
    )


def _check_time(name: str, x: Array, time_steps: int | None, timed: bool) -> None:
    if time_steps is None and not timed:
        raise InputError("static samples need a number of time steps", node=name, remedy="give -T")
    steps = x.shape[1] if time_steps is None else time_steps
    if steps < 1:
        raise InputError(f"{steps} time steps, at least 1 is needed", node=name)
    if timed and steps > x.shape[1]:
        raise InputError(
            f"{steps} time steps asked, the data has {x.shape[1]}",
            node=name,
            remedy=f"give -T {x.shape[1]} or less",
        )


def normalised(node: Input, x: Array) -> Array:
    """Return raw data as an Input gives it on: (x - mean) / std, where it has them."""
    if node.mean is None and node.std is None:
        return x
    mean = 0.0 if node.mean is None else node.mean
    std = 1.0 if node.std is None else node.std
    return np.asarray((x - mean) / std, np.float32)


def _over_time(x: Array, request: _Request) -> Array:
    """Each step its own frame, or one frame repeated by view: a stride of 0 says no less.

    So a time axis that its owner repeated by view is copied: it is frames, as its copy is.
    """
    if request.timed:
        frames = np.swapaxes(x, 0, 1)[: request.time_steps]
        return frames.copy() if is_repeated(frames) else frames
    assert request.time_steps is not None
    return np.broadcast_to(x, (request.time_steps, *x.shape))


def _rate(x: Array, request: _Request) -> Array:
    """Bernoulli spikes of probability x, clipped to 0..1."""
    frames = _over_time(x, request)
    spikes = np.empty(frames.shape, np.int64)
    for sample in range(frames.shape[1]):
        draws = request.generator(sample).random((len(frames), *frames.shape[2:]), dtype=np.float32)
        spikes[:, sample] = draws < np.clip(frames[:, sample], 0, 1)
    return spikes


def _latency(x: Array, request: _Request) -> Array:
    """One spike at step floor((1 - x) (T - 1) + 1/2); none where x is 0 or below."""
    if request.timed or request.time_steps is None:
        raise InputError("latency encoding takes static samples", remedy="use --encode spikes")
    step = np.floor((1 - np.clip(x, 0, 1)) * (request.time_steps - 1) + 0.5)
    steps = np.arange(request.time_steps).reshape(-1, *(1,) * x.ndim)
    return np.asarray((steps == step) & (x > 0), np.int64)


ENCODINGS: dict[str, Callable[[Array, _Request], Array]] = {
    "direct": _over_time,
    "spikes": _over_time,
    "frames": _over_time,
    "rate": _rate,
    "latency": _latency,
}
COUNTS = ("spikes", "frames")
"""The encodings whose samples are counts of spikes already."""


def _coded(graph: Graph, node: Input, values: Array) -> Array:
    """Return values as the graph's level takes them."""
    if graph.level != "integer":
        return values
    if node.encoding == "direct":
        return _once(values, lambda frames: quantise_input(frames, node))
    if values.dtype.kind in "iub":
        return _within(graph.input_name, node, values)
    _check_whole(graph.input_name, node.encoding, values)  # normalised counts may be none any more
    return _within(graph.input_name, node, values)


def _once(values: Array, change: Callable[[Array], Array]) -> Array:
    """Apply `change` to a repeated frame once, and repeat by view again."""
    if is_repeated(values):
        return np.broadcast_to(change(values[0]), values.shape)
    return change(values)


def _within(name: str, node: Input, values: Array) -> Array:
    _check_range(name, node, values)

    def widened(frames: Array) -> Array:
        whole: Any = frames.astype(np.int64)
        return np.asarray(whole)

    return _once(values, widened)


def _check_range(name: str, node: Input, values: Array) -> None:
    assert node.low is not None and node.high is not None
    if values.size == 0:
        return
    seen = values[0] if is_repeated(values) else values
    most = int(seen.max())
    if most <= node.high and node.low <= 0 and seen.dtype.kind in "bu":
        return  # what has no sign is looked through once
    least = int(seen.min())
    if least < node.low or most > node.high:
        raise InputError(
            f"integer input {least}..{most} leaves the range {node.low}..{node.high} the network "
            "was lowered for",
            node=name,
            remedy="encode the samples first"
            if node.encoding == "direct"
            else "clip the data, or calibrate the lowering on it",
        )


def check_values(graph: Graph, x: Array, *, timed: bool) -> None:
    """Check encoded values [batch, *shape] or, `timed`, [time, batch, *shape].

    Raises:
        InputError: for a shape that is not the Input's, or at the integer level for values that
            are not whole or leave the range that the bounds were proven for.
    """
    node, name = graph.input, graph.input_name
    lead = ["time", "batch"] if timed else ["batch"]
    if x.ndim != len(lead) + len(node.shape) or x.shape[len(lead) :] != node.shape:
        wanted = ", ".join([*lead, *map(str, node.shape)])
        raise InputError(
            f"values of shape {list(x.shape)}, the network takes [{wanted}]", node=name
        )
    if 0 in x.shape[: len(lead)]:
        raise InputError(f"values of shape {list(x.shape)} are empty", node=name)
    if graph.level != "integer":
        return
    if x.dtype.kind not in "iub":
        raise InputError(
            f"values of dtype {x.dtype}, an integer network takes integers",
            node=name,
            remedy="encode the samples first",
        )
    _check_range(name, node, x)
