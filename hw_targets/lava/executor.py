"""The executor `lava`: an integer graph on Lava's fixed-point models, aligned step by step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...export.formats.lava_rules import STATE_SHIFT
from ...export.ir import Array, ExecutorError, Graph, check
from ...sim.encode import check_values
from ...sim.trace import NeuronTrace, Record, Trace
from .build import build
from .program import Placed, Program
from .schedule import Timing, records, schedule
from .sdk import LavaCpu, Sdk


class Lava:
    """Runs integer graphs on Lava, or on another SDK of the same four verbs."""

    name = "lava"

    def __init__(self, sdk: Sdk | None = None) -> None:
        self.sdk: Sdk = sdk or LavaCpu()

    def prepare(self, graph: Graph) -> LavaSession:
        """Return a session of `graph`.

        Raises:
            ExecutorError: naming the node that Lava cannot express, and the remedy.
            MissingPackageError: if the worker environment is not installed.
        """
        return LavaSession(check(graph), self.sdk)


class LavaSession:
    """A program in the SDK's hands (see `sim.executor.Session`).

    Lava keeps no state from one run of the worker to the next: `step` runs all steps since the
    last reset again.
    """

    def __init__(self, graph: Graph, sdk: Sdk) -> None:
        self.graph, self.sdk = graph, sdk
        self.program = build(graph)
        self._prepared = sdk.prepare(self.program)
        self.reset()

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        self._past: list[Array] = []

    def step(self, x: Array) -> Array:
        """Advance by one step of encoded values [batch, *shape]; return the Output's y."""
        check_values(self.graph, x, timed=False)
        if self._past and len(self._past[0]) != len(x):
            self.reset()
        past = [*self._past, np.array(x)]
        y: Array = self.run(np.stack(past), "output").output[-1]
        self._past = past
        return y

    def run(self, x: Array, record: Record = "states") -> Trace:
        """Run from reset over encoded values [time, batch, *shape].

        Raises:
            InputError: for values of the wrong shape or range.
            ExecutorError: if the worker fails or exceeds its limits.
        """
        check_values(self.graph, x, timed=True)
        self.reset()
        timing = Timing(x.shape[0], x.shape[1], self.program.depth, self.program.pipelined)
        plan = schedule(self.program, timing, x, records(self.graph, self.program, record))
        found = self.sdk.collect(self.sdk.run(self._prepared, plan))
        return traced(self.graph, self.program, found, x, record, timing, name=self.sdk.name)


def traced(
    graph: Graph,
    program: Program,
    found: Mapping[tuple[str, str], Array],
    x: Array,
    record: Record,
    timing: Timing,
    *,
    prefix: str = "",
    name: str = "lava",
) -> Trace:
    """Return the trace that an SDK's recordings hold, each layer's lag taken off.

    prefix: of the processes' names, where the program was packed with others.

    Raises:
        ExecutorError: naming a neuron whose `>=` could not be written as `>`, since v saturated.
    """

    def read(place: Placed, node: str, variable: str) -> Array:
        steps = found[prefix + place.process, variable]
        values = steps.reshape(len(steps), -1)[:, place.order]
        times = timing.starts[None, :] + place.lag + np.arange(timing.time)[:, None]
        return values[times].reshape(*times.shape, *graph.shapes[node]).astype(np.int32)

    for node, place in program.neurons.items():
        if graph.neurons[node].compare == ">=":
            _refuse_saturated(node, read(place, node, "v"))
    output = read(program.output, graph.output_name, "v")
    if graph.output.readout == "none":
        output = output >> STATE_SHIFT
    neurons = {}
    for node, place in program.neurons.items() if record != "output" else ():
        kept = {v: read(place, node, v) for n, v in records(graph, program, record) if n == node}
        v = kept.get("v") if record == "states" else None
        neurons[node] = NeuronTrace(kept["s_out"], v, kept.get("u"))
    return Trace(graph, name, x, output, neurons)


def _refuse_saturated(node: str, v: Array) -> None:
    """Refuse a run in which v left the multiples of 64, where `v >= k` is `v > k - 64`."""
    steps = (v % (1 << STATE_SHIFT)).any(axis=tuple(range(1, v.ndim)))
    if steps.any():
        raise ExecutorError(
            f"v saturated at step {int(steps.argmax())}, and no `>` of Lava stands for `>=` there",
            node=node,
            remedy="use smaller weights, or a network that compares by > (--target loihi2)",
        )
