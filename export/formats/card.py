"""Reading an untrusted JSON card: each value has its declared type, or one line names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from math import isfinite
from typing import Any

from ..ir import FormatError


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(type(item) is kind for item in value)


# By the annotation of the field, without "| None"; which names a Literal allows, `check` knows.
_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda value: type(value) is int),
    "float": ("a finite number", _is_number),
    "bool": ("true or false", lambda value: type(value) is bool),
    "Shape": ("a list of whole numbers", _is_list_of(int)),
    **dict.fromkeys(
        ("str", "Encoding", "Reset", "Compare", "Range", "Readout", "Granularity"),
        ("a name", lambda value: type(value) is str),
    ),
    **dict.fromkeys(
        ("tuple[Compare, ...]", "tuple[Reset, ...]", "tuple[Leak, ...]"),
        ("a list of names", _is_list_of(str)),
    ),
}


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return `value`, a JSON object.

    Raises:
        FormatError: saying that `what` is none.
    """
    if not isinstance(value, dict):
        raise FormatError(f"{what} is {shown(value)}, an object is needed")
    return value


def entry(card: Mapping[str, Any], key: str) -> Any:
    """Return card[key].

    Raises:
        FormatError: saying that it is missing.
    """
    if key not in card:
        raise FormatError(f"{key} is missing from the card")
    return card[key]


def plain_fields(kind: type[Any], values: Mapping[str, Any], have: set[str]) -> dict[str, Any]:
    """Return the fields of the dataclass `kind` that JSON holds, lists as tuples.

    Args:
        have: names of fields that are held elsewhere (arrays).

    Raises:
        FormatError: for a field that is unknown, missing or of another type.
    """
    declared = {field.name: field for field in fields(kind)}
    for name in (*values, *have):
        if name not in declared:
            raise FormatError(f"{kind.__name__} has no field {name!r}")
    for name, field in declared.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and name not in values and name not in have:
            raise FormatError(f"the field {name} of a {kind.__name__} is missing")
    return {name: _typed(name, str(declared[name].type), value) for name, value in values.items()}


def _typed(name: str, annotation: str, value: Any) -> Any:
    kind = annotation.removesuffix(" | None")
    if value is None and kind != annotation:
        return None
    if kind not in _TYPES:
        raise FormatError(f"{name} is {shown(value)}, an array is needed")
    noun, fits = _TYPES[kind]
    if not fits(value):
        raise FormatError(f"{name} is {shown(value)}, {noun} is needed")
    return tuple(value) if isinstance(value, list) else value


def shown(value: Any) -> str:
    """Return a short form of any JSON value, for a message."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
