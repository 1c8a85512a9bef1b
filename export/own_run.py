"""A module's own run: what it returns, what enters its neurons and what they emit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import torch

from .foreign import Time, is_neuron, time_of
from .foreign_state import Kept, kept_state
from .ir import Array, LoweringError
from .ir.noted import Noted
from .layout import Layout, fixed_size, squeezed_layer
from .symbolic import first_line, in_place_of_forward, root_name
from .trace import eval_mode
from .users_code import names_its_errors


@dataclass(frozen=True, slots=True)
class OwnRun:
    """One run of a module.

    Attributes:
        values: [time, batch, *shape] of the input; one frame for all steps is repeated by view.
        output: [time, batch, ...], or [batch, ...] where the module takes time together.
        at_once: whether its layers take all steps in one call.
        neurons: by source path; calls of one layer in several places as ``path@2``.
    """

    values: Array
    output: Array
    at_once: bool
    neurons: dict[str, Noted]


@names_its_errors
def own_run(module: Any, sample: Any, layout: Layout, time_steps: int, most: int = 8) -> OwnRun:
    """Return the run of a module, in eval mode, on at most `most` samples of an example input.

    A module that takes one step a call is called `time_steps` times with the same input; one that
    takes all steps (an axis of its input, or a loop of its own) is called once. Modules of fewer
    bits than float32 run as a copy in float32.

    Raises:
        LoweringError: for a module whose own run fails.
    """
    module, whole = _in_float32(module, sample)
    part = _first_samples(module, whole, layout, most)
    # It may take no other batch than that of its example.
    tries = [part] if part.shape == whole.shape else [part, whole]
    neurons = {path or root_name(module): m for path, m in module.named_modules() if _spikes(m)}
    steps_of = None if layout.is_one_call else time_steps
    with eval_mode(module), torch.no_grad(), _exact():
        sample, out, seen = _ran(module, tries, neurons, steps_of)
    values = _array(layout.samples(sample))
    if layout.order == "step":
        steps = layout.own or time_steps
        values = np.broadcast_to(values, (steps, *values.shape))
    else:
        values = values.swapaxes(0, 1)
    sizes = values.shape[:2]
    known = {
        name: noted
        for path, m in neurons.items()
        for name, noted in _places(path, seen[path], _time(m), sizes)
    }
    # What is collected by a loop, its own or ours, has time first, and so has what was moved there.
    each = layout.loops or layout.moved or not layout.is_one_call
    output = _output(out, "steps" if each else layout.order, sizes)
    at_once = any(_time(m) != "step" for m in neurons.values()) if neurons else not each
    return OwnRun(values, _array(output), at_once, known)


def _ran(
    module: Any, tries: list[Any], neurons: dict[str, Any], time_steps: int | None
) -> tuple[Any, Any, dict[str, list[tuple[Any, Any]]]]:
    """Return the first of the inputs that a module runs on, what it returns and what was noted."""
    sample, *others = tries
    try:
        return (sample, *_called(module, sample, neurons, time_steps))
    except LoweringError:
        raise
    except Exception as error:  # the user's own code may raise anything
        if not others:
            raise LoweringError(
                f"its own forward() fails on the example input: {first_line(error)}",
                node=type(module).__name__,
                remedy="give an example input that the module takes",
            ) from error
    return _ran(module, others, neurons, time_steps)


def _called(
    module: Any, sample: Any, neurons: dict[str, Any], time_steps: int | None
) -> tuple[Any, dict[str, list[tuple[Any, Any]]]]:
    """Return what a module returns, called once or `time_steps` times, and what was noted."""
    with kept_state(module) as kept:
        with _noted(neurons) as seen:
            if time_steps is not None:
                return _each_step(module, sample, time_steps), seen
            out = _tensor(module(sample))
        _refuse_memory(module, sample, out, kept)
        return out, seen


def _refuse_memory(module: Any, sample: Any, out: Any, kept: Kept) -> None:
    """Raise LoweringError for a module that answers a second call otherwise: it remembers.

    Asked only where a layer that is no neuron holds something else after the first call.
    """
    changed = kept.changed()
    if not changed:
        return
    kept.rest()
    if not torch.equal(_tensor(module(sample)), out):
        raise LoweringError(
            "keeps state between calls, which changes what the next one returns",
            node=", ".join(changed),
            remedy="hand it from step to step within forward(), or give its layer a "
            "to_node(shape) and a reset() method",
        )


def _in_float32(module: Any, sample: Any) -> tuple[Any, Any]:
    """Return a float32 copy of a module of fewer bits, and of its input; others as they are."""
    kinds = [t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    if all(kind.itemsize >= 4 for kind in kinds):
        return module, sample
    return deepcopy(module).float(), sample.float()


def _first_samples(module: Any, sample: Any, layout: Layout, most: int) -> Any:
    """Return the first samples of an example input, whole where the module fixes their number."""
    layer = squeezed_layer(module)
    if layer is not None and fixed_size(layer, "batch_size"):
        return sample
    return layout.example(layout.samples(sample)[:most]).contiguous()


@contextmanager
def _exact() -> Iterator[None]:
    """Within the context a GPU multiplies float32 as float32, not in the 10 bits of TF32."""
    held = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = held


def _spikes(module: Any) -> bool:
    return is_neuron(module) or hasattr(module, "to_node")


def _time(module: Any) -> Time:
    if is_neuron(module):
        return time_of(module)
    return "steps" if getattr(module, "multi_step", False) else "step"


@contextmanager
def _noted(neurons: dict[str, Any]) -> Iterator[dict[str, list[tuple[Any, Any]]]]:
    """Within the context, note what each neuron is given and returns at each call."""
    seen: dict[str, list[tuple[Any, Any]]] = {path: [] for path in neurons}

    def noting(path: str, forward: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            given = (args or tuple(kwargs.values()))[0].detach().clone()
            out = forward(*args, **kwargs)
            seen[path].append((given, _tensor(out).detach().clone()))
            return out

        return noted

    with ExitStack() as stack:
        for path, module in neurons.items():
            stack.enter_context(in_place_of_forward(module, noting(path, module.forward)))
        yield seen


def _each_step(module: Any, sample: Any, time_steps: int) -> Any:
    """Call a module step by step, handing back the states that it returned behind its output."""
    takes = len(signature(module.forward).parameters) - 1
    states: tuple[Any, ...] = ()
    outputs = []
    for _ in range(time_steps):
        out = module(sample, *states)
        states = tuple(out[1 : 1 + takes]) if isinstance(out, tuple) else ()
        outputs.append(_tensor(out))
    return torch.stack(outputs)


def _tensor(out: Any) -> Any:
    """Return the first of what a module returns: states may stand behind it."""
    while isinstance(out, (tuple, list)):
        out = out[0]
    return out


def _places(
    path: str, calls: list[tuple[Any, Any]], order: Time, sizes: tuple[int, ...]
) -> Iterator[tuple[str, Noted]]:
    """Yield the name of each place a layer is called in, and what it noted there."""
    steps = sizes[0] if order == "step" else 1
    places = len(calls) // steps
    if not calls or len(calls) % steps:
        return  # not one call a place and step: only the output tells
    for k in range(places):
        here = calls[k::places]
        current = _time_first([given for given, _ in here], order, sizes)
        spikes = _time_first([out for _, out in here], order, sizes)
        if current is not None and spikes is not None:
            yield path if k == 0 else f"{path}@{k + 1}", Noted(_array(current), _array(spikes))


def _time_first(calls: list[Any], order: Time, sizes: tuple[int, ...]) -> Any | None:
    """Return [time, batch, ...] of what the calls of a layer noted, None where it is not that."""
    if order == "step":
        found = torch.stack(calls)
    else:
        (found,) = calls
    if order == "squeezed":
        found = found.unflatten(0, (sizes[1], -1))
    if order in ("squeezed", "batch first"):
        found = found.transpose(0, 1)
    return found if tuple(found.shape[:2]) == tuple(sizes) else None


def _output(out: Any, order: Time, sizes: tuple[int, ...]) -> Any:
    """Return what a module returns [time, batch, ...], or as it is where that is not its form."""
    if order == "squeezed" and len(out) == sizes[0] * sizes[1]:
        out = out.unflatten(0, (sizes[1], -1))
    first = order in ("squeezed", "batch first") and out.shape[:2] == (sizes[1], sizes[0])
    return out.transpose(0, 1) if first else out


def _array(tensor: Any) -> Array:
    values: Array = tensor.detach().cpu().float().numpy()
    return values
