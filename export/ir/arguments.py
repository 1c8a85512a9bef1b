"""Arguments of public calls, checked by name before anything runs: one line for a wrong one.

A check takes the argument's name and the value and returns the value as the call is to see it. The
calls themselves then hold no such checks, and no exception of another family leaves them.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

from .errors import InputError, UnknownNameError

Check: TypeAlias = Callable[[str, Any], Any]
P = ParamSpec("P")
R = TypeVar("R")


def checked(checks: Mapping[str, Check]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that hands a call its arguments through the checks of their names.

    An argument that is missing, or that the call does not have, is an InputError or an
    UnknownNameError with the near names, where Python's own is a TypeError.
    """

    def decorate(call: Callable[P, R]) -> Callable[P, R]:
        known = signature(call)
        options = [n for n, p in known.parameters.items() if p.kind is Parameter.VAR_KEYWORD]

        @wraps(call)
        def checking(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                bound = known.bind(*args, **kwargs)
            except TypeError as error:
                raise _refusal(call.__name__, known, kwargs, error) from None
            _check(bound.arguments, checks)
            for name in options:
                _check(bound.arguments.get(name, {}), checks)
            return call(*bound.args, **bound.kwargs)

        return checking

    return decorate


def _check(arguments: dict[str, Any], checks: Mapping[str, Check]) -> None:
    """Hand each argument that has a check through it, in place."""
    for name, value in arguments.items():
        if name in checks:
            arguments[name] = checks[name](name, value)


def _refusal(
    name: str, known: Signature, kwargs: Mapping[str, Any], error: TypeError
) -> InputError | UnknownNameError:
    for option in kwargs:
        if option not in known.parameters:
            return UnknownNameError.of(f"argument of {name}()", option, _named(known))
    return InputError(str(error), node=f"{name}()", remedy=f"it takes {', '.join(_named(known))}")


def _named(known: Signature) -> list[str]:
    kinds = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    return [p.name for p in known.parameters.values() if p.kind not in kinds and p.name != "self"]


def described(value: Any) -> str:
    """Return the type and the start of a value, as messages name what they were given."""
    try:
        text = repr(value).split("\n")[0]
    except Exception:  # a class of the caller's may print in any way
        text = "..."
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def optional(check: Check) -> Check:
    """Return the check that also takes None."""
    return lambda name, value: None if value is None else check(name, value)


MOST = 1 << 40


def whole(least: int, most: int = MOST) -> Check:
    """Return the check of a whole number within least..most; numpy's count, truth values do not."""

    def check(name: str, value: Any) -> int:
        try:
            number = least - 1 if isinstance(value, bool) else operator.index(value)
        except (TypeError, ValueError, OverflowError):
            number = least - 1
        if not least <= number <= most:
            up = most >= MOST > number  # a limit that nobody meets explains nothing
            allowed = f"{least} up" if up else f"{least} to {most}"
            raise InputError(f"{described(value)}, allowed whole numbers from {allowed}", node=name)
        return number

    return check


def flag(name: str, value: Any) -> bool:
    """Check a truth value; numpy's count."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise InputError(f"{described(value)}, True or False is needed", node=name)
    return bool(value)


def word(known: Collection[str]) -> Check:
    """Return the check of a name among `known`."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str):
            listed = ", ".join(known)
            raise InputError(
                f"{described(value)}, a name is needed", node=name, remedy=f"one of {listed}"
            )
        if value not in known:
            raise UnknownNameError.of(name, value, known)
        return value

    return check


def text(name: str, value: Any) -> str:
    """Check a string without control characters of its own."""
    if not isinstance(value, str) or "\0" in value:
        raise InputError(f"{described(value)}, a text is needed", node=name)
    return value


def path(name: str, value: Any) -> str | Path:
    """Check the path of a file: a string or a pathlib.Path, not empty, without NUL."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise InputError(f"{described(value)}, the path of a file is needed", node=name)
    return Path(value)


def shape(name: str, value: Any) -> tuple[int, ...]:
    """Check the shape of a sample: sizes from 1 up."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not len(value):
        raise InputError(f"{described(value)}, sizes such as (3, 32, 32) are needed", node=name)
    return tuple(whole(1)(name, size) for size in value)


def above_zero(name: str, value: Any) -> float:
    """Check a finite number above 0."""
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else -1
    if not 0 < number < float("inf"):
        raise InputError(f"{described(value)}, allowed numbers above 0", node=name)
    return float(number)


def callback(name: str, value: Any) -> Any:
    """Check something that can be called."""
    if not callable(value):
        raise InputError(f"{described(value)}, a function is needed", node=name)
    return value


def of_kind(*kinds: type[Any], what: str | None = None) -> Check:
    """Return the check of an instance of one of these classes."""
    wanted = what or " or ".join(kind.__name__ for kind in kinds)

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kinds):
            raise InputError(f"{described(value)}, {wanted} is needed", node=name)
        return value

    return check
