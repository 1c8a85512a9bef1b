"""What a graph's metadata may hold: JSON within bounds, and each key of ours of its own type.

Commands rely on these keys, so a file that holds one of another type is refused when it is read,
by the name of the key; keys of the user's own are any JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from json import dumps
from math import isfinite
from typing import Any, TypeAlias

import numpy as np

from ..ir import FormatError, Graph
from ..ir.profile import GROUPED_THRESHOLDS
from .card import shown

Reason: TypeAlias = "str | None"
Check: TypeAlias = Callable[[Any], Reason]
"""Returns what is needed instead of a value; None where it is right."""
DEEPEST = 16
LONGEST_TEXT = 1 << 16
MOST = 1 << 40


def _text(value: Any) -> Reason:
    return None if type(value) is str else "a text is needed"


def _truth(value: Any) -> Reason:
    return None if type(value) is bool else "true or false is needed"


def _number(value: Any) -> Reason:
    right = type(value) in (int, float) and abs(value) <= MOST and isfinite(value)
    return None if right else f"a number within ±{MOST} is needed"


def _whole(least: int) -> Check:
    def check(value: Any) -> Reason:
        right = type(value) is int and least <= value <= MOST
        return None if right else f"a whole number from {least} to {MOST} is needed"

    return check


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _any_of(*checks: Check) -> Check:
    return lambda value: next((None for c in checks if c(value) is None), checks[0](value))


def _each(check: Check) -> Check:
    """Return the check of a list of values."""

    def checking(value: Any) -> Reason:
        if type(value) is not list:
            return "a list is needed"
        return next((reason for item in value if (reason := check(item))), None)

    return checking


def _by_name(check: Check) -> Check:
    """Return the check of an object with a value for each of any names."""

    def checking(value: Any) -> Reason:
        if not isinstance(value, Mapping):
            return "an object is needed"
        return next((f"{_cut(k)}: {r}" for k, item in value.items() if (r := check(item))), None)

    return checking


def _fields(needed: Mapping[str, Check], more: Mapping[str, Check] | None = None) -> Check:
    """Return the check of an object with these fields, and perhaps more of them."""

    def checking(value: Any) -> Reason:
        if not isinstance(value, Mapping):
            return "an object is needed"
        for name in needed:
            if name not in value:
                return f"{name} is missing"
        for name, check in {**needed, **(more or {})}.items():
            if name in value and (reason := check(value[name])):
                return f"{name}: {reason}"
        return None

    return checking


_RATES = _by_name(_number)
_COUNT = _whole(0)
_THRESHOLDS: Check = lambda value: _any_of(_whole(-MOST), _each(_THRESHOLDS))(value)  # noqa: E731
KNOWN: Mapping[str, Check] = {
    **dict.fromkeys(("source", "model", "data", "took", "returns"), _text),
    **dict.fromkeys(("dialect", "scheme", "dt_from"), _text),
    "scale_rule": _text,
    "nir_version": _optional(_text),
    "dt": _number,
    "delays": _each(_text),
    "repairs": _each(_text),
    "encoding_assumed": _truth,
    "time_steps": _whole(1),
    "training": _by_name(_any_of(_number, _text)),
    "calibration": _fields(
        {"input_high": _number},
        {
            "samples": _COUNT,
            "time_steps": _COUNT,
            "data": _text,
            "rule": _text,
            "spike_rates": _RATES,
        },
    ),
    "spikes_that_differ": _RATES,
    "accuracies": _by_name(_optional(_any_of(_number, _text))),
    GROUPED_THRESHOLDS: _by_name(
        _fields(
            dict.fromkeys(("neurons", "moved", "distinct", "kept"), _COUNT)
            | {"largest_move": _number}
        )
    ),
    "event_calibration": _fields(
        {
            "threshold_factors": _RATES,
            "spikes_that_differ": _RATES,
            "before": _RATES,
            "samples": _COUNT,
            "longest_queue": _COUNT,
            "thresholds_before": _by_name(_THRESHOLDS),
        }
    ),
}
"""By key, what this release writes there."""
_TOGETHER = {"dt_from": ("dialect", "dt", "nir_version")}
"""Keys that are read together with another."""


def check_metadata(graph: Graph) -> None:
    """Raise FormatError, naming the key, for metadata that no command could rely on."""
    held = graph.metadata
    for key, value in held.items():
        if reason := _bounded(key, 0) or _bounded(value, 0):
            raise FormatError(f"metadata {_cut(key)}: {reason}")
        if key in KNOWN and (reason := KNOWN[key](value)):
            raise FormatError(f"metadata {_cut(key)} is {shown(value)}: {reason}")
    for key, others in _TOGETHER.items():
        if key in held and (missing := [name for name in others if name not in held]):
            raise FormatError(f"metadata {key} without {missing[0]}")
    _check_calibrated(graph)


def _bounded(value: Any, depth: int) -> Reason:
    """Return what no metadata may be: texts too long, objects too deep, numbers without a value."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"a text of {len(value)} characters, at most {LONGEST_TEXT} are held"
    if isinstance(value, float) and not isfinite(value):
        return f"{value} is no finite number"
    if isinstance(value, (list, tuple, Mapping)):
        if depth >= DEEPEST:
            return f"more than {DEEPEST} levels deep"
        inner: Collection[Any] = value
        if isinstance(value, Mapping):
            inner = (*value.keys(), *value.values())
        return next((reason for item in inner if (reason := _bounded(item, depth + 1))), None)
    return None


def _check_calibrated(graph: Graph) -> None:
    """Hold what is to be put back into the neurons against the neurons that there are."""
    note = graph.metadata.get("event_calibration")
    if note is None:
        return
    factors, neurons = set(note["threshold_factors"]), set(graph.neurons)
    # The host's neurons, in front of the chip, have a share but neither factor nor threshold.
    rights = {"spikes_that_differ": neurons, "before": neurons, "thresholds_before": factors}
    for key, allowed in rights.items():
        if not factors <= set(note[key]) <= allowed:
            raise FormatError(f"metadata event_calibration: {key} is not of the same neurons")
    for name, values in note["thresholds_before"].items():
        if name not in graph.neurons or not _fits(values, graph.neurons[name].v_threshold.shape):
            said = f"metadata event_calibration: thresholds_before of {_cut(name)}"
            raise FormatError(f"{said} are not those of a neuron node")


def _fits(values: Any, shape: tuple[int, ...]) -> bool:
    try:
        found = np.asarray(values, np.int64)
    except (ValueError, OverflowError, TypeError):  # rows of unequal length
        return False
    return found.shape == shape and bool((np.abs(found) < 1 << 31).all())


def metadata_digest(metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of metadata as JSON holds it."""
    return sha256(dumps(dict(metadata), sort_keys=True).encode()).hexdigest()


def _cut(key: Any) -> str:
    text = str(key)
    return text if len(text) <= 60 else f"{text[:57]}..."
