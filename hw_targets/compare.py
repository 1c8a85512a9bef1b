"""Compare: the spiking network beside the same network as a quantised ANN, on one cost table.

The ANN has the same weights and shapes, runs once an inference and codes an activation in
b = ceil(log2(T + 1)) bits, enough for the spike counts of T steps (Yan et al., arXiv 2409.08290).

    compute  SNN: e_AC * SOPs + e_MAC * MACs of analog inputs    ANN: e_MAC * dense MACs
    memory   by dataflow, potentials of 32 bits, activations of b bits, an analog input of 8:
      layer  SNN: a weight an operation; each potential read and written once a step
      event  SNN: a weight an operation; the potential read and written at every SOP, as an
             event-driven core without a local accumulator must (Dampfhoffer et al., 2023), and once
             a step where the neuron leaks, has a bias or an analog input
      both   SNN: an input value an analog MAC, the sums of an analog layer kept and read each
             step, each spike map (a bit a neuron) written and read once a step
             ANN: a weight and an activation a MAC; each activation written once
    weights  both fetch each weight from DRAM once an inference

SOPs that neurons cause grow with their spike rate; those that the network's input causes, and the
rest, do not. So the rate at which both cost the same is

    break-even = rate * (ANN - SNN without those SOPs) / (what those SOPs cost the SNN)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any, Literal, TypeAlias

from ..export.ir import (
    WEIGHTS,
    Graph,
    InputError,
    MatMul,
    Neuron,
    UnknownNameError,
    analog_values,
    dense_macs,
)
from ..export.ir.printed import Printed, aligned
from ..sim.counters import Counters
from .cost_operations import Conventions, ends, has_memory, kept, operations, refuse_idle
from .foreign_counts import refuse_foreign
from .reach import sources_into, weights_into
from .target import Constant, CostTable, Target

Dataflow: TypeAlias = Literal["compute", "layer", "event"]
STATE_BITS = 32
INPUT_BITS = 8
METHODS: tuple[tuple[str, Dataflow, str], ...] = (
    ("fp32", "compute", "4.6 / 0.9 pJ: usual in the SNN literature"),
    ("int32", "compute", "3.1 / 0.1 pJ: arXiv 2511.18542"),
    ("int8", "compute", "0.23 / 0.03 pJ: int8 arithmetic alone"),
    ("int8-memory", "layer", "int8 and SRAM: potentials stay at hand during a step"),
    ("int8-memory", "event", "int8 and SRAM: potentials move at every event"),
)
"""Published ways to count: cost table of generic-45nm, what moves, and who counts so."""
DEFAULT = "int8-memory/layer"


@dataclass(frozen=True, slots=True)
class Method:
    """One way to count, and what comes out.

    Attributes:
        name: table/dataflow. snn_uj, ann_uj: per inference.
        break_even_spike_rate: mean rate at which both cost the same; 0 where the ANN is cheaper
            than the SNN without any spike, None where the network has no spiking input.
    """

    name: str
    about: str
    snn_uj: float
    ann_uj: float
    break_even_spike_rate: float | None
    constants: tuple[Constant, ...]
    snn_uj_range: tuple[float, float] | None = None
    ann_uj_range: tuple[float, float] | None = None

    @property
    def undecided(self) -> bool:
        """Whether the published ranges of the constants, moved together, turn the winner."""
        if self.snn_uj_range is None or self.ann_uj_range is None:
            return False
        ends = zip(self.snn_uj_range, self.ann_uj_range, strict=True)
        return len({snn < ann for snn, ann in ends}) > 1

    def to_json(self) -> dict[str, Any]:
        """Return the method as JSON-able data."""
        shown = ("name", "about", "snn_uj", "ann_uj", "break_even_spike_rate")
        constants = [constant.to_json() for constant in self.constants]
        ranges = {
            "snn_uj_range": _listed(self.snn_uj_range),
            "ann_uj_range": _listed(self.ann_uj_range),
        }
        found = {k: getattr(self, k) for k in shown}
        return {**found, **ranges, "undecided": self.undecided, "constants": constants}


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Printed):
    """The comparison by all methods; the verdict is by the chosen one."""

    chosen: Method
    methods: tuple[Method, ...]
    time_steps: int
    activation_bits: int
    spike_rate: float
    ann_macs: int
    conventions: tuple[str, ...]
    neurons_drive: bool = True

    @property
    def verdict(self) -> str:
        """One sentence."""
        one, two = self.chosen.snn_uj, self.chosen.ann_uj
        wins = "SNN" if one < two else "ANN"
        ratio = max(one, two) / max(min(one, two), 1e-30)
        rate = self.chosen.break_even_spike_rate
        if not self.neurons_drive:
            turn = "no layer but the first receives spikes"
        elif rate is None:
            turn = "no spike was counted, so there is no rate to scale"
        elif rate <= 0:
            turn = "no spike rate would turn that, the rest of the SNN alone costs more"
        elif rate >= 1:
            turn = "the SNN would be the cheaper at any spike rate"
        else:
            turn = f"the SNN is the cheaper below a mean spike rate of {100 * rate:.2f} %"
        each = (
            f"{one:.4g} uJ for the SNN of {self.time_steps} steps at a spike rate of "
            f"{100 * self.spike_rate:.2f} %, {two:.4g} uJ for the {self.activation_bits}-bit ANN"
        )
        if self.chosen.undecided:
            who = f"By {self.chosen.name} it is undecided within the ranges of the constants"
            return f"{who}: {each}; {turn}."
        who = f"By {self.chosen.name} the {wins} needs {ratio:.2f} times less"
        return f"{who}: {each}; {turn}."

    def __str__(self) -> str:
        rows = [["method", "SNN uJ", "ANN uJ", "break-even spike rate"]]
        for method in self.methods:
            rate = method.break_even_spike_rate
            share = "-" if rate is None else f"{100 * rate:.2f} %"
            rows.append([method.name, f"{method.snn_uj:.4g}", f"{method.ann_uj:.4g}", share])
        return "\n".join([*aligned(rows), self.verdict])

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON-able data."""
        return {
            "method": self.chosen.name,
            "snn_uj": self.chosen.snn_uj,
            "ann_uj": self.chosen.ann_uj,
            "break_even_spike_rate": self.chosen.break_even_spike_rate,
            "verdict": self.verdict,
            "time_steps": self.time_steps,
            "activation_bits": self.activation_bits,
            "spike_rate": self.spike_rate,
            "ann_macs": self.ann_macs,
            "snn_uj_range": _listed(self.chosen.snn_uj_range),
            "ann_uj_range": _listed(self.chosen.ann_uj_range),
            "undecided": self.chosen.undecided,
            "methods": [method.to_json() for method in self.methods],
            "conventions": list(self.conventions),
            "not_modelled": list(NOT_MODELLED),
        }


def _listed(ends: tuple[float, float] | None) -> list[float] | None:
    return None if ends is None else list(ends)


NOT_MODELLED = (
    "accuracy of the ANN",
    "zeros that an ANN may skip",
    "addresses of events, control, communication, static power",
    "operands narrower than the table's",
)


def activation_bits(time_steps: int) -> int:
    """Return ceil(log2(T + 1)): the bits of an activation that says how often of T it spiked."""
    return ceil(log2(time_steps + 1))


def compare(
    graph: Graph,
    counters: Counters,
    target: Target,
    *,
    method: str = DEFAULT,
    conventions: Conventions | None = None,
) -> Comparison:
    """Return the comparison of a run of `graph` with its quantised ANN.

    Args:
        target: whose cost tables price operations (`generic-45nm`). method: table/dataflow; the
            others are computed beside it.

    Raises:
        UnknownNameError: for an unknown method. InputError: for counters of another graph.
    """
    refuse_foreign(graph, counters)
    how = conventions or Conventions()
    found = [
        _method(graph, counters, table, flow, about, how)
        for name, flow, about in METHODS
        if (table := target.costs.get(name)) is not None and table.model == "operations"
    ]
    if not found:
        remedy = "choose a target that does, e.g. generic-45nm"
        raise InputError(f"{target.name} prices no operations", node="--target", remedy=remedy)
    prices = next(t for t in target.costs.values() if t.model == "operations")
    refuse_idle(how, graph, counters, prices)
    chosen = next((m for m in found if m.name == method), None)
    if chosen is None:
        raise UnknownNameError.of("method", method, [m.name for m in found])
    return Comparison(
        chosen,
        tuple(found),
        counters.time_steps,
        activation_bits(counters.time_steps),
        _rate(counters),
        sum(macs for _, macs, _ in _ann(graph)),
        tuple(how),
        bool(_driven_by_neurons(graph)),
    )


def _driven_by_neurons(graph: Graph) -> set[str]:
    """Return the weight and MatMul nodes that receive spikes of neurons."""
    return {
        name
        for name in graph.of_kind(*WEIGHTS, MatMul)
        if any(isinstance(graph.nodes[s], Neuron) for s in sources_into(graph, name))
    }


def _rate(counters: Counters) -> float:
    rate = counters.totals()["spike_rate"]
    return 0.0 if rate is None else float(rate)


def _ann(graph: Graph) -> Iterator[tuple[str, int, int]]:
    """Yield each layer of the ANN: name, dense MACs, weights."""
    for name, node in graph.of_kind(*WEIGHTS, MatMul).items():
        weights = int(node.weight.size) if isinstance(node, WEIGHTS) else 0
        yield name, dense_macs(graph, name), weights


def _method(
    graph: Graph,
    counters: Counters,
    table: CostTable,
    flow: Dataflow,
    about: str,
    how: Conventions,
) -> Method:
    bits = activation_bits(counters.time_steps)
    snn = [sum(_snn_pj(graph, counters, one, flow, how)) for one in (table, *ends(table))]
    ann = [_ann_pj(graph, one, flow, bits) for one in (table, *ends(table))]
    fixed, spiking = _snn_pj(graph, counters, table, flow, how)
    turn = max(0.0, _rate(counters) * (ann[0] - fixed) / spiking) if spiking > 0 else None
    ranged = len(snn) > 1
    return Method(
        f"{table.name}/{flow}" if has_memory(table) else table.name,
        about,
        snn[0] * 1e-6,
        ann[0] * 1e-6,
        turn,
        tuple(table.constants.values()),
        (snn[1] * 1e-6, snn[2] * 1e-6) if ranged else None,
        (ann[1] * 1e-6, ann[2] * 1e-6) if ranged else None,
    )


def _snn_pj(
    graph: Graph, counters: Counters, table: CostTable, flow: Dataflow, how: Conventions
) -> tuple[float, float]:
    """Return what does not grow with the neurons' spike rate, and what does, in pJ an inference."""
    cost = table.value
    both = cost("state_read_pj") + cost("state_write_pj")
    weight = cost("weight_read_pj") if flow != "compute" else 0.0
    state = both if flow == "event" else 0.0
    driven, analog = _driven_by_neurons(graph), _analog_layers(graph)
    fixed = spiking = 0.0
    for name, ops in operations(graph, counters, how).items():
        macs, acs = float(ops["macs"].sum()), float(ops["acs"].sum())
        pj = macs * (cost("mac_pj") + weight) + acs * (cost("ac_pj") + weight)
        if name not in analog:
            pj += (macs + acs) * state
        if name in driven and name not in analog:
            spiking += pj
        else:
            fixed += pj
    if flow == "compute":
        return fixed, spiking
    return fixed + _snn_memory_pj(graph, counters, cost, flow, how), spiking


def _snn_memory_pj(
    graph: Graph, counters: Counters, cost: Any, flow: Dataflow, how: Conventions
) -> float:
    """Return what memory takes whatever spikes: states, spike maps, analog inputs and weights."""
    read, write, steps = cost("state_read_pj"), cost("state_write_pj"), counters.time_steps
    found = sum(weights for _, _, weights in _ann(graph)) * cost("dram_read_pj")
    analog = _analog_layers(graph)
    for name, neuron in graph.neurons.items():
        size = prod(neuron.shape)
        if flow == "layer" or _moves_each_step(graph, name, analog):
            found += steps * size * (read + write)
        found += steps * size * (read + write) / STATE_BITS
    if graph.input_name not in analog_values(graph):
        found += steps * prod(graph.input.shape) * read / STATE_BITS
    ops = operations(graph, counters, how)
    for name in analog:
        found += float(ops[name]["macs"].sum()) * read * INPUT_BITS / STATE_BITS
        if kept(counters.layers[name], how):
            found += prod(graph.shapes[name]) * (write + steps * read)
    return float(found)


def _moves_each_step(graph: Graph, name: str, analog_layers: set[str]) -> bool:
    """Whether a neuron's potential moves without an event: a leak, a bias, an analog input."""
    node = graph.neurons[name]
    leaks = any(v is not None and bool(v.any()) for v in (node.dv, node.leak_subtract, node.bias))
    fades = node.beta is not None and bool((node.beta != 1).any())
    analog = set(weights_into(graph, name)) & analog_layers
    return leaks or fades or node.current_based or bool(analog)


def _analog_layers(graph: Graph) -> set[str]:
    """Return the weight nodes that receive analog values."""
    kinds = analog_values(graph)
    return {n for n in graph.of_kind(*WEIGHTS, MatMul) if set(graph.inputs(n)) & kinds}


def _ann_pj(graph: Graph, table: CostTable, flow: Dataflow, bits: int) -> float:
    """Return what the quantised ANN costs an inference, in pJ."""
    cost = table.value
    macs = sum(macs for _, macs, _ in _ann(graph))
    if flow == "compute":
        return macs * cost("mac_pj")
    share = bits / STATE_BITS
    analog = _analog_layers(graph)
    reads = sum(m * (INPUT_BITS / STATE_BITS if n in analog else share) for n, m, _ in _ann(graph))
    outputs = sum(prod(node.shape) for node in graph.neurons.values())
    weights = sum(weights for _, _, weights in _ann(graph))
    found = macs * (cost("mac_pj") + cost("weight_read_pj")) + reads * cost("state_read_pj")
    return found + outputs * cost("state_write_pj") * share + weights * cost("dram_read_pj")
