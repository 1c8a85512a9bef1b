"""What the public verbs take: a check for each argument, by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from .export.ir import Graph, InputError, Profile
from .export.ir.arguments import (
    Check,
    above_zero,
    callback,
    checked,
    described,
    flag,
    of_kind,
    optional,
    path,
    shape,
    text,
    whole,
    word,
)
from .export.ir.graph import LEVELS
from .export.ir.nodes import Encoding
from .export.ir.noted import Differences
from .export.ir.profile import ScaleRule
from .export.unwrap import unwrapped
from .sim.requests import graph_in, samples_in
from .sim.trace import Record


def _graph(name: str, value: Any) -> Graph:
    return graph_in(value)


def _executor(name: str, value: Any) -> Any:
    """An executor's name, or an object that prepares graphs."""
    if not isinstance(value, str) and not callable(getattr(value, "prepare", None)):
        remedy = "name one (native, reference, onnxruntime, lava), or give an object with prepare()"
        raise InputError(f"{described(value)} is no executor", node=name, remedy=remedy)
    return value


def _listed(check: Check, example: str) -> Check:
    def checking(name: str, value: Any) -> list[Any]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(
                f"{described(value)}, a list is needed", node=name, remedy=f"write [{example}]"
            )
        return [check(name, item) for item in value]

    return checking


def _executors(name: str, value: Any) -> Any:
    """A list of executors, or their names as on the command line: with commas between."""
    names = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
    return _listed(_executor, '"reference", "native"')(name, names)


def _target(name: str, value: Any) -> Any:
    """A chip's name or file, or a Target."""
    from .hw_targets.target import Target

    if not isinstance(value, (str, Target)):
        raise InputError(
            f"{described(value)}, a name, a file or a Target is needed",
            node=name,
            remedy="see sw.targets()",
        )
    return text(name, value) if isinstance(value, str) else value


def _conventions(name: str, value: Any) -> Any:
    from .hw_targets.estimate import Conventions

    return of_kind(Conventions)(name, value)


def _verification(name: str, value: Any) -> Any:
    from .sim.verify import Verification

    return of_kind(Verification)(name, value)


def _accuracies(name: str, value: Any) -> Any:
    """Fractions by name; None where one was not measured."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{described(value)}, fractions by name are needed", node=name)
    for key, share in value.items():
        if share is not None and not (isinstance(share, (int, float)) and 0 <= share <= 1):
            raise InputError(f"{key} {described(share)}, allowed 0 to 1", node=name)
    return value


def _name(name: str, value: Any) -> str:
    return text(name, str(value)) if isinstance(value, (str, Path)) else str(path(name, value))


def _spec(name: str, value: Any) -> str:
    if not isinstance(value, (str, Path)):
        reason = f"{described(value)}, DATA such as digits or npz:FILE is needed"
        raise InputError(reason, node=name, remedy="give samples to sw.lower")
    return text(name, str(value))


def _module(name: str, value: Any) -> Any:
    """A torch module, seen by what it has: torch need not be installed. Wrappers are taken off."""
    return unwrapped(value, name)


def _source(name: str, value: Any) -> Any:
    """A name or a path, which the reading of sources judges; a Graph, or a module."""
    if isinstance(value, (str, Path)):
        return text(name, str(value))
    return value if isinstance(value, Graph) else unwrapped(value, name)


def _weights(name: str, value: Any) -> str:
    return str(path(name, value))


def _module_samples(name: str, value: Any) -> Any:
    """Samples as a module takes them: a tensor as it is, other arrays as tensors."""
    samples = samples_in(value)
    if hasattr(value, "detach"):
        return value
    if samples.dtype.kind not in "fiub":
        raise InputError(f"dtype {samples.dtype}, numbers are needed", node=name)
    from torch import as_tensor

    return as_tensor(samples)


def _data(name: str, value: Any) -> Any:
    """The spec of DATA, or samples."""
    return text(name, str(value)) if isinstance(value, (str, Path)) else samples_in(value)


ARGUMENTS: Mapping[str, Check] = {
    "graph": _graph,
    "bits": optional(whole(2, 8)),
    "target": optional(_target),
    "targets": _listed(_target, '"loihi1", "speck2f"'),
    "profile": optional(of_kind(Profile)),
    "scale": word(get_args(ScaleRule)),
    "level": word(LEVELS),
    "differences": word(get_args(Differences)),
    "time_steps": optional(whole(1)),
    "encoding": optional(word(get_args(Encoding))),
    "source": _source,
    "module": _module,
    "calibrate": optional(_data),
    "path": path,
    "force": flag,
    "executor": optional(_executor),
    "executors": optional(_executors),
    "seed": whole(0),
    "batch": whole(1),
    "record": word(get_args(Record)),
    "cost": optional(text),
    "method": optional(text),
    "conventions": optional(_conventions),
    "progress": optional(callback),
    "watch": optional(callback),
    "accuracies": optional(_accuracies),
    "samples": _module_samples,
    "weights": optional(_weights),
    "input_shape": optional(shape),
    "dialect": optional(text),
    "dt": optional(above_zero),
    "strict": flag,
    "convert": optional(text),
    "inline": flag,
    "arithmetic": text,
    "verification": optional(_verification),
}
"""Of the arguments that are not here (samples, labels, modules) their own readers judge."""

verb = checked(ARGUMENTS)
"""Decorates a public verb: its arguments are checked before it runs."""

_OF_A_REPORT: Mapping[str, Check] = {
    "source": optional(of_kind(Graph)),
    "scale": optional(ARGUMENTS["scale"]),
}
write_verb = checked({**ARGUMENTS, "dialect": text})
"""Of `write`, whose dialect is that of the file that is written."""
read_verb = checked({**ARGUMENTS, "source": _name, "calibrate": optional(_spec)})
"""Of `read`, which takes names and paths, and DATA by its spec."""
report_verb = checked({**ARGUMENTS, **_OF_A_REPORT})
"""Of `report`: the float graph that its graph was lowered from, or none, and by what rule."""
