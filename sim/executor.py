"""The border that every executor implements, and the table of their names."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from ..export.ir import Array, Graph, InputError, UnknownNameError
from .trace import Record, Trace


class Session(Protocol):
    """A graph made ready to run, with the state between its steps."""

    def run(self, x: Array, record: Record = "states") -> Trace:
        """Run from reset over `x`, encoded values [time, batch, *shape] (see `encode`).

        The session is reset afterwards too: the next step is the first.
        """
        ...

    def step(self, x: Array) -> Array:
        """Advance by one step of encoded values [batch, *shape]; return the Output's y.

        Another number of samples than in the step before starts anew, as after `reset`.
        """
        ...

    def reset(self) -> None:
        """Forget all state; the next step is the first."""
        ...


class Executor(Protocol):
    """One way to run a graph; `name` is what users type."""

    name: str

    def prepare(self, graph: Graph) -> Session:
        """Return a session of `graph`.

        Raises:
            ExecutorError: naming the node that this executor cannot run, and the remedy.
            MissingPackageError: where what it needs is not installed.
        """
        ...


_TABLE = {
    "reference": ("reference", "Reference"),
    "native": ("native", "Native"),
    "onnxruntime": ("onnxrt", "OnnxRuntime"),
}
_THREADED = ("native", "onnxruntime")
NAMES = tuple(_TABLE)
_OFFERED: dict[str, Callable[[], Executor]] = {}


def offer(name: str, make: Callable[[], Executor]) -> None:
    """Add an executor that lives outside this room; `make` is called when it is asked for."""
    _OFFERED[name] = make


def able(graph: Graph) -> tuple[str, ...]:
    """Return the executors that can run `graph` on this installation, in the table's order.

    The native engine runs integer graphs, and only where it was compiled.
    """
    from .native import isa_info

    native = graph.level == "integer" and bool(isa_info()["compiled"])
    return tuple(name for name in NAMES if name != "native" or native)


def usual(graph: Graph) -> str:
    """Return the executor of choice where none is asked for: native, else the reference."""
    return "native" if "native" in able(graph) else "reference"


def usable_cpus() -> int:
    """Return how many CPUs this process may use: a container or scheduler may lend it fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_threads(name: str, threads: int) -> None:
    if threads == 1:
        return
    if name not in _THREADED:
        remedy = f"it is for {' and '.join(_THREADED)}"
        raise InputError(f"--threads cannot act on the executor {name}", remedy=remedy)
    cpus = usable_cpus()
    if threads > cpus:
        reason = f"{threads}, allowed 1 to {cpus}: this process may use {cpus} CPUs"
        raise InputError(reason, node="--threads", remedy=f"give --threads {cpus} or fewer")


def executor(name: str, threads: int = 1) -> Executor:
    """Return the executor of this name; only now is what it needs imported.

    Args:
        threads: of those that have threads of their own, at most one a CPU.

    Raises:
        UnknownNameError: naming the near ones. InputError: for threads that cannot act.
    """
    if name in _OFFERED or name in _TABLE:
        _check_threads(name, threads)
    if name in _OFFERED:
        return _OFFERED[name]()
    if name not in _TABLE:
        raise UnknownNameError.of("executor", name, [*_TABLE, *_OFFERED])
    module, attribute = _TABLE[name]
    kind = getattr(import_module(f".{module}", __package__), attribute)
    found: Executor = kind(threads=threads) if name in _THREADED else kind()
    return found
