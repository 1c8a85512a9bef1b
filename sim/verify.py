"""Verify: several executors on the same input, compared in every spike, state and output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..export.ir import Array, Graph, InputError
from ..export.ir.printed import Printed
from .executor import Executor, executor
from .recording import fitting_batch
from .trace import Trace

DEFAULT = ("reference", "native", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first value in which an executor differs: at the earliest step, there in graph order.

    Time comes first because a Delay carries a difference back to layers that stand earlier.

    index: [sample, *neuron]. values: by executor.
    """

    layer: str
    quantity: str
    time_step: int
    index: tuple[int, ...]
    values: dict[str, int | float]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {
            "layer": self.layer,
            "quantity": self.quantity,
            "time_step": self.time_step,
            "index": list(self.index),
            "values": self.values,
        }

    def __str__(self) -> str:
        found = ", ".join(f"{name} {value}" for name, value in self.values.items())
        where = f"{self.layer} {self.quantity} at step {self.time_step}, {list(self.index)}"
        return f"{where}: {found}"


@dataclass(frozen=True, slots=True, repr=False)
class Verification(Printed):
    """What was compared and whether all was equal; `values_compared` counts pairs of values."""

    executors: tuple[str, ...]
    samples: int
    time_steps: int
    values_compared: int
    first_difference: Difference | None

    @property
    def equal(self) -> bool:
        """Whether every value agreed."""
        return self.first_difference is None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-able data."""
        difference = self.first_difference
        return {
            "equal": self.equal,
            "executors": list(self.executors),
            "samples": self.samples,
            "time_steps": self.time_steps,
            "values_compared": self.values_compared,
            "first_difference": None if difference is None else difference.to_json(),
        }

    def __str__(self) -> str:
        names = " = ".join(self.executors)
        if self.first_difference is None:
            return (
                f"equal: {names} in {self.values_compared:,} values of {self.samples} samples "
                f"and {self.time_steps} steps (spikes, membrane potentials, outputs)"
            )
        return f"not equal: {self.first_difference}"


def verify(
    graph: Graph,
    x: Array,
    executors: Sequence[str | Executor] = DEFAULT,
    *,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Compare every spike, v, u and output of each executor with the first one's.

    Args:
        graph: an integer graph (a float graph may be compared too, with no promise).
        executors: names or executors; a string names them comma-separated.
        x: encoded values [time, sample, *shape].
        progress: called with the number of samples done.

    Raises:
        InputError: for fewer than two executors, one named twice, no samples or a batch below 1.
        ExecutorError: for one that cannot run the graph.
        MissingPackageError: for one that is not installed, with the line that installs it.
    """
    if isinstance(executors, str):
        executors = [name.strip() for name in executors.split(",") if name.strip()]
    twice = [e for i, e in enumerate(executors) if e in executors[:i]]
    if twice:
        name = twice[0] if isinstance(twice[0], str) else twice[0].name
        raise InputError(
            f"{name} is named twice; a comparison with itself proves nothing",
            node="executors",
            remedy="name each once",
        )
    chosen = [executor(e) if isinstance(e, str) else e for e in executors]
    if len(chosen) < 2:
        raise InputError(f"{len(chosen)} executor, a comparison needs 2 or more")
    if batch < 1 or x.shape[1] < 1:
        raise InputError(f"{x.shape[1]} samples in batches of {batch}, both must be 1 or more")
    batch = fitting_batch(graph, x.shape[0], "states", batch, 0)
    names = tuple(e.name for e in chosen)
    sessions = [e.prepare(graph) for e in chosen]
    compared, samples = 0, x.shape[1]
    for start in range(0, samples, batch):
        part = x[:, start : start + batch]
        first = sessions[0].run(part, "states")
        for name, session in zip(names[1:], sessions[1:], strict=True):
            found = compare(first, session.run(part, "states"), (names[0], name), start)
            if isinstance(found, Difference):
                return Verification(names, samples, x.shape[0], compared, found)
            compared += found
        if progress is not None:
            progress(min(start + batch, samples))
    return Verification(names, samples, x.shape[0], compared, None)


def compare(
    one: Trace, two: Trace, names: tuple[str, str], first_sample: int = 0
) -> Difference | int:
    """Return the first difference of two traces of one graph, or how many values were compared."""
    compared = 0
    found: list[tuple[int, str, str, Array, Array]] = []
    for layer, quantity, a, b in _quantities(one, two):
        if b is None or a.shape != b.shape:
            shape = None if b is None else b.shape
            raise InputError(
                f"{names[1]} recorded {quantity} as {shape}, not {a.shape}", node=layer
            )
        if not np.array_equal(a, b):
            step = int((a != b).reshape(len(a), -1).any(axis=1).argmax())
            found.append((step, layer, quantity, a, b))
        compared += a.size
    if not found:
        return compared
    step, layer, quantity, a, b = min(found, key=lambda difference: difference[0])
    sample, *neuron = (int(i) for i in np.argwhere(a[step] != b[step])[0])
    place = (step, sample, *neuron)
    values = {name: array[place].item() for name, array in zip(names, (a, b), strict=True)}
    return Difference(layer, quantity, step, (first_sample + sample, *neuron), values)


def _quantities(one: Trace, two: Trace) -> Iterator[tuple[str, str, Array, Array | None]]:
    """Yield what was recorded of each neuron in graph order, within it in order of cause."""
    for name, neuron in one.neurons.items():
        other = two.neurons.get(name)
        for quantity in ("u", "spikes", "v"):
            a = getattr(neuron, quantity)
            if a is not None:
                yield name, quantity, a, None if other is None else getattr(other, quantity)
    yield one.graph.output_name, "output", one.output, two.output
