"""Compare: the spiking network beside the same network as a quantised ANN, on one cost table.

The ANN has the same weights and shapes, runs once an inference and codes an activation in
b = ceil(log2(T + 1)) bits, enough for the spike counts of T steps (Yan et al., arXiv 2409.08290).

    compute  SNN: e_AC * SOPs + e_MAC * MACs of analog inputs    ANN: e_MAC * dense MACs
    memory   by dataflow, potentials of 32 bits, activations of b bits:
      layer  SNN: a weight an operation; each potential read and written once a step
      event  SNN: a weight an operation; the potential read and written at every SOP too, as an
             event-driven core without a local accumulator must (Dampfhoffer et al., 2023)
             ANN, both: a weight and an activation a MAC; each activation written once
    weights  both fetch each weight from DRAM once an inference

SOPs grow with the spike rate and the rest does not, so the rate at which both cost the same is

    break-even = rate * (ANN - SNN without SOPs) / (what SOPs cost the SNN)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any, Literal, TypeAlias

from ..export.ir import WEIGHTS, Graph, InputError, MatMul, dense_macs
from ..sim.counters import Counters
from .cost_operations import Conventions, has_memory, operations
from .target import Constant, CostTable, Target

Dataflow: TypeAlias = Literal["compute", "layer", "event"]
STATE_BITS = 32
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

    def to_json(self) -> dict[str, Any]:
        """Return the method as JSON-able data."""
        shown = ("name", "about", "snn_uj", "ann_uj", "break_even_spike_rate")
        constants = [constant.to_json() for constant in self.constants]
        return {**{k: getattr(self, k) for k in shown}, "constants": constants}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison by all methods; the verdict is by the chosen one."""

    chosen: Method
    methods: tuple[Method, ...]
    time_steps: int
    activation_bits: int
    spike_rate: float
    ann_macs: int
    conventions: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """One sentence."""
        one, two = self.chosen.snn_uj, self.chosen.ann_uj
        wins = "SNN" if one < two else "ANN"
        ratio = max(one, two) / max(min(one, two), 1e-30)
        rate = self.chosen.break_even_spike_rate
        if rate is None:
            turn = "no layer but the first receives spikes"
        elif rate <= 0:
            turn = "no spike rate would turn that, the rest of the SNN alone costs more"
        elif rate >= 1:
            turn = "the SNN would be the cheaper at any spike rate"
        else:
            turn = f"the SNN is the cheaper below a mean spike rate of {100 * rate:.2f} %"
        return (
            f"By {self.chosen.name} the {wins} needs {ratio:.2f} times less: {one:.4g} uJ for the "
            f"SNN of {self.time_steps} steps at a spike rate of {100 * self.spike_rate:.2f} %, "
            f"{two:.4g} uJ for the {self.activation_bits}-bit ANN; {turn}."
        )

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
            "methods": [method.to_json() for method in self.methods],
            "conventions": list(self.conventions),
            "not_modelled": list(NOT_MODELLED),
        }


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
        InputError: for an unknown method.
    """
    how = conventions or Conventions()
    found = [
        _method(graph, counters, table, flow, about, how)
        for name, flow, about in METHODS
        if (table := target.costs.get(name)) is not None
    ]
    chosen = next((m for m in found if m.name == method), None)
    if chosen is None:
        names = ", ".join(m.name for m in found) or f"none, {target.name} prices no operations"
        raise InputError(f"no method {method!r}", node="--method", remedy=f"known: {names}")
    return Comparison(
        chosen,
        tuple(found),
        counters.time_steps,
        activation_bits(counters.time_steps),
        _rate(counters),
        sum(macs for _, macs, _ in _ann(graph)),
        tuple(how),
    )


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
    fixed, spiking = _snn_pj(graph, counters, table, flow, how)
    ann = _ann_pj(graph, table, flow, activation_bits(counters.time_steps))
    rate = _rate(counters)
    turn = max(0.0, rate * (ann - fixed) / spiking) if spiking > 0 else None
    return Method(
        f"{table.name}/{flow}" if has_memory(table) else table.name,
        about,
        (fixed + spiking) * 1e-6,
        ann * 1e-6,
        turn,
        tuple(table.constants.values()),
    )


def _snn_pj(
    graph: Graph, counters: Counters, table: CostTable, flow: Dataflow, how: Conventions
) -> tuple[float, float]:
    """Return what does not grow with the spike rate, and what does, in pJ an inference."""
    ops = operations(graph, counters, how).values()
    macs = sum(float(layer["macs"].sum()) for layer in ops)
    acs = sum(float(layer["acs"].sum()) for layer in ops)
    cost = table.value
    both = cost("state_read_pj") + cost("state_write_pj")
    a_mac = cost("mac_pj") + (cost("weight_read_pj") if flow != "compute" else 0)
    an_ac = cost("ac_pj") + (cost("weight_read_pj") if flow != "compute" else 0)
    fixed = macs * a_mac
    if flow == "layer":
        fixed += counters.total("neuron_updates") / counters.samples * both
    if flow == "event":
        an_ac += both
    if flow != "compute":
        fixed += sum(weights for _, _, weights in _ann(graph)) * cost("dram_read_pj")
    return fixed, acs * an_ac


def _ann_pj(graph: Graph, table: CostTable, flow: Dataflow, bits: int) -> float:
    """Return what the quantised ANN costs an inference, in pJ."""
    cost = table.value
    macs = sum(macs for _, macs, _ in _ann(graph))
    if flow == "compute":
        return macs * cost("mac_pj")
    share = bits / STATE_BITS
    a_mac = cost("mac_pj") + cost("weight_read_pj") + cost("state_read_pj") * share
    outputs = sum(prod(node.shape) for node in graph.neurons.values())
    weights = sum(weights for _, _, weights in _ann(graph))
    return macs * a_mac + outputs * cost("state_write_pj") * share + weights * cost("dram_read_pj")
