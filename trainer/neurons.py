"""Multi-step spiking neurons as modules: LIF, IF, and MixedLIF with its two paths.

Inputs and outputs are [T, B, ...], time first; state starts at rest in every call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from ..export.ir.arguments import checked
from .arguments import NEURON
from .functional.fused_norm import fused_norm_lif
from .functional.lif import lif, mixed_lif
from .functional.parameters import LIFParameters, Reset
from .functional.spike import Compare
from .surrogate import SurrogateLike, create

if TYPE_CHECKING:
    from ..export.ir import Neuron


class LIF(nn.Module):
    """Leaky integrate-and-fire: the spikes of Path A (`functional.lif` has the equations).

    Args:
        tau: time constant in steps; v keeps 1 - 1/tau of itself per step.
        v_threshold: threshold; v_reset: value after a spike under hard reset.
        surrogate: `rectangle` (with `width`), `sigmoid`, `atan` (with `alpha`), or an object.
        reset: `hard` or `soft`, through a detached gate. compare: `>` or `>=`.
        decay_input: v += (x - v) / tau.

    Raises:
        InputError, UnknownNameError: for values outside their range.
    """

    multi_step: ClassVar[bool] = True

    @checked(NEURON)
    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float = 0.0,
        *,
        surrogate: SurrogateLike = "rectangle",
        width: float | None = None,
        alpha: float | None = None,
        reset: Reset = "hard",
        compare: Compare = ">",
        decay_input: bool = False,
    ) -> None:
        super().__init__()
        self.parameters_of_step = LIFParameters(
            tau=tau,
            v_threshold=v_threshold,
            v_reset=v_reset,
            reset=reset,
            compare=compare,
            decay_input=decay_input,
            surrogate=create(surrogate, width=width, alpha=alpha),
        )

    @property
    def mixed(self) -> bool:
        """Whether the second half of the samples takes Path B."""
        return False

    def forward(
        self, x: Tensor, norm: nn.BatchNorm2d | None = None, time_steps: int | None = None
    ) -> Tensor:
        """Return [T, B, ...] for currents [T, B, ...]: spikes, and Path B for half where `mixed`.

        Args:
            norm: a BatchNorm to apply first, which `can_fuse_norm` takes: both run as one.
            time_steps: T where x [1, B, ...] is one frame for every step; goes with `norm`.
        """
        p = self.parameters_of_step
        if norm is not None:
            path_a = x.shape[1] // 2 if self.mixed else x.shape[1]
            return fused_norm_lif(x, norm, p, time_steps or len(x), path_a)
        return mixed_lif(x, p) if self.mixed else lif(x, p)

    def to_node(self, shape: tuple[int, ...]) -> Neuron:
        """Return the float-level neuron of Path A over a map of `shape` (no time, no batch)."""
        import numpy as np

        from ..export.ir import Neuron

        p = self.parameters_of_step
        return Neuron(
            shape=shape,
            v_threshold=np.asarray(p.v_threshold),
            v_reset=np.asarray(p.v_reset),
            v_init=np.asarray(0),
            beta=None if p.decay_input else np.asarray(p.beta),
            tau=np.asarray(p.tau) if p.decay_input else None,
            reset=p.reset,
            compare=p.compare,
        )

    def extra_repr(self) -> str:
        """Return the constants, for torch's printout."""
        p = self.parameters_of_step
        return (
            f"tau={p.tau}, v_threshold={p.v_threshold}, v_reset={p.v_reset}, reset={p.reset}, "
            f"compare='{p.compare}', decay_input={p.decay_input}, surrogate={p.surrogate}"
        )


class IF(LIF):
    """Integrate-and-fire: LIF without a leak (tau infinite)."""

    @checked(NEURON)
    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float = 0.0,
        *,
        surrogate: SurrogateLike = "rectangle",
        width: float | None = None,
        alpha: float | None = None,
        reset: Reset = "hard",
        compare: Compare = ">",
    ) -> None:
        super().__init__(
            math.inf,
            v_threshold,
            v_reset,
            surrogate=surrogate,
            width=width,
            alpha=alpha,
            reset=reset,
            compare=compare,
        )


class MixedLIF(LIF):
    """LIF with two paths over one set of weights: spikes, and the surrogate's antiderivative.

    While training with `dual` set, the batch axis holds view A then view B: the first half takes
    Path A, the second Path B (arXiv 2511.18542). Otherwise, and always in eval mode, it is LIF.
    `dual_path(model)` sets `dual` on every MixedLIF of a model.
    """

    dual: bool = False

    @property
    def mixed(self) -> bool:
        """Whether the second half of the samples takes Path B: in dual training."""
        return self.dual and self.training


@contextmanager
def dual_path(model: nn.Module) -> Iterator[None]:
    """Within the context every MixedLIF of `model` runs both paths (in training mode)."""
    neurons = [module for module in model.modules() if isinstance(module, MixedLIF)]
    before = [neuron.dual for neuron in neurons]
    try:
        for neuron in neurons:
            neuron.dual = True
        yield
    finally:
        for neuron, dual in zip(neurons, before, strict=True):
            neuron.dual = dual
