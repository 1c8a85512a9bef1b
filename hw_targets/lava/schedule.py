"""Schedule: when each sample enters, when each layer is reset, when a bias may act.

Without a graph Delay samples follow each other without a pause: a layer of lag L is reset just
before step L + 1 of each sample arrives there, and what it did before that is forgotten. With a
Delay a layer's past is read, so that it has to be silent: between samples everything is set to 0,
and a bias acts only from the layer's first step on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...export.ir import Array, Graph
from ...sim.trace import Record
from .program import Placed, Program
from .sdk import Schedule, Segment


@dataclass(frozen=True, slots=True)
class Timing:
    """`batch` samples of `time` steps through a program of `depth` lags."""

    time: int
    batch: int
    depth: int
    pipelined: bool

    @property
    def period(self) -> int:
        """Steps from the first step of a sample to that of the next."""
        return self.time if self.pipelined else self.time + self.depth

    @property
    def starts(self) -> Array:
        """The step (from 0) at which each sample enters; variables are set before step 1 only."""
        return int(not self.pipelined) + self.period * np.arange(self.batch)

    @property
    def steps(self) -> int:
        """Steps until the last sample has left."""
        return int(self.starts[-1]) + self.time + self.depth


def records(graph: Graph, program: Program, record: Record) -> tuple[tuple[str, str], ...]:
    """Return (process, variable) of all that a trace of this record holds.

    The v of a neuron that compares by `>=` is always there: it tells whether `>` stood for it.
    """
    wanted = [(program.output.process, "v")]
    for name, node in graph.neurons.items():
        if record != "output":
            wanted.append((name, "s_out"))
        if record == "states" or node.compare == ">=":
            wanted.append((name, "v"))
        if record == "states" and node.current_based:
            wanted.append((name, "u"))
    return tuple(wanted)


def schedule(
    program: Program, timing: Timing, x: Array, kept: tuple[tuple[str, str], ...]
) -> Schedule:
    """Return the schedule that feeds x [time, batch, *shape] and keeps what is asked for."""
    data = {name: _fed(program, place, timing, x) for name, place in program.sources.items()}
    for name, (lag, value) in program.constants.items():
        data[name] = _constant(value, lag, timing)
    lifs = [name for name, process in program.processes.items() if process.kind == "lif"]
    if timing.pipelined:
        # Lava counts steps from 1 and resets where step % interval == offset % interval.
        lags = {place.process: place.lag for place in (*program.neurons.values(), program.output)}
        offsets = {name: lags.get(name, 0) + 1 for name in lifs}
        return Schedule((Segment(timing.steps),), data, kept, timing.time, offsets)
    biases = {
        f"{name}/bias": program.processes[name].arrays["bias_mant"] for name in biased(program)
    }
    return Schedule((Segment(1), *_segments(program, timing)), {**data, **biases}, kept)


def _fed(program: Program, place: Placed, timing: Timing, x: Array) -> Array:
    """Return the data of a source: int32 [*shape, step], each sample `lag` steps late."""
    shape = tuple(x.shape[2:])
    shape = shape[::-1] if len(shape) == 3 else (int(np.prod(shape)),)
    values = np.zeros((timing.steps, place.order.size), np.int32)
    times = timing.starts[None, :] + place.lag + np.arange(timing.time)[:, None]
    rows = np.empty((*x.shape[:2], place.order.size), np.int32)
    rows[..., place.order] = x.reshape(*x.shape[:2], -1)
    values[times] = rows
    return np.ascontiguousarray(values.T).reshape(*shape, timing.steps)


def _constant(value: Array, lag: int, timing: Timing) -> Array:
    """Return the data of a constant source; with pauses it is silent until its layer begins."""
    on = np.ones(timing.steps, np.int32)
    if not timing.pipelined:
        on[:] = 0
        on[timing.starts[:, None] + lag + np.arange(timing.time)] = 1
    return (value[..., None] * on).astype(np.int32)


def biased(program: Program) -> dict[str, int]:
    """Return the lag of each process that has a bias."""
    places = (*program.neurons.values(), program.output)
    return {p.process: p.lag for p in places if "bias_mant" in program.processes[p.process].arrays}


def _segments(program: Program, timing: Timing) -> list[Segment]:
    """The segments of all samples: all to 0 but before the first, each bias as its layer begins."""
    late = biased(program)
    cuts = [*sorted({0, *late.values()}), timing.period]
    found = []
    for sample in range(timing.batch):
        for start, end in pairwise(cuts):
            begins = [(name, "bias_mant", f"{name}/bias") for name in late if late[name] == start]
            cleared = _cleared(program) if sample and not start else []
            found.append(Segment(end - start, (*cleared, *begins)))
    return found


def _cleared(program: Program) -> list[tuple[str, str, str | None]]:
    found: list[tuple[str, str, str | None]] = []
    buffers: Mapping[str, tuple[str, ...]] = {
        "lif": ("u", "v"),
        "dense": ("a_buff",),
        "sparse": ("a_buff",),
        "conv": ("a_buf",),
    }
    for name, process in program.processes.items():
        found += [(name, variable, None) for variable in buffers.get(process.kind, ())]
    found += [(name, "bias_mant", None) for name in biased(program)]
    return found
