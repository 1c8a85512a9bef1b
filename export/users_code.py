"""Errors of a user's own code, named: a property, a to_node() or a reset() may raise anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .ir import LoweringError, SpikewrightError

P = ParamSpec("P")
R = TypeVar("R")


def names_its_errors(call: Callable[P, R]) -> Callable[P, R]:
    """Return a call of which an error of another family is a LoweringError that names the module.

    The module is the first argument, or its attribute `module`. Warnings that a user turned into
    errors stay what they are.
    """

    @wraps(call)
    def naming(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (SpikewrightError, Warning, MemoryError):
            raise
        except Exception as error:
            first: Any = args[0] if args else next(iter(kwargs.values()), None)
            lines = str(error).splitlines()
            said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
            raise LoweringError(
                f"its code cannot be followed ({said})",
                node=type(getattr(first, "module", first)).__name__,
                remedy="the error that this one comes from says where",
            ) from error

    return naming
