"""Fit: does an integer graph fit a chip, and if not, which layer, which limit, what to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..export.ir import Graph, InputError, LoweringError
from ..export.ir.printed import Printed
from ..export.ir.profile import GROUPED_THRESHOLDS
from .event_calibration import KEY
from .formats import broken_formats
from .lava.silicon import CHIPS, SiliconLimit, number_limits
from .mapping import Layer, Mapped, at_most, map_graph
from .target import Target
from .violation import Violation as Violation


@dataclass(frozen=True, slots=True, repr=False)
class FitReport(Printed):
    """Whether a graph fits a target.

    Attributes:
        cores: used in layer order. per_core_max: the fullest core's share of each limit.
        layers: the mapping. rewrites: what was done so that it fits; no integer changes.
        budgets: what is over a budget of real time, which is no limit (SpiNNaker).
        unknown: limits of which it is not known whether they hold, and what would tell.
        silicon: where the chip's numbers may overflow in the worst case (Loihi).
        grouped_thresholds: by neuron, what lowering moved so that a core holds its thresholds.
        time_steps: T of the graph, None where it has none.
    """

    target: str
    cores: int
    per_core_max: dict[str, int]
    violations: tuple[Violation, ...]
    layers: tuple[Layer, ...]
    rewrites: tuple[str, ...] = ()
    silicon: tuple[SiliconLimit, ...] = ()
    budgets: tuple[Violation, ...] = ()
    grouped_thresholds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    time_steps: int | None = None
    unknown: tuple[str, ...] = ()

    @property
    def fits(self) -> bool | None:
        """Whether no limit is broken; None where that is not known."""
        return False if self.violations else None if self.unknown else True

    @property
    def host(self) -> tuple[str, ...]:
        """The layers that the host computes."""
        return tuple(layer.name for layer in self.layers if layer.on_host)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able data."""
        return {
            "target": self.target,
            "fits": self.fits,
            "time_steps": self.time_steps,
            "cores": self.cores,
            "per_core_max": self.per_core_max,
            "host_layers": list(self.host),
            "rewrites": list(self.rewrites),
            "silicon": [limit.to_json() for limit in self.silicon],
            "grouped_thresholds": {n: dict(moved) for n, moved in self.grouped_thresholds.items()},
            "violations": [violation.to_json() for violation in self.violations],
            "unknown": list(self.unknown),
            "budgets": [violation.to_json() for violation in self.budgets],
            "layers": [
                {
                    "name": layer.name,
                    "cores": layer.cores,
                    "first_core": layer.first_core,
                    "neurons": layer.neurons,
                    "synapses": layer.synapses,
                    "on_host": layer.on_host,
                }
                for layer in self.layers
            ],
        }

    def __str__(self) -> str:
        broken = f"does not fit, {counted(len(self.violations), 'limit')} broken"
        verdict = {True: "fits", None: "not known whether it fits", False: broken}[self.fits]
        placed = f"{counted(self.cores, 'core')} in layer order"
        if not self.layers:
            placed = "not placed, so that limits of cores are not checked yet"
        time = "" if self.time_steps is None else f", T = {self.time_steps}"
        lines = [f"{self.target}: {verdict}; {placed}{time}"]
        lines += [f"  on the host: {name} (its input is analog)" for name in self.host]
        lines += [f"  {rewrite}" for rewrite in self.rewrites]
        lines += [
            f"  {v.layer}: {v.limit} allows {v.allowed}, found {v.found}; {v.remedy}"
            for v in self.violations
        ]
        lines += [f"  not known: {limit}" for limit in self.unknown]
        lines += [
            f"  over budget, {v.layer}: {v.limit} {v.found}, {v.allowed} in real time; {v.remedy}"
            for v in self.budgets
        ]
        lines += [_grouped(name, moved) for name, moved in self.grouped_thresholds.items()]
        if self.silicon:
            lines.append("  in the worst case the chip's numbers are too narrow:")
        lines += [f"    {limit}" for limit in self.silicon]
        return "\n".join(lines)


def counted(count: int, noun: str) -> str:
    """Return e.g. 1 core, 2 cores."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _queue(graph: Graph, target: Target) -> Iterator[Violation]:
    """Yield whether more events waited at once, on the samples of the calibration, than can."""
    longest = graph.metadata.get(KEY, {}).get("longest_queue")
    remedy = "let fewer neurons fire on one event: higher thresholds, or fewer connections"
    if longest is not None:
        yield from at_most("network", "queue_events", longest, target, remedy)


def _unknown(graph: Graph, target: Target) -> Iterator[str]:
    """Yield the limits that only a run can tell, of a graph that was not lowered for the chip."""
    if target.limit("queue_events") is None:
        return
    if "longest_queue" not in graph.metadata.get(KEY, {}):
        yield f"queue_events, found when the network is lowered with --target {target.name}"


def _grouped(name: str, moved: Mapping[str, Any]) -> str:
    return (
        f"  {name}: {moved['moved']} of {moved['neurons']} thresholds moved by at most "
        f"{moved['largest_move']:.2%}: {moved['kept']} values of {moved['distinct']}"
    )


def refused(target: Target, problems: Iterable[LoweringError]) -> FitReport:
    """Return the report of a network that the target's number format cannot express."""
    told = {str(problem): problem for problem in problems}
    found = (
        Violation(e.node or "network", "number format", target.profile, e.reason, e.remedy or "")
        for e in told.values()
    )
    return FitReport(target.name, 0, {}, tuple(found), ())


def check(graph: Graph, target: Target, mapped: Mapped | None = None) -> FitReport:
    """Return whether an integer graph fits `target`.

    Args:
        mapped: the graph on the target, where it is known already.

    Raises:
        InputError: for a graph that is not integer.
    """
    if graph.level != "integer":
        raise InputError(f"a {graph.level} graph", remedy="lower it to integers first")
    mapped = mapped or map_graph(graph, target)
    found = (*broken_formats(graph, target), *_queue(graph, target), *mapped.violations)
    soft = target.supports.get("budgets", ())
    return FitReport(
        target.name,
        mapped.cores,
        dict(mapped.per_core_max),
        tuple(v for v in found if v.limit not in soft),
        mapped.layers,
        mapped.rewrites,
        tuple(number_limits(graph, target.profile)) if target.profile in CHIPS else (),
        budgets=tuple(v for v in found if v.limit in soft),
        grouped_thresholds=graph.metadata.get(GROUPED_THRESHOLDS, {}),
        time_steps=graph.metadata.get("time_steps"),
        unknown=tuple(_unknown(graph, target)),
    )
