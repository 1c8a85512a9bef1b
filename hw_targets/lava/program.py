"""Program: a network of Lava processes as plain data, and the job that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ...export.ir import Array

Kind: TypeAlias = Literal["source", "dense", "sparse", "conv", "lif"]


@dataclass(frozen=True, slots=True)
class Process:
    """One Lava process: its kind, JSON-able parameters and arrays, by Lava's argument names."""

    kind: Kind
    parameters: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a node's state is: its process, its lag, and the place of each value there.

    order: int64 [size]; value k (C order) of the node is at `order[k]` of the flattened process.
    """

    process: str
    lag: int
    order: Array


@dataclass(frozen=True, slots=True)
class Program:
    """What a graph became.

    Attributes:
        processes: by name. connections: (from, to), of the output to the input port.
        neurons: where each neuron node is. output: where the readout is.
        sources: each process fed by the input. constants: lag and value of each constant source
            (a bias that passes through u).
        relays: neurons of the delay lines that a branch needed, by the node delayed.
        pipelined: whether samples follow each other without a pause (no graph Delay).
    """

    processes: Mapping[str, Process]
    connections: tuple[tuple[str, str], ...]
    neurons: Mapping[str, Placed]
    output: Placed
    sources: Mapping[str, Placed]
    constants: Mapping[str, tuple[int, Array]]
    relays: Mapping[str, int]
    pipelined: bool

    @property
    def depth(self) -> int:
        """The largest lag, of what is fed too: how many steps drain the network after the input."""
        placed = (*self.neurons.values(), *self.sources.values(), self.output)
        return max(*(p.lag for p in placed), *(lag for lag, _ in self.constants.values()), 0)

    @property
    def relay_neurons(self) -> int:
        """How many neurons the delay lines add."""
        return sum(self.relays.values())

    def to_json(self) -> dict[str, Any]:
        """Return what a graph became, as JSON-able data."""
        kinds = Counter(process.kind for process in self.processes.values())
        return {
            "processes": dict(sorted(kinds.items())),
            "depth": self.depth,
            "lags": {name: placed.lag for name, placed in self.neurons.items()},
            "delay_lines": dict(self.relays),
            "relay_neurons": self.relay_neurons,
            "pipelined": self.pipelined,
        }

    def __str__(self) -> str:
        kinds = Counter(process.kind for process in self.processes.values())
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        lines = [f"on Lava: {listed}; the readout lags by {self.output.lag} steps"]
        if self.relays:
            named = ", ".join(f"{name} {count}" for name, count in self.relays.items())
            lines.append(f"delay lines: {self.relay_neurons} relay neurons ({named})")
        return "\n".join(lines)
