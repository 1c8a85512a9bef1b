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
        plain_convolutions: convolutions without groups, pools without padding and no Scale.
        long_loops: takes a loop of a neuron and one Linear for a layer of its own, wrongly.
        flat_v_min: IF that cannot fall below -v_threshold.
        current_based, leaky: reads CubaLIF; reads LI.
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
    plain_convolutions: bool = True
    long_loops: bool = False
    flat_v_min: bool = False
    current_based: bool = True
    leaky: bool = False
    schema: str | None = None


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("portable", v_reset=True, plain_convolutions=False, leaky=True),
        Dialect("norse", integrate="none"),
        Dialect("snntorch", lif="r", integrate="long tau", uniform="all", long_loops=True),
        Dialect("spikingjelly", lif="r", integrate="r", compare=">=", uniform="all"),
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
            current_based=False,
            leaky=True,
            schema="1.0.4",
        ),
    )
}
"""By name. `portable` is what all readers of NIR that follow its equations compute alike."""
