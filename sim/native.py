"""The native executor: integer graphs on the C++ engine, equal to the reference in every value."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..export.ir import Array, ExecutorError, Graph, InputError, MissingPackageError, check
from .encode import check_values
from .native_plan import build
from .trace import NeuronTrace, Record, Trace

ISA_VARIABLE = "SPIKEWRIGHT_ISA"
"""Environment variable that forces a kernel table: generic, avx2 or avx512vnni."""
CHOICES = ("auto", "gather", "dense")


def _engine() -> Any:
    try:
        from . import _native
    except ImportError:
        raise MissingPackageError(
            "the native engine is not built",
            node="native",
            remedy="install with a C++17 compiler, or use --executor reference",
        ) from None
    return _native


def chosen_isa() -> str:
    """Return the kernel table in use: the best this CPU has, or the one forced by SPIKEWRIGHT_ISA.

    Raises:
        InputError: if the forced one does not exist or this CPU lacks it.
    """
    available = _engine().isa_available()
    forced = os.environ.get(ISA_VARIABLE)
    if not forced:
        return str(available[-1])
    if forced not in available:
        raise InputError(
            f"{forced!r} is not available on this CPU",
            node=ISA_VARIABLE,
            remedy=f"choose among {', '.join(available)}, or unset it",
        )
    return forced


def isa_info() -> dict[str, Any]:
    """Return what `doctor` shows: compiled, available, chosen, forced."""
    try:
        available = _engine().isa_available()
    except MissingPackageError:
        return {"compiled": False, "available": [], "chosen": None, "forced": None}
    forced = os.environ.get(ISA_VARIABLE) or None
    return {"compiled": True, "available": available, "chosen": chosen_isa(), "forced": forced}


class Native:
    """Runs integer graphs on the C++ engine.

    Args:
        threads: over samples. isa: a kernel table by name; default `chosen_isa`.
        choice: `auto` gathers events where inputs are sparse and computes densely elsewhere;
            `gather` and `dense` force one, for tests.
    """

    name = "native"

    def __init__(self, threads: int = 1, isa: str | None = None, choice: str = "auto") -> None:
        if threads < 1 or choice not in CHOICES:
            raise InputError(f"threads {threads}, choice {choice!r}", node="native")
        self.threads, self.isa, self.choice = threads, isa, choice

    def prepare(self, graph: Graph) -> NativeSession:
        """Return a session of an integer graph."""
        if graph.level != "integer":
            raise ExecutorError(
                f"the native engine runs integer graphs, this one is {graph.level}",
                remedy="lower it, or use --executor reference",
            )
        engine = _engine()
        isa = self.isa or chosen_isa()
        return NativeSession(check(graph), engine, isa, self.choice, self.threads)


class NativeSession:
    """One plan and, for streaming, the state of its samples (see `executor.Session`)."""

    def __init__(self, graph: Graph, engine: Any, isa: str, choice: str, threads: int) -> None:
        self.graph, self.threads, self.isa = graph, threads, isa
        self._engine = engine
        self._plan, self._ops = build(engine, graph, isa, choice)
        self._stream: Any = None
        self._batch = 0

    @property
    def workspace_bytes(self) -> int:
        """Bytes of one sample in flight: values, states and scratch (weights apart)."""
        return self._plan.workspace_bytes()

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        self._stream = None

    def step(self, x: Array) -> Array:
        """Advance by one step of encoded values [batch, *shape]; return the Output's y.

        Raises:
            InputError: for values of the wrong shape or range.
        """
        check_values(self.graph, x, timed=False)
        if self._stream is None or self._batch != len(x):
            self._batch = len(x)
            self._stream = self._engine.Stream(self._plan, self._batch)
        y = np.empty((len(x), *self.graph.shapes[self.graph.output_name]), np.int32)
        self._stream.step(self._values(x), y)
        return y

    def run(self, x: Array, record: Record = "states") -> Trace:
        """Run from reset over encoded values [time, batch, *shape].

        Raises:
            InputError: for values of the wrong shape or range.
        """
        check_values(self.graph, x, timed=True)
        self.reset()
        time, batch = x.shape[:2]
        repeated = time > 1 and x.strides[0] == 0
        y = np.empty((time, batch, *self.graph.shapes[self.graph.output_name]), np.int32)
        neurons = {} if record == "output" else self._recordings(time, batch, record)
        recorded = [(self._ops[name], n.spikes, n.v, n.u) for name, n in neurons.items()]
        values = self._values(x[0] if repeated else x)
        self._plan.run(values, repeated, time, batch, y, recorded, self.threads)
        return Trace(self.graph, "native", x, y, neurons)

    def _recordings(self, time: int, batch: int, record: Record) -> dict[str, NeuronTrace]:
        found = {}
        for name, node in self.graph.neurons.items():
            shape = (time, batch, *node.shape)
            states = record == "states"
            v = np.empty(shape, np.int32) if states else None
            u = np.empty(shape, np.int32) if states and node.current_based else None
            found[name] = NeuronTrace(np.empty(shape, np.int32), v, u)
        return found

    def _values(self, x: Array) -> Array:
        return np.ascontiguousarray(x, dtype=np.int32)
