"""The executor `lava`: an integer graph on Lava's fixed-point models, aligned step by step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...export.ir import Array, Graph, check
from ...sim.encode import check_values
from ...sim.trace import NeuronTrace, Record, Trace
from .build import build
from .program import Placed
from .schedule import Timing, schedule
from .sdk import LavaCpu, Sdk
from .support import STATE_SHIFT


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
        plan = schedule(self.program, timing, x, self._records(record))
        ran = self.sdk.run(self._prepared, plan)
        found = self.sdk.collect(ran)
        output = self._read(found, self.program.output, "v", timing)
        if self.graph.output.readout == "none":
            output = output >> STATE_SHIFT
        kept = self.graph.neurons if record != "output" else {}
        neurons = {name: self._trace(found, name, record, timing) for name in kept}
        return Trace(self.graph, self.sdk.name, x, output, neurons)

    def _records(self, record: Record) -> tuple[tuple[str, str], ...]:
        wanted = [(self.program.output.process, "v")]
        for name, node in self.graph.neurons.items() if record != "output" else ():
            wanted.append((name, "s_out"))
            if record == "states":
                wanted += [(name, v) for v in ("v", *(["u"] if node.current_based else []))]
        return tuple(wanted)

    def _trace(
        self, found: Mapping[tuple[str, str], Array], name: str, record: Record, timing: Timing
    ) -> NeuronTrace:
        place = self.program.neurons[name]
        states = record == "states"
        current = states and self.graph.neurons[name].current_based
        return NeuronTrace(
            self._read(found, place, "s_out", timing),
            self._read(found, place, "v", timing) if states else None,
            self._read(found, place, "u", timing) if current else None,
        )

    def _read(
        self, found: Mapping[tuple[str, str], Array], place: Placed, variable: str, timing: Timing
    ) -> Array:
        """Return a recording as [time, batch, *shape], int32, its lag taken off."""
        name = place.process
        steps = found[name, variable]
        values = steps.reshape(len(steps), -1)[:, place.order]
        times = timing.starts[None, :] + place.lag + np.arange(timing.time)[:, None]
        read: Array = values[times].reshape(*times.shape, *self.graph.shapes[name])
        return read.astype(np.int32)
