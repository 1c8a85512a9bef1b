"""A node of a NIR file where it stands: its fields, read and fitted to the layer's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Array, FormatError, Shape
from .nir_discretise import Discretisation
from .nir_structure import Repairs

FLOAT32_ROUNDING = 1e-6
"""Relative; a tau of dt may be a little shorter in the file, which holds float32."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a node stands: its fields, and all that decides what they mean.

    Attributes:
        shape: of what enters. dt: of a step, in the unit of tau.
    """

    name: str
    kind: str
    fields: Mapping[str, Any]
    shape: Shape
    dialect: Discretisation
    dt: float
    repairs: Repairs

    def array(self, key: str) -> Array:
        """Return a field of finite numbers."""
        if key not in self.fields:
            raise FormatError(f"{key} is missing", node=self.name)
        found = np.asarray(self.fields[key])
        if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            raise FormatError(f"{key} holds NaN, infinite or no numbers", node=self.name)
        return found

    def each(self, key: str, default: float | None = None) -> Array:
        """Return a field of one value a neuron, float64; one value where all are equal."""
        if default is not None and key not in self.fields:
            return np.asarray(default, np.float64)
        found = self.array(key)
        if found.shape == self.shape and found.size:
            return compact(found)
        fitted = self._fitted(found)
        if fitted is None:
            raise FormatError(
                f"{key} has shape {found.shape}, what enters has {self.shape}", node=self.name
            )
        self.repairs.note(self.name, "parameters without the layer's full shape, broadcast to it")
        return compact(fitted)

    def _fitted(self, found: Array) -> Array | None:
        """Return the values so that they broadcast: all alike, one a channel, or a batch axis."""
        if found.size == 1:
            return found.reshape(())
        if found.ndim == 1 and self.shape[:1] == found.shape:
            return found.reshape(-1, *(1,) * (len(self.shape) - 1))
        if found.shape == (1, *self.shape):
            return np.asarray(found[0])
        same = found.ndim == len(self.shape)
        if same and all(n in (1, m) for n, m in zip(found.shape, self.shape, strict=True)):
            return found
        return None

    def keep(self, key: str) -> Array:
        """Return what a state with the time constant `key` keeps a step."""
        return self.dialect.keep(self.tau_steps(key))

    def tau_steps(self, key: str) -> Array:
        """Return the time constant `key` in steps."""
        tau = self.each(key)
        if (tau <= 0).any():
            raise FormatError(f"{key} {tau.min()} must be above 0", node=self.name)
        if self.dialect.exponential:
            return tau / self.dt
        if self.dialect.shrinks_tau and (tau < self.dt * (1 - FLOAT32_ROUNDING)).all():
            what = "norse writes tau times dt (its issue 411); divided by dt again"
            self.repairs.note(self.name, what)
            tau = tau / self.dt
        steps: Array = tau / self.dt
        if (steps < 1 - FLOAT32_ROUNDING).any():
            raise FormatError(
                f"{key} {tau.min()} is below dt {self.dt}",
                node=self.name,
                remedy="give a smaller --dt, or the --dialect of the tool that wrote the file",
            )
        return np.maximum(steps, 1.0)

    def r(self) -> Array:
        """Return what multiplies the input, as far as the dialect heeds it."""
        return self.each("r") if self.dialect.uses_r else np.ones(())

    def gain(self, keep: Array) -> Array:
        """Return what multiplies the input of a leaky state that keeps `keep` a step."""
        return self.r() * (1 - keep if self.dialect.normalises else 1)

    def integrating_gain(self) -> Array:
        """Return what multiplies the input of a state without leak."""
        return self.r() * self.dt if self.dialect.uses_r else self.r()

    def leak(self) -> Array | None:
        """Return v_leak where there is one."""
        v_leak = self.each("v_leak", 0.0)
        return v_leak if v_leak.any() else None


def compact(values: Array) -> Array:
    """Return one value where all are equal, as most parameters of full shape are."""
    same = values.size > 0 and (values == values.flat[0]).all()
    return np.asarray(values.flat[0] if same else values, np.float64)
