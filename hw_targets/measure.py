"""Measure: a run whose counters and core activity an estimate takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..export.ir import Array, ExecutorError, Graph, InputError
from ..sim.event import EventDriven
from ..sim.run import Run, run
from ..sim.trace import Trace
from .activity import Activity, Observer
from .estimate import Conventions, Estimate, estimate, needs_activity
from .fit import FitReport, check
from .mapping import map_graph
from .target import Target, takes_events


class Measured(NamedTuple):
    """A run on samples, and what a target makes of it.

    Attributes:
        fit: of the graph on the target; None below the integer level.
        activity: of the target's cores, where its costs ask for that.
    """

    graph: Graph
    target: Target
    run: Run
    fit: FitReport | None
    activity: Activity | None

    def estimate(self, cost: str | None = None, conventions: Conventions | None = None) -> Estimate:
        """Return what an inference costs by one of the target's tables."""
        return estimate(
            self.graph,
            self.run.counters,
            self.target,
            cost=cost,
            conventions=conventions,
            activity=self.activity,
            fit=self.fit,
        )


def measure(
    graph: Graph,
    x: Array,
    time_steps: int,
    target: Target,
    *,
    watch: Callable[[Trace], None] | None = None,
    **options: Any,
) -> Measured:
    """Return the run of samples x, whether the graph fits, and the activity that `target` needs.

    A chip that tests its threshold after every event is run so, unless an executor is named or the
    graph has no form at event timing.

    Args:
        watch, options: of `sim.run.run`.

    Raises:
        InputError: for a float graph on a target whose costs ask for its cores.
    """
    if "executor_name" not in options and takes_events(target) and _runs_events(graph):
        options["executor_name"] = EventDriven()
    if graph.level != "integer":
        if needs_activity(target):
            raise InputError(f"a {graph.level} graph", remedy="lower it to integers first")
        found = run(graph, x, time_steps, watch=watch, **options)
        return Measured(graph, target, found, None, None)
    mapped = map_graph(graph, target)
    fit = check(graph, target, mapped)
    if not needs_activity(target):
        found = run(graph, x, time_steps, watch=watch, **options)
        return Measured(graph, target, found, fit, None)
    observer = Observer(graph, target, mapped)

    def both(trace: Trace) -> None:
        observer(trace)
        if watch is not None:
            watch(trace)

    found = run(graph, x, time_steps, watch=both, **options)
    return Measured(graph, target, found, fit, observer.activity())


def _runs_events(graph: Graph) -> bool:
    try:
        EventDriven(plain=True).prepare(graph)  # lays out nothing
    except ExecutorError:
        return False
    return True
