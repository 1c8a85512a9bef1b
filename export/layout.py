"""Layout: on which axis of a module's example input its time lies, and how long it is."""

from __future__ import annotations

from dataclasses import dataclass
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
        batch: of `squeezed`. loops: how often a `step` module runs its input itself, None for once.
    """

    order: Time
    batch: int = 1
    loops: int | None = None

    def steps(self, example: Any) -> int | None:
        """Return how many time steps an example input spans, None for a module of one step."""
        if self.order == "step":
            return self.loops
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
    orders = [(layer, time_of(layer)) for layer in module.modules()]
    squeezed = next((layer for layer, order in orders if order == "squeezed"), None)
    if squeezed is not None:
        return Layout("squeezed", _batch(squeezed, int(example.shape[0])))
    if loop is not None:
        order: Time = "step" if loop.axis is None else "batch first" if loop.axis else "steps"
        return Layout(order, loops=loop.steps)
    if not multi_step:
        return Layout("step")
    return Layout("batch first" if any(o == "batch first" for _, o in orders) else "steps")


def _batch(layer: Any, size: int) -> int:
    """Return the batch in an axis of `size` that holds batch and time, as sinabs' layer reads it.

    A layer made with `batch_size` knows it, one made with `num_timesteps` knows T.
    """
    steps = int(getattr(layer, "num_timesteps", None) or -1)
    batch = int(getattr(layer, "batch_size", None) or -1)
    batch = batch if batch > 0 else size // steps
    if batch < 1 or size % batch:
        raise InputError(
            f"the example input is [{size}, ...], batch times time of a layer with "
            f"{'batch_size ' + str(batch) if steps < 1 else 'num_timesteps ' + str(steps)}",
            node=type(layer).__name__,
            remedy="give one whose first axis is a multiple of it",
        )
    return batch
