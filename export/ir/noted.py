"""What a module's neuron layer was given and emitted in its own run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .nodes import Array

Differences: TypeAlias = Literal["error", "warn"]
"""What becomes of a module whose own run and whose graph's differ by more than rounding."""


@dataclass(frozen=True, slots=True)
class Noted:
    """The current that entered a neuron layer and its spikes, each [time, batch, *shape]."""

    current: Array
    spikes: Array
