"""Layout: on which axis of a module's example input its time lies, and how long it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .foreign import Time, time_of
from .foreign_loop import Loop
from .ir import InputError


@dataclass(frozen=True, slots=True)
class Layout:
    """How a module takes time.

    Attributes:
        order: `steps` [time, batch, ...], `batch first` [batch, time, ...], `squeezed`
            [batch * time, ...] or `step`, one step a call, [batch, ...].
        loops: whether forward() itself runs over its steps.
        batch: of `squeezed`. own: T where the module sets it, whatever its input: of a loop in
            forward() that takes one frame, of sinabs' `num_timesteps`. moved: whether forward()
            moves time from the second axis to the front before its first layer.
    """

    order: Time
    batch: int = 1
    own: int | None = None
    loops: bool = False
    moved: bool = False

    @property
    def is_one_call(self) -> bool:
        """Whether one call of the module takes all steps."""
        return self.order != "step" or self.loops

    def turned(self) -> Layout:
        """Return the layout of a module that moves time to the front itself."""
        return replace(self, order="batch first", moved=True)

    def steps(self, example: Any) -> int | None:
        """Return how many time steps an example input spans, None for a module of one step."""
        if self.order == "step":
            return self.own
        if self.order == "squeezed":
            return int(example.shape[0]) // self.batch
        return int(example.shape[0 if self.order == "steps" else 1])

    def samples(self, example: Any) -> Any:
        """Return an example input as samples, [sample, time, ...]; [sample, ...] of one step."""
        if self.order == "steps":
            return example.swapaxes(0, 1)
        if self.order == "squeezed":
            return example.reshape(self.batch, -1, *example.shape[1:])
        return example

    def example(self, samples: Any) -> Any:
        """Return samples [sample, time, ...], or [sample, ...] of one step, as the module takes
        them."""
        if self.order == "steps":
            return samples.swapaxes(0, 1)
        if self.order == "squeezed":
            return samples.reshape(-1, *samples.shape[2:])
        return samples


def layout_of(module: Any, example: Any, multi_step: bool, loop: Loop | None = None) -> Layout:
    """Return the layout of an example input.

    Args:
        multi_step: whether a layer takes all steps. loop: over time, in forward() itself.

    Raises:
        InputError: for a squeezed example that its batch does not divide.
    """
    layer = squeezed_layer(module)
    if layer is not None:
        return _squeezed(layer, int(example.shape[0]))
    if loop is not None:
        if loop.axis is None:
            return Layout("step", own=loop.steps, loops=True)
        return Layout("batch first" if loop.axis else "steps", loops=True)
    if not multi_step:
        return Layout("step")
    first = any(time_of(layer) == "batch first" for layer in module.modules())
    return Layout("batch first" if first else "steps")


def squeezed_layer(module: Any) -> Any | None:
    """Return a layer of `module` that takes batch and time as one axis, if there is any."""
    return next((layer for layer in module.modules() if time_of(layer) == "squeezed"), None)


def fixed_size(layer: Any, name: str) -> int | None:
    """Return `batch_size` or `num_timesteps` of a squeezed layer, None where it has not set it."""
    size = int(getattr(layer, name, None) or -1)
    return size if size > 0 else None


def _squeezed(layer: Any, size: int) -> Layout:
    """Return how sinabs' layer splits an axis of `size`: it knows the batch, or T."""
    steps, batch = fixed_size(layer, "num_timesteps"), fixed_size(layer, "batch_size")
    batch = batch or (size // steps if steps else 1)
    if batch < 1 or size % batch or (steps and size != batch * steps):
        known = f"num_timesteps {steps}" if steps else f"batch_size {batch}"
        raise InputError(
            f"the example input is [{size}, ...], batch times time of a layer with {known}",
            node=type(layer).__name__,
            remedy="give one whose first axis is a multiple of it",
        )
    return Layout("squeezed", batch, steps)
