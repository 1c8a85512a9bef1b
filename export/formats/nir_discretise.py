"""Dialects of NIR: how each tool turns the differential equations into time steps, as a table.

NIR states `tau dv/dt = (v_leak - v) + r i`, the threshold and, since 1.0.6, v_reset; the rest is
left to the reader. Read in the source of norse 1.1.0, snntorch 1.0.0, spikingjelly 2.0.0, sinabs
3.1.3: each row computes what that tool computes when it loads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..ir import Array, FormatError, UnknownNameError
from ..ir.nodes import Compare, Reset

DEFAULT_DT = 1e-4
"""Seconds a step where neither the user nor the file says: what snntorch has built in."""


@dataclass(frozen=True, slots=True)
class Discretisation:
    """One tool's way from NIR's equations to steps.

    Attributes:
        dt: seconds a step, unless the file or the user says; None: tau counts steps.
        exponential: retention exp(-dt / tau); otherwise forward Euler, 1 - dt / tau.
        uses_r: r multiplies the input; otherwise it is ignored.
        normalises: Euler's dt / tau multiplies the input; otherwise it enters as it is.
        keeps_v_reset: v_reset of the file; otherwise 0.
        bounds_if: v of integrate-and-fire stays above -v_threshold.
        divides: v counts in units of what the input is multiplied by, as snntorch has it.
        delays_spikes: loops delay the spikes before their weights, not the currents behind.
        shrinks_tau: the tool writes tau * dt (norse), which is undone.
        start: where v of a neuron starts: at 0, v_leak or v_reset (which is 0 where a node or the
            tool has none).
        current_leaks: the current of CubaLIF starts at v_leak and decays to it, as v does (norse).
    """

    dt: float | None = DEFAULT_DT
    exponential: bool = False
    uses_r: bool = True
    normalises: bool = True
    keeps_v_reset: bool = True
    reset: Reset = "hard"
    compare: Compare = ">"
    max_spikes_per_step: int = 1
    bounds_if: bool = False
    divides: bool = False
    delays_spikes: bool = False
    shrinks_tau: bool = False
    start: Literal["zero", "v_leak", "v_reset"] = "zero"
    current_leaks: bool = False

    def keep(self, tau_steps: Array) -> Array:
        """Return what a state keeps a step, of tau in steps."""
        return np.exp(-1 / tau_steps) if self.exponential else 1 - 1 / tau_steps

    def __str__(self) -> str:
        scheme = "exponential" if self.exponential else "Euler"
        gain = ", r ignored" * (not self.uses_r)
        several = ", several spikes a step" * (self.max_spikes_per_step > 1)
        return f"{scheme}{gain}, {self.reset} reset, v {self.compare} v_threshold{several}"


MANY = 1 << 15
DIALECTS: dict[str, Discretisation] = {
    "portable": Discretisation(),
    "literal": Discretisation(),  # the same, written by every node type that NIR has
    "subtract": Discretisation(reset="soft"),  # NIR's own equation before 1.0.6
    "exponential": Discretisation(exponential=True),
    "norse": Discretisation(
        1e-3,
        uses_r=False,
        keeps_v_reset=False,
        shrinks_tau=True,
        start="v_leak",
        current_leaks=True,
    ),
    "snntorch": Discretisation(keeps_v_reset=False, divides=True, delays_spikes=True),
    "spikingjelly": Discretisation(compare=">=", start="v_reset"),
    "sinabs": Discretisation(
        None,
        exponential=True,
        uses_r=False,
        normalises=False,
        reset="soft",
        compare=">=",
        max_spikes_per_step=MANY,
        bounds_if=True,
    ),
}


def dialect_named(name: str) -> Discretisation:
    """Return a dialect by name.

    Raises:
        UnknownNameError: naming the ones there are.
    """
    if name not in DIALECTS:
        raise UnknownNameError.of("dialect", name, DIALECTS)
    return DIALECTS[name]


def step_of(name: str, given: float | None, found: object) -> tuple[float, str]:
    """Return dt in the unit of tau, and where it is from: given, file, assumed or steps.

    Args:
        given: by the user. found: what the file's metadata holds, or None.

    Raises:
        FormatError: for a dt that is no number above 0, or one where tau counts steps.
    """
    usual = dialect_named(name).dt
    if usual is None:
        if given not in (None, 1):
            raise FormatError(f"dt {given}: {name} counts tau in steps", node="dt")
        return 1.0, "steps"
    value, source = (given, "given") if given is not None else (found, "file")
    if value is None:
        value, source = usual, "assumed"
    try:
        step = float(np.asarray(value).reshape(-1)[0])
    except (TypeError, ValueError, IndexError):
        step = float("nan")
    if not np.isfinite(step) or step <= 0:
        raise FormatError(f"dt {step} must be above 0 seconds", node="dt")
    return step, source


def told(metadata: Mapping[str, Any]) -> str:
    """Return how a file was read, from the metadata of its graph, in a line for people."""
    name, step, source = metadata["dialect"], metadata["dt"], metadata["dt_from"]
    tau = "tau in steps" if source == "steps" else f"dt {step:g} s ({source})"
    version = f"NIR {metadata['nir_version']}" if metadata["nir_version"] else "NIR"
    return f"{version}, dialect {name} ({dialect_named(name)}), {tau}"
