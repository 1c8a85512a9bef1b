"""Run: samples through an executor in batches, keeping counts instead of states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from ..export.ir import Array, Graph, InputError
from .counters import Counters, count
from .doubts import doubt_labels, doubt_readout, doubt_samples, doubt_silence
from .encode import encode
from .encoding import entered
from .executor import Executor, executor, usual
from .fan_out import FanOuts
from .recording import fitting_batch
from .trace import Record, Trace, join


@dataclass(frozen=True, slots=True)
class Run:
    """What a run over samples gave.

    Attributes:
        predictions: int64 [sample]. outputs: y after the last step, [sample, *shape].
        counters: spikes, SOPs and so on. trace: the recording, where one was asked for.
        seconds: spent in the executor alone (not in encoding or counting).
    """

    executor: str
    predictions: Array
    outputs: Array
    counters: Counters
    trace: Trace | None
    seconds: float

    @property
    def samples_per_s(self) -> float:
        """Samples per second of executor time."""
        return len(self.predictions) / self.seconds if self.seconds else float("inf")

    def accuracy(self, labels: Array | None) -> float | None:
        """Return the share of right predictions, None without labels.

        Warns:
            DoubtWarning: for labels that the network has no output for.
        """
        if labels is None:
            return None
        doubt_labels(self.outputs, labels)
        return float(np.mean(self.predictions == labels[: len(self.predictions)]))


def run(
    graph: Graph,
    x: Array,
    time_steps: int | None = None,
    *,
    executor_name: str | Executor | None = None,
    encoding: str | None = None,
    seed: int = 0,
    batch: int = 64,
    keep: Record | None = None,
    progress: Callable[[int], None] | None = None,
    watch: Callable[[Trace], None] | None = None,
) -> Run:
    """Return the run of raw samples x (see `encode`) through one executor.

    Args:
        executor_name: None takes `usual`, the fastest that can run the graph here.
        batch: samples in memory at once, fewer where they would fill it; it changes no value.
        keep: what the returned trace holds; None returns no trace, and no state is recorded.
        watch: called with the trace of each batch, states and all, before it is dropped.

    Warns:
        DoubtWarning: for an input or a readout that saturates, and layers that never spike.

    Raises:
        InputError: for no samples, a batch below 1, or see `encode`.
        ExecutorError, MissingPackageError: see `Executor.prepare`.
    """
    if batch < 1 or len(x) < 1:
        raise InputError(f"{len(x)} samples in batches of {batch}, both must be 1 or more")
    graph = entered(graph, x, encoding)
    named = executor_name or usual(graph)
    chosen = executor(named) if isinstance(named, str) else named
    seen: Record = "states" if keep == "states" or watch else "spikes"
    steps, held = time_steps or x.shape[1], 0 if keep is None else len(x)
    batch = fitting_batch(graph, steps, seen, batch, held)
    session, fan_outs = chosen.prepare(graph), FanOuts(graph)
    counted: Counters | None = None
    parts: list[Any] = []
    traces: list[Trace] = []
    seconds = 0.0
    for start in range(0, len(x), batch):
        values = encode(graph, x[start : start + batch], time_steps, None, seed, start)
        if not start:
            doubt_samples(graph, x)
        began = perf_counter()
        trace = session.run(values, seen)
        seconds += perf_counter() - began
        counts = count(trace, fan_outs)
        counted = counts if counted is None else counted + counts
        if watch is not None:
            watch(trace)
        parts.append((trace.predictions, trace.output[-1]))
        if keep is not None:
            traces.append(replace(trace, neurons={}) if keep == "output" else trace)
        if progress is not None:
            progress(start + len(values[0]))
    predictions, outputs = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    assert counted is not None
    doubt_silence(counted)
    doubt_readout(graph, outputs)
    whole = join(traces) if traces else None
    return Run(chosen.name, predictions, outputs, counted, whole, seconds)
