"""A loop over time inside forward(): its steps compared, the first kept.

Step k may depend on frame k of the input and on the k-th call of each neuron, nothing else that
changes with time; whatever else it computes must be alike in all steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .loop_output import Collected, name_of
from .torch_layers import Refused


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop over time inside forward(): its steps, and the input's axis they lie on, if any."""

    steps: int
    axis: int | None

    def first(self, sample: Any) -> Any:
        """Return what the first step takes of an input."""
        return sample if self.axis is None else sample.select(self.axis, 0)


def rolled(
    graph: Any, found: Collected | None, order: Mapping[Any, int], sizes: tuple[int, ...]
) -> Loop:
    """Make the first step take the whole input where it takes ``x[t]``; return the loop.

    Args:
        found: what the loop collects, or None. order: of each call of a neuron, how many of the
            same went before. sizes: of the example input.

    Raises:
        Refused: for steps that differ, or take another frame than their own.
    """
    if found is None:
        raise _not_collected(order)
    steps = found.steps
    source = next(node for node in graph.nodes if node.op == "placeholder")
    frames = {node: axis for node in source.users if (axis := _axis(node)) is not None}
    axes = set(frames.values())
    if (frames and set(source.users) - set(frames)) or len(axes) > 1:
        raise Refused("takes its input both whole and by steps", "take x[t] in every step")
    axis = axes.pop() if axes else None
    _refuse_counts(steps, order, None if axis is None else sizes[axis])
    try:
        alike = _alike(steps, _Walk(order, frames, sizes))
    except Refused:
        if found.how == "last step" and not frames:
            raise _not_collected(order) from None  # one layer in two places, more likely
        raise
    if not alike:
        raise Refused("the steps of its loop over time differ", "do the same in every step")
    for node in frames:
        node.replace_all_uses_with(source)
        graph.erase_node(node)
    return Loop(len(steps), axis)


def repeated(graph: Any) -> Loop | None:
    """Return the steps that forward() makes of one frame, ``x.unsqueeze(0).repeat(T, 1, ...)``.

    What comes before is computed once; None where there is no such call.
    """
    for node in graph.nodes:
        steps = _copies(node)
        if steps is not None and name_of(node.args[0]) == "unsqueeze":
            dim = node.args[0].args[1] if len(node.args[0].args) > 1 else node.args[0].kwargs["dim"]
            if dim == 0:
                return Loop(steps, None)
    return None


def _copies(node: Any) -> int | None:
    """Return how often `repeat` or `expand` copies along the first axis and no other."""
    if name_of(node) not in ("repeat", "expand"):
        return None
    given = node.args[1] if isinstance(node.args[1], (tuple, list)) else node.args[1:]
    first = given[0]
    return first if isinstance(first, int) and first > 0 else None


def _alike(steps: list[Any], walk: _Walk) -> bool:
    return len({walk.look(step, k) for k, step in enumerate(steps)}) == 1


def _not_collected(order: Mapping[Any, int]) -> Refused:
    name, count = Counter(call.target for call in order).most_common(1)[0]
    return Refused(
        f"{name} is called {count} times, and the output is not made of all steps alike",
        "of a loop over time return torch.stack(outputs), or its sum or mean over time; "
        "within one step give each place a neuron layer of its own",
    )


def _refuse_counts(steps: list[Any], order: Mapping[Any, int], frames: int | None) -> None:
    count = len(steps)
    if frames is not None and frames != count:
        raise Refused(
            f"its loop returns {count} steps, the input has {frames}",
            "take every frame of the input, and return every step; "
            f"or give an input of {count} steps (-T {count})",
        )
    for name, calls in Counter(call.target for call in order).items():
        if calls != count and calls % count == 0:
            raise Refused(
                f"{name} is called {calls // count} times a step",
                "give each place a neuron layer of its own",
            )
        if calls != count:
            raise Refused(
                f"{name} is called {calls} times, the output has {count} steps",
                "return every step",
            )


def _axis(node: Any) -> int | None:
    """Return the axis of the one frame that a node takes: 0 of ``x[t]``, 1 of ``x[:, t]``.

    Whole axes behind it, as in ``x[:, t, :]``, say nothing more.
    """
    if getattr(node.target, "__name__", "") != "getitem":
        return None
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    while len(index) > 1 and index[-1] in (slice(None), Ellipsis):
        index = index[:-1]
    if len(index) == 1:
        return 0 if isinstance(index[0], int) else None
    whole = len(index) == 2 and index[0] == slice(None)
    return 1 if whole and isinstance(index[1], int) else None


@dataclass(frozen=True, slots=True)
class _Walk:
    """Tells what a value of step k is computed by, whichever step it stands in."""

    order: Mapping[Any, int]
    frames: Mapping[Any, int]
    sizes: tuple[int, ...]
    known: dict[tuple[Any, int], int] = field(default_factory=dict)

    def look(self, node: Any, step: int) -> int:
        """Return a hash of what a value is computed by; refuse what is another step's."""
        if (node, step) not in self.known:
            self.known[node, step] = hash(self._look(node, step))
        return self.known[node, step]

    def _look(self, node: Any, step: int) -> tuple[Any, ...]:
        if node in self.frames:
            axis = self.frames[node]
            index = node.args[1][axis] if isinstance(node.args[1], tuple) else node.args[1]
            frame = index % self.sizes[axis]
            if frame != step:
                raise Refused(
                    f"step {step} of its loop takes frame {frame} of the input",
                    "take x[t] in step t, from the first on",
                )
            return "frame", axis
        if node in self.order and self.order[node] != step:
            raise Refused(
                f"step {step} of its loop takes what {node.target} emits in step "
                f"{self.order[node]}",
                "feed spikes back through a recurrent layer, e.g. snntorch.RLeaky",
            )
        return node.op, str(node.target), *self._looks((node.args, node.kwargs), step)

    def _looks(self, value: Any, step: int) -> tuple[Any, ...]:
        if hasattr(value, "op"):
            return (self.look(value, step),)
        if isinstance(value, Mapping):
            value = tuple(sorted(value.items()))
        if isinstance(value, (tuple, list)):
            return tuple(self._looks(item, step) for item in value)
        return (repr(value),)
