"""The constants of a LIF neuron."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ...export.ir.errors import InputError
from ..surrogate import Rectangle, Surrogate
from .spike import Compare

Reset: TypeAlias = Literal["hard", "soft"]


@dataclass(frozen=True, slots=True)
class LIFParameters:
    """The constants of a LIF neuron; tau = inf makes it an IF neuron.

    Raises:
        InputError: for tau below 1, `decay_input` without a leak, a threshold or reset that is
            no finite number, or a `reset`/`compare` that is not known.
    """

    tau: float = 2.0
    v_threshold: float = 1.0
    v_reset: float = 0.0
    reset: Reset = "hard"
    compare: Compare = ">"
    decay_input: bool = False
    surrogate: Surrogate = field(default_factory=Rectangle)

    def __post_init__(self) -> None:
        if not self.tau >= 1:
            raise InputError(f"tau {self.tau}, allowed 1 and up", node="neuron")
        if self.decay_input and math.isinf(self.tau):
            raise InputError("decay_input needs a finite tau", node="neuron")
        if not (math.isfinite(self.v_threshold) and math.isfinite(self.v_reset)):
            raise InputError("v_threshold and v_reset must be finite", node="neuron")
        for name, value, allowed in (
            ("reset", self.reset, ("hard", "soft")),
            ("compare", self.compare, (">", ">=")),
        ):
            if value not in allowed:
                raise InputError(f"{name} {value!r}, allowed {' or '.join(allowed)}", node="neuron")

    @property
    def beta(self) -> float:
        """The share of v kept per step: 1 - 1/tau."""
        return 1.0 - 1.0 / self.tau
