"""The stateful nodes of a plain NIR file, as a dialect's reader computes them in steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ir import Array, Neuron, Shape
from .nir_dialect import Dialect
from .nir_rewrite import leaks

LONG = 2.0**40
"""Time steps of a tau that loses nothing of v in float32; a power of two, so that r undoes it."""
LEAST_RETENTION = 1e-30
Parts = dict[str, Any]
"""NIR nodes by name, each feeding the next."""


@dataclass(frozen=True, slots=True)
class StateWriter:
    """Writes states in a dialect, in steps of dt seconds."""

    nir: Any
    dt: float
    dialect: Dialect

    def neuron(self, name: str, node: Neuron, *, owned: bool) -> Parts:
        """Return a folded neuron.

        Args:
            owned: whether the weights before it carry its gain; otherwise r does.
        """
        common = {"v_threshold": np.asarray(node.v_threshold)}
        if self.dialect.literal and keeps_nothing(node):
            return {name: self.nir.Threshold(threshold=full(node.v_threshold, node.shape))}
        common["v_reset"] = np.asarray(node.v_reset)
        if node.alpha is not None and not self.dialect.split_currents:
            return {name: self._current_based(node, common)}
        before: Parts = {}
        if node.alpha is not None:
            before = {f"{name}.current": self.leaky(node.alpha, node.shape)}
            node = replace(node, alpha=None)
        return {**before, name: self._membrane(node, common, owned=owned)}

    def _membrane(self, node: Neuron, common: dict[str, Array], *, owned: bool) -> Any:
        dt, dialect = self.dt, self.dialect
        own = gain(node, dt, dialect)
        if not leaks(node) and dialect.integrate != "long tau":
            r = 1 / dt if dialect.integrate == "r" else np.ones(1) if owned else own
            return self._filled(self.nir.IF, {"r": r, **common}, node.shape)
        assert node.beta is not None
        tau = self._tau(node.beta)
        r = tau / dt if dialect.lif == "r" else np.ones(1) if owned else own
        return self._filled(
            self.nir.LIF, {"tau": tau, "r": r, "v_leak": 0.0, **common}, node.shape, one=True
        )

    def leaky(self, keep: Array, shape: Shape) -> Any:
        """Return y[t] = keep y[t-1] + x[t]."""
        if (np.asarray(keep) == 1).all() and self.dialect.integrates:
            return self.nir.I(r=full(1 / self.dt, shape))
        undone = np.ones(1) if self.dialect.lif == "none" else steps_of(keep)
        fields = {"tau": self._tau(np.asarray(keep)), "r": undone, "v_leak": 0.0}
        return self._filled(self.nir.LI, fields, shape, one=True)

    def _filled(self, kind: Any, fields: dict[str, Any], shape: Shape, *, one: bool = False) -> Any:
        """Return a node whose fields have the shape of the layer, or of one element."""
        arrays = {key: np.asarray(value) for key, value in fields.items()}
        even = all((value == value.flat[0]).all() for value in arrays.values())
        if one and self.dialect.one_value and even:
            return kind(**{key: full(value.flat[0], (1,)) for key, value in arrays.items()})
        return kind(**{key: full(value, shape) for key, value in arrays.items()})

    def _tau(self, keep: Array) -> Array:
        """Return the tau of a retention: in seconds, or in time steps where readers take those."""
        if self.dialect.decay == "euler":
            return steps_of(keep) * self.dt
        kept = np.maximum(np.asarray(keep, np.float64), LEAST_RETENTION)
        return np.asarray(1 / np.maximum(-np.log(kept), 1 / LONG))

    def _current_based(self, node: Neuron, common: dict[str, Array]) -> Any:
        """I += dt/tau_syn (-I + w_in S) and v += dt/tau_mem (-v + r I), r and w_in undoing both."""
        assert node.alpha is not None and node.beta is not None
        w_in, r = steps_of(node.alpha), steps_of(node.beta)
        taus = {"tau_syn": w_in * self.dt, "tau_mem": r * self.dt}
        fields = {**taus, "w_in": w_in, "r": r, "v_leak": 0.0, **common}
        return self._filled(self.nir.CubaLIF, fields, node.shape)


def full(values: Any, shape: tuple[int, ...]) -> Array:
    """Return values as float32 of the whole shape of a layer."""
    found: Array = np.broadcast_to(np.asarray(values, np.float32), shape).copy()
    return found


def steps_of(keep: Array) -> Array:
    """Return tau / dt = 1 / (1 - keep); a keep of 1 has none and takes a very long one."""
    return np.asarray(1 / np.maximum(1 - np.asarray(keep, np.float64), 1 / LONG))


def keeps_nothing(node: Neuron) -> bool:
    """Whether a folded neuron compares what enters with its threshold, and that is all."""
    plain = node.alpha is None and node.beta is not None and not node.beta.any()
    bounded = node.v_min is not None and bool((node.v_min > 0).any())
    once = node.max_spikes_per_step == 1 and not node.refractory_steps
    return plain and once and not bounded and node.reset != "soft_after_decay"


def gain(node: Neuron, dt: float, dialect: Dialect) -> Array:
    """Return what a dialect's reader divides currents by: tau / dt, 1 / dt for IF, or 1."""
    assert node.beta is not None
    threshold = dialect.literal and keeps_nothing(node)
    if threshold or (node.alpha is not None and not dialect.split_currents):
        return np.ones(())
    if not leaks(node):
        return np.asarray(1 / dt if dialect.integrate == "weights" else 1.0)
    found = steps_of(node.beta) if dialect.lif == "weights" else np.ones(())
    return np.asarray(found.flat[0] if (found == found.flat[0]).all() else found)
