"""Estimate: energy and latency per inference from exact counters and sourced constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..export.ir import Array, ExecutorError, Graph, InputError, MatMul, analog_nodes
from ..export.ir.digest import digest
from ..export.ir.printed import Printed
from ..sim.counters import Counters
from . import cost_events, cost_operations
from .activity import Activity, is_graded
from .cost_operations import Conventions as Conventions
from .cost_operations import refuse_idle
from .fit import FitReport, check, counted
from .foreign_counts import refuse_foreign
from .lava.relay_cost import RelayCost, relay_cost
from .lava.silicon import CHIPS
from .target import Constant, CostTable, Target, load_target, takes_events

PER_EVENT = "per event"
"""An integer of several spikes is one event: what executors count, and operation tables bill."""
GRADED = " of each neuron's event, pools taken apart"
"""Where a spike carries a number: a neuron's several spikes are one event, a pool's sum is none."""
PIXELS = ", a pixel of a frame as one event"
"""Where analog frames enter the chip, see `activity`."""
BUSIEST = {
    "synops": "synaptic operations",
    "updated": "neuron updates",
    "packets_in": "packets entering",
}


@dataclass(frozen=True, slots=True, repr=False)
class Estimate(Printed):
    """What one inference costs on a target: means over the samples.

    Attributes:
        energy_uj: `total` and one entry a part; None where the target has no sourced energy.
        energy_range_uj, latency_range_us: where the table's source publishes its error.
        layers: energy per layer in uJ. steps: energy per time step in uJ.
        latency_us, static_mw: None where not modelled.
        sops: synaptic operations an inference, as the target does and bills them; `sops_are` says
            which. sops_per_event, sops_per_spike: as counters count them on any target.
        busiest_core: counts of the fullest core of each step, summed over the steps.
        delay_lines: of relay neurons, where each synapse takes a step; not part of the totals.
        pipeline_steps: steps beyond the network's own until the readout has all; in the totals.
        macs: multiply-accumulates of the layers that take analog values, an inference, wherever
            they are computed.
        host_macs, host_energy_uj: of the layers that the host computes, an inference, by
            `HOST`; not part of the totals. None where there are none.
        fits: whether the network fits the target; None where that is not known. violations: how
            many limits it breaks. time_steps: the network's T, without the steps of a pipeline.
    """

    target: str
    cost: str | None
    energy_uj: dict[str, float] | None
    layers: dict[str, float]
    steps: tuple[float, ...]
    latency_us: float | None
    static_mw: float | None
    sops: float
    constants: tuple[Constant, ...]
    not_modelled: tuple[str, ...]
    conventions: tuple[str, ...]
    uncertainty: str | None
    energy_range_uj: tuple[float, float] | None = None
    latency_range_us: tuple[float, float] | None = None
    latency_bound: str | None = None
    counts: Mapping[str, float] | None = None
    busiest_core: Mapping[str, float] | None = None
    delay_lines: RelayCost | None = None
    pipeline_steps: int = 0
    macs: float = 0.0
    host_macs: float = 0.0
    host_energy_uj: float | None = None
    sops_are: str = PER_EVENT
    sops_per_event: float = 0.0
    sops_per_spike: float = 0.0
    fits: bool | None = None
    violations: int = 0
    time_steps: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON-able data."""
        return {
            "target": self.target,
            "time_steps": self.time_steps,
            "cost": self.cost,
            "fits": self.fits,
            "violations": self.violations,
            "energy_uj": self.energy_uj,
            "energy_range_uj": _listed(self.energy_range_uj),
            "layers_uj": self.layers,
            "steps_uj": list(self.steps),
            "latency_us": self.latency_us,
            "latency_range_us": _listed(self.latency_range_us),
            "latency_bound": self.latency_bound,
            "static_mw": self.static_mw,
            "pipeline_steps": self.pipeline_steps,
            "macs": self.macs,
            "host_macs": self.host_macs,
            "host_energy_uj": self.host_energy_uj,
            "host_cost": "/".join(HOST) if self.host_macs else None,
            "sops": self.sops,
            "sops_are": self.sops_are,
            "sops_per_event": self.sops_per_event,
            "sops_per_spike": self.sops_per_spike,
            "counts": None if self.counts is None else dict(self.counts),
            "busiest_core": None if self.busiest_core is None else dict(self.busiest_core),
            "delay_lines": None if self.delay_lines is None else self.delay_lines.to_json(),
            "constants": [constant.to_json() for constant in self.constants],
            "not_modelled": list(self.not_modelled),
            "conventions": list(self.conventions),
            "uncertainty": self.uncertainty,
        }

    def __str__(self) -> str:
        lines = [self._headline()]
        if self.violations:
            broken = counted(self.violations, "limit")
            lines.append(f"  does not fit {self.target}: {broken} broken, which `check` names")
        if self.latency_us is not None:
            lines.append(f"  latency {self.latency_us:.4g} us{_range(self.latency_range_us, 'us')}")
        if self.latency_bound is not None:
            lines.append(f"  latency of a step at least {self.latency_bound}")
        if self.static_mw is not None:
            lines.append(f"  static power {self.static_mw:g} mW, apart")
        if self.busiest_core:
            fullest = ", ".join(f"{BUSIEST[k]} {v:,.4g}" for k, v in self.busiest_core.items())
            lines.append(f"  busiest core, summed over steps: {fullest}")
        if self.delay_lines is not None and self.delay_lines.lines:
            lines.append(f"  apart, {self.delay_lines}")
        if self.host_energy_uj is not None:
            by = " --cost ".join(HOST)
            lines.append(
                f"  apart, on the host: {self.host_macs:,.0f} MACs, {self.host_energy_uj:.4g} uJ "
                f"by {by}"
            )
        lines += [f"  {convention}" for convention in self.conventions]
        lines += [
            f"  {c.name} = {c.value:g} {c.unit} [{c.evidence}] {c.source}" for c in self.constants
        ]
        lines.append(f"  not modelled: {'; '.join(self.not_modelled)}")
        if self.uncertainty:
            lines.append(f"  uncertainty: {self.uncertainty}")
        return "\n".join(lines)

    def _headline(self) -> str:
        time = f", T = {self.time_steps}"
        if self.energy_uj is None:
            return f"{self.target}: no sourced energy, {self._sops()} per inference{time}"
        parts = ", ".join(f"{k} {v:.4g}" for k, v in self.energy_uj.items() if k != "total")
        return (
            f"{self.target} --cost {self.cost}: {self.energy_uj['total']:.4g} uJ per inference"
            f"{_range(self.energy_range_uj, 'uJ')} ({parts}), {self._sops()}{time}"
        )

    def _sops(self) -> str:
        return f"{self.sops:,.0f} SOPs ({self.sops_are})"


def _listed(ends: tuple[float, float] | None) -> list[float] | None:
    return None if ends is None else list(ends)


def _range(ends: tuple[float, float] | None, unit: str) -> str:
    return "" if ends is None else f" ({ends[0]:.4g} to {ends[1]:.4g} {unit})"


def needs_activity(target: Target) -> bool:
    """Whether estimates on a target need the activity of its cores, not counters alone."""
    return target.mapping == "cores" or any(t.model == "events" for t in target.costs.values())


def estimate(
    graph: Graph,
    counters: Counters,
    target: Target,
    *,
    cost: str | None = None,
    conventions: Conventions | None = None,
    activity: Activity | None = None,
    fit: FitReport | None = None,
) -> Estimate:
    """Return what one inference of `graph` costs on `target`.

    Args:
        counters: of a run of the same graph. cost: one of the target's tables by name.
        conventions: how operations are counted, for tables of the model `operations`.
        activity: of the same run on the target's cores (`activity.Observer`); tables of the model
            `events` need it.
        fit: of the graph on the target, where it is known already.

    Raises:
        InputError: for counters of another graph. UnknownNameError: for an unknown table.
    """
    refuse_foreign(graph, counters)
    if activity is not None and activity.graph not in ("", digest(graph)):
        remedy = "observe a run of this graph"
        raise InputError("the activity is that of another graph", remedy=remedy)
    if activity is not None and activity.target not in ("", target.name):
        raise InputError(
            f"the activity is that of {activity.target}, not of {target.name}",
            remedy=f"observe a run on {target.name}",
        )
    table, how = target.cost(cost), conventions or Conventions()
    refuse_idle(how, graph, counters, table)
    found = (
        _without_energy(counters, target, activity)
        if table is None
        else _priced(graph, counters, target, table, how, activity)
    )
    if fit is None and graph.level == "integer":
        fit = check(graph, target)
    macs = _host_macs(graph, counters, target)
    table = load_target(HOST[0]).costs[HOST[1]]
    enters = graph.input.encoding == "direct" and _takes_frames(target)
    return replace(
        found,
        delay_lines=_delay_lines(graph, counters, target, cost),
        sops_are=found.sops_are + (PIXELS if enters and activity is not None else ""),
        macs=counters.total("macs") / counters.samples,
        host_macs=macs,
        host_energy_uj=macs * table.value("mac_pj") * 1e-6 if macs else None,
        fits=None if fit is None else fit.fits,
        violations=len(fit.violations) if fit else 0,
        time_steps=counters.time_steps,
    )


HOST = ("generic-45nm", "int8")
"""The target and cost table that price what the host computes for a chip that takes spikes only."""


def _takes_frames(target: Target) -> bool:
    return "direct" in target.supports.get("inputs", ("direct",))


def _host_macs(graph: Graph, counters: Counters, target: Target) -> float:
    """Return the MACs of the layers on the host, an inference, mean over samples.

    A repeated frame's are done once, those of frames that change at each step.
    """
    if _takes_frames(target):
        return 0.0
    host = analog_nodes(graph) & set(counters.layers)
    return sum(float(counters.layers[name].macs.sum()) for name in host) / counters.samples


def _delay_lines(
    graph: Graph, counters: Counters, target: Target, cost: str | None
) -> RelayCost | None:
    """Return the price of delay lines on a Loihi; None elsewhere, or where a loop is too short."""
    if target.profile not in CHIPS:
        return None
    try:
        return relay_cost(graph, counters, target, cost)
    except ExecutorError:
        return None


def _priced(
    graph: Graph,
    counters: Counters,
    target: Target,
    table: CostTable,
    how: Conventions,
    activity: Activity | None,
) -> Estimate:
    if table.model == "operations":
        said = (*how, *MEMORY) if cost_operations.has_memory(table) else tuple(how)

        def priced(one: CostTable) -> Mapping[str, Mapping[str, Array]]:
            return cost_operations.layer_energy_pj(graph, counters, one, how)

        found = _result(target, table, counters, priced(table), said, None)
        return _with_range(found, priced, table)
    if activity is None:
        raise InputError(
            f"counters do not say which neuron fired, and {target.name} --cost {table.name} bills "
            "packets between cores",
            remedy="give samples, or the run's activity",
        )
    if activity.samples != counters.samples or activity.time_steps != counters.time_steps:
        raise InputError("counters and activity are of different runs", remedy="observe this run")
    layers = cost_events.layer_energy_pj(activity, table)
    said = (*PLACED, *_events(activity, target), *_pipeline(activity))
    said = (*said, *_too_many(activity, target))
    found = _result(target, table, counters, layers, said, activity)
    return replace(found, not_modelled=(*found.not_modelled, *_products(graph)))


def _products(graph: Graph) -> tuple[str, ...]:
    """Return the products of spikes by spikes, which no chip has and no event prices."""
    names = graph.of_kind(MatMul)
    return (f"products of spikes by spikes ({', '.join(names)})",) if names else ()


MEMORY = (
    "memory: one weight read a MAC or SOP, one potential read and written a neuron update, each "
    "weight fetched from DRAM once an inference",
)
PLACED = (
    "placement: layers on cores in order; a packet for each core that a spike reaches",
    "latency: the slowest core of a step plus the barrier; steps do not overlap",
)


def _events(activity: Activity, target: Target) -> tuple[str, ...]:
    found = ["each spike of an integer (multi-)spike is an event of its own"]
    if is_graded(target):
        found = ["a neuron's multi-spike counts as one event, a pool's sum as those it sums"]
    if activity.timing == "event":
        found = ["counted at event timing: each spike of a step is an event of its own"]
    elif takes_events(target):
        found.append("counted at step timing, though this chip tests after every event")
    if target.mapping == "crossbar" and target.limit("cores") == 1:
        found.append("an event is applied to every mapped neuron: its row of the crossbar")
    return tuple(found)


def _pipeline(activity: Activity) -> tuple[str, ...]:
    if not activity.pipeline_steps:
        return ()
    return (
        f"each synapse takes a step: {activity.time_steps} steps and {activity.pipeline_steps} "
        "more until the readout has all are billed; samples do not overlap",
    )


def _too_many(activity: Activity, target: Target) -> tuple[str, ...]:
    cores = target.limit("cores")
    if cores is None or activity.cores <= cores:
        return ()
    return (f"it does not fit: {activity.cores} cores are billed as if the chip had them",)


def _without_energy(counters: Counters, target: Target, activity: Activity | None) -> Estimate:
    return Estimate(
        target=target.name,
        cost=None,
        energy_uj=None,
        layers={},
        steps=(),
        latency_us=None,
        static_mw=None,
        **_sops(counters, target, activity),
        constants=(),
        not_modelled=("energy: none is published for this chip",),
        conventions=(),
        uncertainty=None,
        latency_bound=target.latency_bound or None,
        counts=_counts(activity),
        busiest_core=_busiest(activity),
        pipeline_steps=activity.pipeline_steps if activity else 0,
    )


def _sops(counters: Counters, target: Target, activity: Activity | None) -> dict[str, Any]:
    """Return the SOPs of an inference: as the target does them, and as executors count them."""
    event, spike = (counters.total(c) / counters.samples for c in ("sops", "sops_per_spike"))
    found = {"sops": event, "sops_are": PER_EVENT}
    if activity is not None:
        row = target.mapping == "crossbar" and target.limit("cores") == 1
        each = "a crossbar's row" if row else "each synapse"
        each += GRADED if is_graded(target) else " of each spike"
        found = {"sops": activity.total("synops"), "sops_are": f"on its cores, {each}"}
    return {**found, "sops_per_event": event, "sops_per_spike": spike}


def _with_range(
    found: Estimate,
    priced: Callable[[CostTable], Mapping[str, Mapping[str, Array]]],
    table: CostTable,
) -> Estimate:
    """Return the estimate with the range that published ranges of its constants give."""
    reached = []
    for one in cost_operations.ends(table):
        layers = priced(one)
        pj = sum(float(np.sum(v)) for parts in layers.values() for v in parts.values())
        reached.append(pj * 1e-6)
    return replace(found, energy_range_uj=(reached[0], reached[1])) if reached else found


def _counts(activity: Activity | None) -> dict[str, float] | None:
    if activity is None:
        return None
    return {name: activity.total(name) for name in activity.counts}


def _busiest(activity: Activity | None) -> dict[str, float] | None:
    if activity is None:
        return None
    return {name: float(activity.busiest[name].sum()) / activity.samples for name in BUSIEST}


def _result(
    target: Target,
    table: CostTable,
    counters: Counters,
    layers: Mapping[str, Mapping[str, Array]],
    conventions: tuple[str, ...],
    activity: Activity | None,
) -> Estimate:
    """Sum energies [time] in pJ over layers, parts and steps."""
    parts: dict[str, float] = {}
    steps = np.zeros(counters.time_steps + (activity.pipeline_steps if activity else 0))
    by_layer = {}
    for name, energies in layers.items():
        for part, values in energies.items():
            parts[part] = parts.get(part, 0.0) + float(np.sum(values)) * 1e-6
            steps = steps + values * 1e-6
        by_layer[name] = sum(float(np.sum(values)) for values in energies.values()) * 1e-6
    total = sum(parts.values())
    latency = _latency_us(activity, table)
    return Estimate(
        target=target.name,
        cost=table.name,
        energy_uj={"total": total, **parts},
        layers=by_layer,
        steps=tuple(float(step) for step in steps),
        latency_us=latency,
        static_mw=table.value("static_mw") or None,
        **_sops(counters, target, activity),
        constants=tuple(table.constants.values()),
        not_modelled=table.not_modelled,
        conventions=(*conventions, *_clock(table)),
        uncertainty=table.uncertainty,
        energy_range_uj=_around(total, table.energy_error),
        latency_range_us=_around(latency, table.latency_error),
        counts=_counts(activity),
        busiest_core=_busiest(activity),
        pipeline_steps=activity.pipeline_steps if activity else 0,
    )


def _clock(table: CostTable) -> tuple[str, ...]:
    each = table.value("clock_uw_per_mhz")
    return (f"the clock takes {each:g} uW per MHz, apart",) if each else ()


def _latency_us(activity: Activity | None, table: CostTable) -> float | None:
    timed = any(name.endswith("_ns") for name in table.constants)
    if activity is None or not timed:
        return None
    return float(activity.latency_ns[table.name].sum()) / activity.samples * 1e-3


def _around(value: float | None, error: float | None) -> tuple[float, float] | None:
    if value is None or error is None:
        return None
    return value * (1 - error), value * (1 + error)
