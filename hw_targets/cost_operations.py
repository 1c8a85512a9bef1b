"""Operation counts: multiply-accumulates and accumulations at a price each, and memory.

    mac = e_MAC * MACs      ac = e_AC * SOPs      (arXiv 2511.18542, section on energy)
    memory = e_weight * (MACs + SOPs) + (e_read + e_write) * neuron updates + e_DRAM * weights

Published figures count differently; how is an option by name, and stands in every report:
`first_layer`: the MACs of a layer that a repeated frame enters `once` an inference, or at
`each_step`; where frames change from step to step, each has its own MACs either way;
`integer_inputs`: SOPs of inputs that may exceed 1 (sums of spikes) as `ac`, or as `mac`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from ..export.ir import WEIGHTS, Array, Graph, InputError, MatMul, UnknownNameError, analog_values
from ..export.ir import bounds as bounds_of
from ..sim.counters import Counters, LayerCounters
from .target import CostTable

FirstLayer: TypeAlias = Literal["once", "each_step"]
IntegerInputs: TypeAlias = Literal["ac", "mac"]


@dataclass(frozen=True, slots=True)
class Conventions:
    """How operations are counted; see the module."""

    first_layer: FirstLayer = "once"
    integer_inputs: IntegerInputs = "ac"

    def __post_init__(self) -> None:
        for option, value, kind in (
            ("first-layer convention", self.first_layer, FirstLayer),
            ("integer-inputs convention", self.integer_inputs, IntegerInputs),
        ):
            if value not in get_args(kind):
                raise UnknownNameError.of(option, value, get_args(kind))

    def __iter__(self) -> Iterator[str]:
        yield f"MACs of a repeated frame count {self.first_layer.replace('_', ' ')}"
        if self.integer_inputs == "ac":
            yield "an integer (multi-)spike counts as one event"
        else:
            yield "operations on integer inputs (sums of spikes) are billed as MACs"


def refuse_idle(
    how: Conventions, graph: Graph, counters: Counters, table: CostTable | None
) -> None:
    """Raise InputError for a convention, other than the usual one, that can change no number."""
    usual = Conventions()
    if how == usual:
        return
    spelled = f"--first-layer {how.first_layer}"
    if how.first_layer == usual.first_layer:
        spelled = f"--integer-inputs {how.integer_inputs}"
    if table is None or table.model != "operations":
        reason = f"{spelled} cannot act here, the target is not priced by operations"
        raise InputError(reason, remedy="leave it out, or take --target generic-45nm")
    repeated = any(
        layer.macs.any() and (layer.macs != layer.dense_macs).any()
        for layer in counters.layers.values()
    )
    if how.first_layer != usual.first_layer and not repeated:
        reason = f"--first-layer {how.first_layer} cannot act here, no layer takes a repeated frame"
        raise InputError(reason, remedy="leave it out")
    if how.integer_inputs != usual.integer_inputs and not _integer_inputs(graph, counters):
        reason = f"--integer-inputs {how.integer_inputs} cannot act here, no layer takes sums"
        raise InputError(reason, remedy="leave it out")


def operations(graph: Graph, counters: Counters, how: Conventions) -> dict[str, dict[str, Array]]:
    """Return, per weight node, `macs` and `acs` of each step, [time], means over samples."""
    whole = _integer_inputs(graph, counters) if how.integer_inputs == "mac" else set()
    found = {}
    for name, layer in counters.layers.items():
        if layer.kind == "Neuron":
            continue
        macs, acs = _macs(layer, counters.samples, how), layer.sops.sum(axis=1) / counters.samples
        if name in whole:
            macs, acs = macs + acs, np.zeros_like(acs)
        found[name] = {"macs": macs, "acs": acs}
    return found


def _macs(layer: LayerCounters, samples: int, how: Conventions) -> Array:
    each = how.first_layer == "each_step" and bool(layer.macs.any())
    counted = layer.dense_macs if each else layer.macs
    macs: Array = counted.sum(axis=1) / samples
    return macs


def kept(layer: LayerCounters, how: Conventions) -> bool:
    """Whether the sums of an analog layer are computed at the first step, and kept for the rest."""
    return how.first_layer == "once" and not bool(layer.macs[1:].any())


def _integer_inputs(graph: Graph, counters: Counters) -> set[str]:
    """Return the weight and MatMul nodes whose spiking inputs may be other than 0 and 1.

    By the bounds of an integer graph; of a float graph those that received several spikes at once.
    """
    if graph.level != "integer":
        layers = counters.layers.items()
        return {name for name, n in layers if (n.sops_per_spike != n.sops).any()}
    analog = analog_values(graph)
    largest = {name: bound.largest for name, bound in bounds_of(graph).items()}
    return {
        name
        for name in graph.of_kind(*WEIGHTS, MatMul)
        for source in graph.inputs(name)
        if source not in analog and largest[source] > 1
    }


def layer_energy_pj(
    graph: Graph, counters: Counters, table: CostTable, how: Conventions
) -> dict[str, dict[str, Array]]:
    """Return, per layer and part, the energy of each step in pJ, [time], mean over samples."""
    cost = table.value
    found = {
        name: {
            "mac": ops["macs"] * cost("mac_pj"),
            "ac": ops["acs"] * cost("ac_pj"),
        }
        for name, ops in operations(graph, counters, how).items()
    }
    if not has_memory(table):
        return found
    for name, ops in operations(graph, counters, how).items():
        reads = (ops["macs"] + ops["acs"]) * cost("weight_read_pj")
        node = graph.nodes[name]
        if isinstance(node, WEIGHTS):
            first = np.arange(len(reads)) == 0
            reads = reads + first * node.weight.size * cost("dram_read_pj")
        found[name]["memory"] = reads
    for name, layer in counters.layers.items():
        if layer.kind == "Neuron":
            updates = layer.neuron_updates.sum(axis=1) / counters.samples
            both = cost("state_read_pj") + cost("state_write_pj")
            found[name] = {"memory": updates * both}
    return found


def ends(table: CostTable) -> tuple[CostTable, ...]:
    """Return the table at the low and at the high end of its constants' published ranges.

    Empty where no constant has one.
    """
    if all(c.low is None and c.high is None for c in table.constants.values()):
        return ()
    return tuple(
        replace(
            table,
            constants={
                name: replace(c, value=c.value if getattr(c, end) is None else getattr(c, end))
                for name, c in table.constants.items()
            },
        )
        for end in ("low", "high")
    )


def has_memory(table: CostTable) -> bool:
    """Whether a table prices memory."""
    return "weight_read_pj" in table.constants
