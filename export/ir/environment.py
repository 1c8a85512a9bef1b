"""Environment variables that choose something: a value of another kind is one clear error."""

from __future__ import annotations

import os
from collections.abc import Collection

from .errors import InputError


def word_from(name: str, allowed: Collection[str], default: str) -> str:
    """Return a variable's value, or the default where it is unset or empty.

    Raises:
        InputError: naming the variable, the value and those that it takes.
    """
    value = os.environ.get(name) or default
    if value not in allowed:
        raise _refused(name, value, f"choose among {', '.join(allowed)}")
    return value


def whole_from(name: str, most: int, default: int = 0) -> int:
    """Return a variable's whole number 0..most, or the default where it is unset or empty.

    Raises:
        InputError: as `word_from`.
    """
    value = os.environ.get(name) or str(default)
    few = value.isascii() and value.isdecimal() and len(value) <= len(str(most))
    if not few or int(value) > most:
        raise _refused(name, value, f"give a whole number from 0 to {most}")
    return int(value)


def _refused(name: str, value: str, remedy: str) -> InputError:
    shown = value if len(value) <= 40 else f"{value[:37]}..."
    return InputError(f"{shown!r}", node=name, remedy=f"{remedy}, or unset it")
