"""Fit: does an integer graph fit a chip, and if not, which layer, which limit, what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Graph, InputError, Neuron
from .mapping import Layer, layers, per_core_needs
from .target import Target


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that one layer breaks, and what to change."""

    layer: str
    limit: str
    allowed: str
    found: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class FitReport:
    """Whether a graph fits a target.

    Attributes:
        cores: used in layer order. per_core_max: the fullest core's share of each limit.
        layers: the mapping. host: layers computed on the host, outside the fit.
    """

    target: str
    cores: int
    per_core_max: dict[str, int]
    violations: tuple[Violation, ...]
    layers: tuple[Layer, ...]

    @property
    def fits(self) -> bool:
        """Whether no limit is broken."""
        return not self.violations

    @property
    def host(self) -> tuple[str, ...]:
        """The layers that the host computes."""
        return tuple(layer.name for layer in self.layers if layer.on_host)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able data."""
        return {
            "target": self.target,
            "fits": self.fits,
            "cores": self.cores,
            "per_core_max": self.per_core_max,
            "host_layers": list(self.host),
            "violations": [violation.to_json() for violation in self.violations],
            "layers": [
                {
                    "name": layer.name,
                    "cores": layer.cores,
                    "neurons": layer.neurons,
                    "synapses": layer.synapses,
                    "on_host": layer.on_host,
                }
                for layer in self.layers
            ],
        }

    def __str__(self) -> str:
        verdict = "fits" if self.fits else f"does not fit, {len(self.violations)} limits broken"
        lines = [f"{self.target}: {verdict}; {self.cores} cores in layer order"]
        lines += [f"  on the host: {name} (its input is analog)" for name in self.host]
        lines += [
            f"  {v.layer}: {v.limit} allows {v.allowed}, found {v.found}; {v.remedy}"
            for v in self.violations
        ]
        return "\n".join(lines)


def check(graph: Graph, target: Target) -> FitReport:
    """Return whether an integer graph fits `target`.

    Raises:
        InputError: for a graph that is not integer.
    """
    if graph.level != "integer":
        raise InputError(f"a {graph.level} graph", remedy="lower it to integers first")
    mapped = layers(graph, target)
    cores = sum(layer.cores for layer in mapped)
    found = [*_nodes(graph, target), *_formats(graph, target), *_per_core(mapped, target)]
    limit = target.limit("cores")
    if limit is not None and cores > limit:
        worst = max(mapped, key=lambda layer: layer.cores)
        remedy = f"use fewer channels or bits; {worst.name} alone takes {worst.cores}"
        found.append(Violation("network", "cores", str(limit), str(cores), remedy))
    return FitReport(target.name, cores, _fullest(mapped), tuple(found), tuple(mapped))


REMEDIES = {
    "MaxPool": "use strided convolutions or sum pooling",
    "MatMul": "attention has no form on this chip; use a convolutional network",
    "Scale": "use the residual rule sew_add, or another target",
}


def _nodes(graph: Graph, target: Target) -> Iterator[Violation]:
    allowed = target.supports.get("nodes")
    if allowed is None:
        return
    for name, node in graph.nodes.items():
        if node.kind not in allowed:
            remedy = REMEDIES.get(node.kind, "leave it out or choose another target")
            yield Violation(name, "node kind", ", ".join(allowed), node.kind, remedy)


def _formats(graph: Graph, target: Target) -> Iterator[Violation]:
    lowered = f"lower it with --target {target.name}"
    for name, node in graph.nodes.items():
        if isinstance(node, WEIGHTS):
            yield from _at_most(name, "weight_bits", node.bits or 8, target, "use fewer --bits")
        if isinstance(node, Neuron):
            yield from _neuron(name, node, target, lowered)


def _neuron(name: str, node: Neuron, target: Target, lowered: str) -> Iterator[Violation]:
    for limit, value in (("resets", node.reset), ("compares", node.compare)):
        allowed = target.supports.get(limit, (value,))
        if value not in allowed:
            yield Violation(name, limit, ", ".join(allowed), value, lowered)
    yield from _at_most(name, "state_bits", node.state_bits, target, lowered)
    bits = target.limit("threshold_bits")
    if bits is not None:
        largest = int(np.abs(node.v_threshold).max())
        step = 1 << node.state_shift
        if largest % step or largest // step >= 1 << bits:
            found = f"{largest} (in steps of {step})"
            yield Violation(name, "threshold_bits", f"{bits} bits", found, lowered)


def _at_most(name: str, limit: str, value: int, target: Target, remedy: str) -> Iterator[Violation]:
    allowed = target.limit(limit)
    if allowed is not None and value > allowed:
        yield Violation(name, limit, str(allowed), str(value), remedy)


def _per_core(mapped: list[Layer], target: Target) -> Iterator[Violation]:
    """Limits that splitting a layer over cores does not help."""
    for layer in mapped:
        if layer.on_host:
            continue
        remedies = {
            "input_axons_per_core": "use fewer input channels or a smaller map",
            "thresholds_per_core": f"use one scale a layer: lower it with --target {target.name}",
        }
        needs = (("input_axons_per_core", layer.inputs), ("thresholds_per_core", layer.thresholds))
        for limit, found in needs:
            yield from _at_most(layer.name, limit, found, target, remedies[limit])


def _fullest(mapped: list[Layer]) -> dict[str, int]:
    """Return the largest share of one core of each quantity."""
    fullest: dict[str, int] = {}
    for layer in mapped:
        if layer.on_host:
            continue
        shares = {name: ceil(need / layer.cores) for need, name in per_core_needs(layer)}
        shares["input_axons_per_core"] = layer.inputs
        for name, share in shares.items():
            fullest[name] = max(fullest.get(name, 0), share)
    return fullest
