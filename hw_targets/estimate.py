"""Estimate: energy and latency per inference from exact counters and sourced constants.

Model `operations`: E = e_MAC * MACs of analog-input layers + e_AC * SOPs (arXiv 2511.18542, section
on energy). The MACs of a directly encoded layer count once or once a step: `first_layer`.

Model `events` (Loihi 1): E = e_synop * SOPs + e_active * spikes + e_inactive * (updates - spikes)
+ e_spike * spikes * destination cores. Latency of a step: the slowest core's work plus the barrier,
which grows from 1 to 32 tiles of 4 cores; layer order placement, work shared evenly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, TypeAlias

import numpy as np

from ..export.ir import Array, Graph, InputError, Neuron
from ..sim.counters import Counters
from .fit import FitReport, check
from .mapping import Layer
from .target import Constant, CostTable, Target

FirstLayer: TypeAlias = Literal["once", "each_step"]
TILE_CORES = 4
"""Cores of a Loihi 1 tile (Davies et al., 2018)."""
TILES = 32


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one inference costs on a target: means over the samples.

    Attributes:
        energy_uj: `total` and one entry a part; None where the target has no sourced energy.
        layers: energy per layer in uJ. steps: energy per time step in uJ.
        latency_us, static_mw: None where not modelled. sops: per inference.
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

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON-able data."""
        return {
            "target": self.target,
            "cost": self.cost,
            "energy_uj": self.energy_uj,
            "layers_uj": self.layers,
            "steps_uj": list(self.steps),
            "latency_us": self.latency_us,
            "static_mw": self.static_mw,
            "sops": self.sops,
            "constants": [constant.to_json() for constant in self.constants],
            "not_modelled": list(self.not_modelled),
            "conventions": list(self.conventions),
            "uncertainty": self.uncertainty,
        }

    def __str__(self) -> str:
        if self.energy_uj is None:
            return f"{self.target}: no sourced energy, {self.sops:,.0f} SOPs per inference"
        parts = ", ".join(f"{k} {v:.4g}" for k, v in self.energy_uj.items() if k != "total")
        lines = [
            f"{self.target} --cost {self.cost}: {self.energy_uj['total']:.4g} uJ per inference "
            f"({parts}), {self.sops:,.0f} SOPs"
        ]
        if self.latency_us is not None:
            lines.append(f"  latency {self.latency_us:.4g} us, static {self.static_mw} mW apart")
        lines += [
            f"  {c.name} = {c.value:g} {c.unit} [{c.evidence}] {c.source}" for c in self.constants
        ]
        lines.append(f"  not modelled: {'; '.join(self.not_modelled)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def estimate(
    graph: Graph,
    counters: Counters,
    target: Target,
    *,
    cost: str | None = None,
    first_layer: FirstLayer = "once",
) -> Estimate:
    """Return what one inference of `graph` costs on `target`.

    Args:
        counters: of a run of the same graph. cost: one of the target's tables by name.
        first_layer: whether the MACs of an analog layer count `once` an inference (its frame is the
            same at every step) or at `each_step`.

    Raises:
        InputError: for counters of another graph. UnknownNameError: for an unknown table.
    """
    missing = set(counters.layers) ^ {n for n in graph.nodes if n in counters.layers}
    if missing or not set(graph.neurons) <= set(counters.layers):
        raise InputError(
            "the counters are those of another graph", remedy="count a run of this graph"
        )
    table = target.cost(cost)
    if table is None:
        return _without_energy(counters, target)
    fit = check(graph, target) if graph.level == "integer" else None
    return MODELS[table.model](graph, counters, target, table, fit, first_layer)


def _mean(values: Array, samples: int) -> Array:
    """Return [time] means over samples."""
    mean: Array = values.sum(axis=1) / samples
    return mean


def _without_energy(counters: Counters, target: Target) -> Estimate:
    return Estimate(
        target.name,
        None,
        None,
        {},
        (),
        None,
        None,
        counters.total("sops") / counters.samples,
        (),
        ("energy: none is published for this chip",),
        (),
        None,
    )


def _operations(
    graph: Graph,
    counters: Counters,
    target: Target,
    table: CostTable,
    fit: FitReport | None,
    first_layer: FirstLayer,
) -> Estimate:
    steps = np.zeros(counters.time_steps)
    parts = {"mac": 0.0, "ac": 0.0}
    by_layer: dict[str, float] = {}
    for name, layer in counters.layers.items():
        macs = _mean(layer.macs, counters.samples)
        if first_layer == "once":
            macs = np.where(np.arange(len(macs)) == 0, macs, 0)
        mac = macs * table.value("mac_pj") * 1e-6
        ac = _mean(layer.sops, counters.samples) * table.value("ac_pj") * 1e-6
        if layer.kind == "Neuron":
            continue
        by_layer[name] = float((mac + ac).sum())
        steps += mac + ac
        parts["mac"] += float(mac.sum())
        parts["ac"] += float(ac.sum())
    conventions = (
        f"MACs of an analog-input layer count {first_layer.replace('_', ' ')}",
        "an integer (multi-)spike counts as one event",
    )
    return _result(target, table, counters, parts, by_layer, steps, None, None, conventions)


def _events(
    graph: Graph,
    counters: Counters,
    target: Target,
    table: CostTable,
    fit: FitReport | None,
    first_layer: FirstLayer,
) -> Estimate:
    if fit is None:
        raise InputError(f"a {graph.level} graph", remedy="lower it to integers first")
    steps = np.zeros(counters.time_steps)
    parts = {"synapse": 0.0, "neuron": 0.0, "spike": 0.0}
    by_layer: dict[str, float] = {}
    slowest = np.zeros(counters.time_steps)
    cores = {layer.name: layer.cores for layer in fit.layers}
    for layer in fit.layers:
        if layer.on_host:
            continue
        work = _layer_work(graph, counters, layer, table, cores)
        total = work["synapse"] + work["neuron"] + work["spike"]
        for part in parts:
            parts[part] += float(work[part].sum())
        by_layer[layer.name] = float(total.sum())
        steps += total
        slowest = np.maximum(slowest, work["ns"])
    latency_us = float((slowest + _barrier_ns(fit.cores, table)).sum()) * 1e-3
    static = table.value("static_mw") or None
    conventions = (
        "latency: slowest core of a step plus the barrier, work of a layer shared evenly",
        *(f"{name} is computed on the host, outside the energy" for name in fit.host),
    )
    return _result(target, table, counters, parts, by_layer, steps, latency_us, static, conventions)


def _layer_work(
    graph: Graph, counters: Counters, layer: Layer, table: CostTable, cores: dict[str, int]
) -> dict[str, Array]:
    """Return the energies [time] in uJ of a layer's parts, and the ns of one of its cores."""
    samples = counters.samples
    zero = np.zeros(counters.time_steps)
    sops = sum((_mean(counters.layers[w].sops, samples) for w in layer.weights), zero)
    fired, updates = zero, zero
    if isinstance(graph.nodes[layer.name], Neuron):
        counted = counters.layers[layer.name]
        fired, updates = (_mean(v, samples) for v in (counted.spikes, counted.neuron_updates))
    else:
        updates = zero + layer.neurons
    idle = updates - fired
    neuron = fired * table.value("neuron_active_pj") + idle * table.value("neuron_inactive_pj")
    packets = fired * _destinations(graph, layer.name, cores)
    ns = sops * table.value("synop_ns")
    ns = ns + fired * table.value("neuron_active_ns") + idle * table.value("neuron_inactive_ns")
    return {
        "synapse": sops * table.value("synop_pj") * 1e-6,
        "neuron": neuron * 1e-6,
        "spike": packets * table.value("packet_pj") * 1e-6,
        "ns": ns / layer.cores,
    }


def _destinations(graph: Graph, name: str, cores: dict[str, int]) -> int:
    """Return how many cores hold layers that a neuron node's spikes reach (an upper bound)."""
    found, waiting, seen = 0, list(graph.consumers(name)), set()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if here in cores:
            found += cores[here]
        else:
            waiting += graph.consumers(here)
    return found


def _barrier_ns(cores: int, table: CostTable) -> float:
    """Return the barrier of a step, linear in tiles between the published ends."""
    tiles = min(TILES, max(1, ceil(cores / TILE_CORES)))
    low, high = table.value("barrier_min_ns"), table.value("barrier_max_ns")
    return low + (high - low) * (tiles - 1) / (TILES - 1)


def _result(
    target: Target,
    table: CostTable,
    counters: Counters,
    parts: dict[str, float],
    by_layer: dict[str, float],
    steps: Array,
    latency_us: float | None,
    static_mw: float | None,
    conventions: tuple[str, ...],
) -> Estimate:
    return Estimate(
        target=target.name,
        cost=table.name,
        energy_uj={"total": sum(parts.values()), **parts},
        layers=by_layer,
        steps=tuple(float(step) for step in steps),
        latency_us=latency_us,
        static_mw=static_mw,
        sops=counters.total("sops") / counters.samples,
        constants=tuple(table.constants.values()),
        not_modelled=table.not_modelled,
        conventions=conventions,
        uncertainty=table.uncertainty,
    )


MODELS: dict[str, Callable[..., Estimate]] = {"operations": _operations, "events": _events}
