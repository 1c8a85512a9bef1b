"""The stateful nodes of NIR in our graph, in steps as a dialect makes them.

tau dv/dt = (v_leak - v) + r i; tau_syn dI/dt = -I + w_in S; integrate-and-fire: dv/dt = r i. In
steps, with a what a state keeps (`Discretisation.keep`): v = a v + (1 - a)(v_leak + r i),
I = a I + (1 - a) w_in S, integrate-and-fire v += dt r i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..ir import Array, Neuron, Node, Scale
from .nir_site import Site, compact


@dataclass(frozen=True, slots=True)
class Integrator:
    """y[t] = keep y[t-1] + x[t] + bias: a state that never spikes (I, LI, CubaLI)."""

    keep: Array
    bias: Array | None = None

    @property
    def kind(self) -> str:
        """As nodes have it."""
        return type(self).__name__


Part: TypeAlias = Node | Integrator


def _scaled(gain: Array) -> list[Part]:
    """A factor on the current, left out where it is 1."""
    return [] if np.allclose(gain, 1, rtol=1e-12, atol=0) else [Scale(compact(gain))]


def _threshold(site: Site) -> list[Part]:
    """z = v > threshold of what enters: a neuron that keeps nothing."""
    return [
        Neuron(site.shape, site.each("threshold"), beta=np.zeros(()), compare=site.dialect.compare)
    ]


def _spiking(
    site: Site, keep: Array, gain: Array, leak: Array | None, alpha: Array | None = None
) -> list[Part]:
    """A neuron whose input `gain` multiplies; where that is positive, v counts in units of it."""
    unit = np.ones(()) if (gain <= 0).any() else compact(gain)
    membrane = _membrane(site, unit)
    bias = None if leak is None else compact((1 - keep) * leak / unit)
    membrane |= {"beta": compact(keep), "bias": bias}
    if alpha is not None:
        membrane["alpha"] = compact(alpha)
    return [*_scaled(gain / unit), Neuron(site.shape, **membrane)]


def _membrane(site: Site, unit: Array) -> dict[str, Any]:
    dialect = site.dialect
    threshold = site.each("v_threshold")
    if dialect.reset == "hard" and dialect.keeps_v_reset and "v_reset" not in site.fields:
        site.repairs.note(
            site.name,
            "no v_reset (nir before 1.0.6), reset to 0 as nir reads it today; "
            "its equation then subtracted v_threshold, as the dialect subtract does",
        )
    hard = dialect.reset == "hard" and dialect.keeps_v_reset
    v_reset = site.each("v_reset", 0.0) if hard else np.zeros(())
    low = site.kind == "IF" and dialect.bounds_if
    return {
        "v_threshold": compact(threshold / unit),
        "v_reset": compact(v_reset / unit),
        "v_init": compact(_start(site, v_reset) / unit),
        "v_scale": None if (unit == 1).all() else unit,
        "v_min": compact(-threshold / unit) if low else None,
        "reset": dialect.reset,
        "compare": dialect.compare,
        "max_spikes_per_step": dialect.max_spikes_per_step,
    }


def _start(site: Site, v_reset: Array) -> Array:
    """Return v before the first step, as the tool's importer has it."""
    if site.dialect.start == "v_leak":
        return site.each("v_leak", 0.0)
    return v_reset if site.dialect.start == "v_reset" else np.zeros(())


def _if(site: Site) -> list[Part]:
    return _spiking(site, np.ones(()), site.integrating_gain(), None)


def _lif(site: Site) -> list[Part]:
    """With r = 1, Euler is v + (v_leak + i - v) / tau, computed as peers compute it."""
    dialect, leak = site.dialect, site.leak()
    plain = not dialect.exponential and not dialect.divides and (site.r() == 1).all()
    if plain:
        tau = compact(site.tau_steps("tau"))
        return [Neuron(site.shape, tau=tau, bias=leak, **_membrane(site, np.ones(())))]
    keep = site.keep("tau")
    return _spiking(site, keep, site.gain(keep), leak)


def _cuba(site: Site) -> tuple[Array, Array, Array, Array]:
    """Return what current and membrane keep, and what multiplies the input of each."""
    alpha, keep = site.keep("tau_syn"), site.keep("tau_mem")
    drive = site.each("w_in", 1.0) * (1 - alpha if site.dialect.normalises else 1)
    # norse heeds r here, though it ignores it in LIF.
    r = site.each("r") if site.dialect.uses_r or site.dialect.shrinks_tau else np.ones(())
    return alpha, keep, drive, r * (1 - keep if site.dialect.normalises else 1)


def _cuba_lif(site: Site) -> list[Part]:
    alpha, keep, drive, gain = _cuba(site)
    leak = site.leak()
    if leak is not None and site.dialect.current_leaks:
        # A current that starts at v_leak and decays to it is one from 0 to 0, and v_leak.
        leak = leak * (1 + site.each("r"))
    return _spiking(site, keep, drive * gain, leak, alpha)


def _integrator(site: Site) -> list[Part]:
    return [*_scaled(site.integrating_gain()), Integrator(np.ones(()))]


def _leaky(site: Site) -> list[Part]:
    keep, leak = site.keep("tau"), site.leak()
    bias = None if leak is None else compact((1 - keep) * leak)
    return [*_scaled(site.gain(keep)), Integrator(compact(keep), bias)]


def _cuba_leaky(site: Site) -> list[Part]:
    (alpha, keep, drive, gain), leak = _cuba(site), site.leak()
    bias = None if leak is None else compact((1 - keep) * leak)
    current = [*_scaled(drive), Integrator(compact(alpha))]
    return [*current, *_scaled(gain), Integrator(compact(keep), bias)]


STATEFUL: dict[str, Callable[[Site], list[Part]]] = {
    "Threshold": _threshold,
    "I": _integrator,
    "IF": _if,
    "LI": _leaky,
    "LIF": _lif,
    "CubaLI": _cuba_leaky,
    "CubaLIF": _cuba_lif,
}
