"""The border to the software of a chip: four verbs. Lava on the CPU is one side; more may follow.

An SDK takes a Program (processes, connections) and a Schedule (what enters when, what is reset,
what is recorded) and gives back the recordings. Nothing else of it is known to the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ...export.ir import Array
from .environment import Environment, find
from .program import Program
from .runner import MEMORY_LIMIT_MB, TIME_LIMIT_S, run_job


@dataclass(frozen=True, slots=True)
class Segment:
    """Set variables (process, variable, name of an array or None for 0), then run `steps`."""

    steps: int
    set: tuple[tuple[str, str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run of a program.

    Attributes:
        data: by source process, int32 [*shape, step]; and the arrays that segments name.
        records: (process, variable) to record at every step.
        reset_interval: steps from reset to reset of each LIF, at its `offsets`; None: no resets.
    """

    segments: tuple[Segment, ...]
    data: Mapping[str, Array]
    records: tuple[tuple[str, str], ...]
    reset_interval: int | None = None
    offsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an SDK can do: the step each synapse takes, and what it runs on."""

    runs_on: str
    synapse_steps: int
    graded_spikes: bool
    resets_between_samples: bool


class Sdk(Protocol):
    """The software of a chip."""

    name: str

    def capabilities(self) -> Capabilities:
        """Return what can be asked of it."""
        ...

    def prepare(self, program: Program) -> Any:
        """Return the program made ready to run, in a form of the SDK's own."""
        ...

    def run(self, prepared: Any, schedule: Schedule) -> Any:
        """Run it to the end; return what `collect` reads."""
        ...

    def collect(self, ran: Any) -> dict[tuple[str, str], Array]:
        """Return the recordings, int32 [step, *shape] by (process, variable)."""
        ...


class LavaCpu:
    """Lava's fixed-point CPU models in the worker environment.

    Attributes:
        run_config: the class of Lava's `magma.core.run_configs` that chooses the models.
        monitors: record by Lava's own Monitors, as on a board, not by models that keep their state
            (about eight times as fast, but only where processes run on the CPU).
    """

    name = "lava"
    run_config = "Loihi2SimCfg"
    monitors = False

    def __init__(
        self, time_limit_s: float = TIME_LIMIT_S, memory_limit_mb: int = MEMORY_LIMIT_MB
    ) -> None:
        self.time_limit_s, self.memory_limit_mb = time_limit_s, memory_limit_mb

    def capabilities(self) -> Capabilities:
        """Return what Lava 0.10.0 does on a CPU."""
        return Capabilities("CPU, lava-nc 0.10.0 fixed_pt", 1, True, True)

    def prepare(self, program: Program) -> tuple[Environment, Program]:
        """Find the worker environment."""
        return find(), program

    def run(self, prepared: tuple[Environment, Program], schedule: Schedule) -> Mapping[str, Array]:
        """Run a job in the worker."""
        environment, program = prepared
        job, arrays = _job(program, schedule)
        job |= {"run_config": self.run_config, "monitors": self.monitors}
        limits: Any = {"time_limit_s": self.time_limit_s, "memory_limit_mb": self.memory_limit_mb}
        return run_job(environment, job, arrays, **limits).arrays

    def collect(self, ran: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
        """Return the recordings."""
        return {(key.rpartition("/")[0], key.rpartition("/")[2]): v for key, v in ran.items()}


def _job(program: Program, schedule: Schedule) -> tuple[dict[str, Any], dict[str, Array]]:
    processes: list[dict[str, Any]] = []
    arrays = {f"set/{key}": value for key, value in schedule.data.items()}
    late = {p for s in schedule.segments for p, variable, _ in s.set if variable == "bias_mant"}
    for name, process in program.processes.items():
        kind, parameters = str(process.kind), dict(process.parameters)
        held = dict(process.arrays)
        if kind == "source":
            held["data"] = arrays.pop(f"set/{name}")
        if name in late:  # a bias that a segment sets is none before it
            held["bias_mant"] = np.zeros_like(held["bias_mant"])
        if kind == "lif" and schedule.reset_interval is not None:
            kind = "lif_reset"
            parameters["reset_interval"] = schedule.reset_interval
            parameters["reset_offset"] = schedule.offsets[name]
        arrays |= {f"{name}/{key}": value for key, value in held.items()}
        processes.append(
            {"name": name, "kind": kind, "parameters": parameters, "arrays": list(held)}
        )
    segments = [
        {"steps": s.steps, "set": [(p, v, key and f"set/{key}") for p, v, key in s.set]}
        for s in schedule.segments
    ]
    job = {
        "kind": "network",
        "processes": processes,
        "connections": program.connections,
        "records": schedule.records,
        "segments": segments,
    }
    return job, arrays
