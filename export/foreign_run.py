"""A module's own run, by its own framework: what its neurons emit, for comparison with ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch

from .foreign import Time, is_neuron, time_of
from .foreign_loop import Loop
from .foreign_state import kept_state
from .ir import Array, InputError
from .trace import eval_mode, loop_of


@dataclass(frozen=True, slots=True)
class OwnRun:
    """What a module was given and what its neurons emitted.

    Attributes:
        values: [time, batch, *shape] of the input. spikes: [time, batch, *shape] by source path.
    """

    values: Array
    spikes: dict[str, Array]


def own_run(module: Any, sample: Any, time_steps: int) -> OwnRun:
    """Return the run of a module of foreign neurons on an input as the module takes it.

    A module that takes one step a call is called `time_steps` times with the same input; one that
    takes all steps (an axis of its input, or a loop of its own) is called once.

    Raises:
        InputError: for a module without neurons of another framework.
    """
    neurons = {path: m for path, m in module.named_modules() if is_neuron(m)}
    times: set[Time] = {time_of(m) for m in neurons.values()}
    if not neurons:
        raise InputError("no neuron of another framework", node=type(module).__name__)
    if len(times) != 1:
        raise InputError(f"layers that take time differently: {', '.join(sorted(times))}")
    order: Time = times.pop()
    loop = loop_of(module, sample) if order == "step" else None
    with eval_mode(module), kept_state(module), torch.no_grad(), _noted(neurons) as seen:
        if order == "step" and loop is None:
            _call_each_step(module, sample, time_steps)
        else:
            module(sample)
    batch = _batch(next(iter(neurons.values())), sample) if order == "squeezed" else 0
    spikes = {path: _time_first(steps, order, batch) for path, steps in seen.items() if steps}
    values = _values(sample, order, batch, loop, time_steps)
    return OwnRun(values.numpy(), {path: found.numpy() for path, found in spikes.items()})


def _values(sample: Any, order: Time, batch: int, loop: Loop | None, time_steps: int) -> Any:
    """Return what the module was given, [time, batch, ...]."""
    if order != "step":
        return _time_first([sample], order, batch)
    if loop is not None and loop.axis is not None:
        return sample.transpose(0, loop.axis)
    return torch.stack([sample] * (time_steps if loop is None else loop.steps))


@contextmanager
def _noted(neurons: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """Within the context, note what each neuron returns at each call."""
    seen: dict[str, list[Any]] = {path: [] for path in neurons}

    def note_for(path: str) -> Any:
        def note(_module: Any, _inputs: Any, out: Any) -> None:
            seen[path].append((out[0] if isinstance(out, tuple) else out).detach().clone())

        return note

    hooks = [m.register_forward_hook(note_for(path)) for path, m in neurons.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _call_each_step(module: Any, sample: Any, time_steps: int) -> None:
    """Call a module step by step, handing back the states that it returned behind its output."""
    takes = len(signature(module.forward).parameters) - 1
    states: tuple[Any, ...] = ()
    for _ in range(time_steps):
        out = module(sample, *states)
        states = tuple(out[1 : 1 + takes]) if isinstance(out, tuple) else ()


def _batch(layer: Any, sample: Any) -> int:
    """Return the batch size of an input [batch * time, ...] of sinabs' squeezed layers."""
    if layer.batch_size > 0:
        return int(layer.batch_size)
    return int(len(sample) // layer.num_timesteps)


def _time_first(steps: list[Any], order: Time, batch: int) -> Any:
    if order == "step":
        return torch.stack(steps)
    (found,) = steps
    if order == "squeezed":
        found = found.unflatten(0, (batch, -1))
    return found if order == "steps" else found.transpose(0, 1)
