"""What readers of NIR make of what the format leaves open: one row a dialect. Data, not code.

Each row was read in the reader's own importer (norse 1.1.0, snntorch 1.0.0, spikingjelly 2.0.0,
sinabs 3.1.3) and is proven by `make interop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..ir.nodes import Compare, Reset

Gain: TypeAlias = Literal["weights", "r", "none", "long tau"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file must be written so that its reader computes what we do.

    Attributes:
        lif: where the tau / dt goes that forward Euler divides by: into the weights (the reader
            takes r as 1), into r, or nowhere (the reader adds currents undivided).
        integrate: the same for IF and its 1 / dt; `long tau`: the reader takes IF for something
            else, so it is written as LIF that keeps all but 2^-40 of v.
        decay: `euler`: 1 - dt / tau; `steps`: exp(-1 / tau), tau in time steps.
        compare, reset: what the reader does, whatever the file says.
        multi_spike: whether v may spend several thresholds in a step.
        v_reset: whether the reader takes v_reset from the file, else it is 0.
        uniform: which neurons (LIF, or all) take one threshold and time constant a layer;
            one_value: LIF's as arrays of one element.
        few_layers: pools without padding and no Scale.
        long_loops: takes a loop of a neuron and one Linear for a layer of its own, wrongly.
        flat_v_min: IF that cannot fall below -v_threshold.
        leaky, integrates: reads LI; reads I.
        split_currents: reads no CubaLIF, which is LI and a neuron behind it.
        least_tau: time constants, in steps, from which on the reader takes LIF.
        depth_first: visits nodes depth first, so that of two ways that meet again one is late
            unless the order of the edges and `nir_order` lead it.
        literal: readouts that integrate are I, what keeps nothing is Threshold, weights without
            a bias are Linear.
        schema: version of nir whose fields are written, where not the current one.
    """

    name: str
    lif: Gain = "weights"
    integrate: Gain = "weights"
    decay: Literal["euler", "steps"] = "euler"
    compare: Compare = ">"
    reset: Reset = "hard"
    multi_spike: bool = False
    v_reset: bool = False
    uniform: Literal["none", "leaky", "all"] = "none"
    one_value: bool = False
    few_layers: bool = True
    long_loops: bool = False
    flat_v_min: bool = False
    leaky: bool = False
    integrates: bool = False
    split_currents: bool = False
    least_tau: float = 1.0
    depth_first: bool = False
    literal: bool = False
    schema: str | None = None


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("portable", v_reset=True, few_layers=False, leaky=True, integrates=True),
        Dialect(
            "literal", v_reset=True, few_layers=False, leaky=True, integrates=True, literal=True
        ),
        Dialect("norse", integrate="none", depth_first=True),
        Dialect("snntorch", lif="r", integrate="long tau", uniform="all", long_loops=True),
        Dialect(
            "spikingjelly",
            lif="r",
            integrate="r",
            compare=">=",
            uniform="all",
            least_tau=1 + 2.0**-20,
        ),
        Dialect(
            "sinabs",
            lif="none",
            integrate="none",
            decay="steps",
            compare=">=",
            reset="soft",
            multi_spike=True,
            uniform="leaky",
            one_value=True,
            flat_v_min=True,
            leaky=True,
            split_currents=True,
            depth_first=True,
            schema="1.0.4",
        ),
    )
}
"""By name. `portable` is what all readers of NIR that follow its equations compute alike;
`literal` says the same by every node type that NIR has, some of which few readers load."""
