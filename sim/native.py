"""The native executor: integer graphs on the C++ engine, equal to the reference in every value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from subprocess import CalledProcessError
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Array, ExecutorError, Graph, InputError, MissingPackageError, check
from ..export.ir.environment import whole_from, word_from
from .encode import check_values
from .executor import usable_cpus
from .native_plan import build
from .repeated import is_repeated
from .trace import NeuronTrace, Record, Trace

ISA_VARIABLE = "SPIKEWRIGHT_ISA"
"""Environment variable that forces a kernel table: generic, avx2, avx512vnni or amx."""
CHOICES = ("auto", "gather", "dense")
MOST_STEPS = 1 << 20
"""More time steps than any layer takes together."""
MOST_THREADS = 1024
"""More than any machine has cores; each costs memory and a place in the system's table."""


def _engine() -> Any:
    try:
        from . import _native
    except CalledProcessError as error:  # an editable install that recompiles on import
        raise MissingPackageError(
            f"the native engine does not compile any more (exit {error.returncode})",
            node="native",
            remedy="install again: rm -rf build && pip install -e ., or use --executor reference",
        ) from None
    except ImportError:
        raise MissingPackageError(
            "the native engine is not built",
            node="native",
            remedy="install with a C++17 compiler, or use --executor reference",
        ) from None
    return _native


def chosen_isa() -> str:
    """Return the kernel table of choice: the best this CPU has, or the one SPIKEWRIGHT_ISA forces.

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


def _lent_isa(engine: Any, isa: str | None) -> str:
    """Return the table to use: `isa`, or the best that the system lends this process.

    Linux lends AMX's tiles on request, which is made here and not where tables are listed.

    Raises:
        InputError: if the system refuses the one that is forced.
    """
    forced = isa or os.environ.get(ISA_VARIABLE)
    available = engine.isa_available()
    wanted = isa or chosen_isa()
    if wanted not in available or engine.isa_lent(wanted):
        return wanted
    if forced:
        raise InputError(
            f"the system does not lend this process the registers of {wanted!r}",
            node=ISA_VARIABLE,
            remedy="choose another table, or none",
        )
    return str(next(name for name in reversed(available) if engine.isa_lent(name)))


@dataclass(frozen=True, slots=True)
class Forced:
    """What is forced instead of chosen, for tests: each executes paths that a machine may not take.

    Attributes:
        choice: `auto` measures how many inputs are events and takes the cheaper arithmetic;
            `gather` adds the weights of each event; `dense` multiplies all (where it can).
        int16: whether gathered sums may be held in int16 between two widenings.
        steps: at most so many time steps go through a layer together; 0 as the caches like.
    """

    choice: str = "auto"
    int16: bool = True
    steps: int = 0

    @classmethod
    def from_environment(cls) -> Forced:
        """Return what SPIKEWRIGHT_CHOICE, SPIKEWRIGHT_INT16 (on|off) and SPIKEWRIGHT_STEPS force.

        Raises:
            InputError: naming the variable, for a value it does not take.
        """
        choice = word_from("SPIKEWRIGHT_CHOICE", CHOICES, "auto")
        int16 = word_from("SPIKEWRIGHT_INT16", ("on", "off"), "on")
        steps = whole_from("SPIKEWRIGHT_STEPS", MOST_STEPS)
        return cls(choice, int16 == "on", steps)


class Native:
    """Runs integer graphs on the C++ engine.

    Args:
        threads: over samples; with fewer samples than threads, and in `step`, over the rows of
            each layer. At most MOST_THREADS.
        isa: a kernel table by name; default `chosen_isa`.
        forced: default what the environment says.
    """

    name = "native"

    def __init__(
        self, threads: int = 1, isa: str | None = None, forced: Forced | None = None
    ) -> None:
        if threads < 1:
            raise InputError(f"threads {threads}, must be 1 or more", node="native")
        if threads > MOST_THREADS:
            raise InputError(
                f"threads {threads}, at most {MOST_THREADS}",
                node="native",
                remedy=f"as many as this process may use: {usable_cpus()}",
            )
        self.threads, self.isa = threads, isa
        self.forced = forced or Forced.from_environment()

    def prepare(self, graph: Graph) -> NativeSession:
        """Return a session of an integer graph."""
        if graph.level != "integer":
            raise ExecutorError(
                f"the native engine runs integer graphs, this one is {graph.level}",
                remedy="lower it, or use --executor reference",
            )
        engine = _engine()
        isa = _lent_isa(engine, self.isa)
        return NativeSession(check(graph), engine, isa, self.forced, self.threads)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that the engine holds for a graph.

    Attributes:
        constants: packed weights and neuron parameters, shared by all samples and threads.
        state: one sample's membranes, currents and delays. workspace: one thread's buffers, states
            and scratch for the samples and steps that go through a layer together.
        weights: the bytes of the weights as the graph holds them.
        spikes: one step's neuron outputs at one bit each.
    """

    constants: int
    state: int
    workspace: int
    weights: int
    spikes: int

    @property
    def ratio(self) -> float:
        """All that is allocated over weights, one step's state and one step's spikes."""
        return (self.constants + self.workspace) / (self.weights + self.state + self.spikes)


class NativeSession:
    """One plan and, for streaming, the state of its samples (see `executor.Session`)."""

    def __init__(self, graph: Graph, engine: Any, isa: str, forced: Forced, threads: int) -> None:
        self.graph, self.threads, self.isa = graph, threads, isa
        self.step_latency_ns = 0.0
        self._engine = engine
        self._plan = engine.Plan(isa, forced.choice, forced.int16, forced.steps)
        self._values = build(self._plan, graph)
        self._runner = engine.Runner(self._plan)
        self._stream: Any = None
        self._batch = 0

    def memory(self, batch: int = 1, time_steps: int = 1) -> Memory:
        """Return what is allocated to run so many samples and steps on one thread, trace off.

        Raises:
            InputError: for less than one sample or step.
        """
        for what, count in (("batch", batch), ("time_steps", time_steps)):
            if count < 1:
                raise InputError(f"{what} {count}, allowed 1 and up", node="native")
        nodes = self.graph.nodes.values()
        weights = sum(n.weight.nbytes for n in nodes if isinstance(n, WEIGHTS))
        neurons = sum(prod(n.shape) for n in self.graph.neurons.values())
        plan = self._plan
        workspace = plan.workspace_bytes(batch, time_steps)
        return Memory(plan.constant_bytes(), plan.state_bytes(), workspace, weights, neurons // 8)

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        self._stream = None

    def step(self, x: Array) -> Array:
        """Advance by one step of encoded values [batch, *shape]; return the Output's y.

        Threads share the rows of each layer, which pays for large layers. `step_latency_ns` then
        holds the nanoseconds the engine took.

        Raises:
            InputError: for values of the wrong shape or range; where the system starts no more
                threads; in a child that was forked while another thread was in a step.
        """
        check_values(self.graph, x, timed=False)
        if self._stream is None or self._batch != len(x):
            self._batch = len(x)
            self._stream = self._engine.Stream(self._plan, self._batch, self.threads)
        y = np.empty((len(x), *self.graph.shapes[self.graph.output_name]), np.int32)
        try:
            self.step_latency_ns = self._stream.step(_readable(x), y)
        except self._engine.ForkedInStepError as error:
            raise InputError(str(error), node="native", remedy="call reset() first") from None
        except (RuntimeError, ValueError) as error:
            raise self._refused(error) from None
        return y

    def run(self, x: Array, record: Record = "states") -> Trace:
        """Run from reset over encoded values [time, batch, *shape].

        Raises:
            InputError: for values of the wrong shape or range.
        """
        check_values(self.graph, x, timed=True)
        self.reset()
        time, batch = x.shape[:2]
        repeated = time > 1 and is_repeated(x) and self.graph.input.encoding == "direct"
        y = np.empty((time, batch, *self.graph.shapes[self.graph.output_name]), np.int32)
        neurons = {} if record == "output" else self._recordings(time, batch, record)
        recorded = [
            (self._values[name].op, self._values[name].order, n.spikes, n.v, n.u)
            for name, n in neurons.items()
        ]
        values = _readable(x[0] if repeated else x)
        traced = record == "states"
        try:
            self._runner.run(values, repeated, time, batch, y, recorded, traced, self.threads)
        except (RuntimeError, ValueError) as error:
            raise self._refused(error) from None
        return Trace(self.graph, "native", x, y, neurons)

    def _refused(self, error: RuntimeError | ValueError) -> InputError:
        """The system starts no more threads, or so many steps at once reach too far."""
        if isinstance(error, ValueError):
            remedy = "unset SPIKEWRIGHT_STEPS, or use --executor reference"
            return InputError(f"too large for the native engine: {error}", remedy=remedy)
        return InputError(f"{self.threads} threads: {error}", node="native", remedy="fewer threads")

    def _recordings(self, time: int, batch: int, record: Record) -> dict[str, NeuronTrace]:
        found = {}
        for name, node in self.graph.neurons.items():
            shape = (time, batch, *node.shape)
            states = record == "states"
            v = np.empty(shape, np.int32) if states else None
            u = np.empty(shape, np.int32) if states and node.current_based else None
            found[name] = NeuronTrace(np.empty(shape, np.int32), v, u)
        return found


def _readable(x: Array) -> Array:
    """Return x as the engine reads it: contiguous, uint8, bool, int8, int32 or int64."""
    if x.dtype == np.bool_:
        x = x.view(np.uint8)
    if x.dtype not in (np.uint8, np.int8, np.int32, np.int64):
        x = x.astype(np.int64)
    return np.ascontiguousarray(x)
