"""Wrong options and arguments as one line: name, value, what is allowed, remedy."""

from __future__ import annotations

from typing import Any

import typer

CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""What typer raises for a wrong command line, whichever click it carries."""


def one_line(error: Any) -> str:
    """Return what a wrong command line is refused with."""
    if isinstance(error, typer.BadParameter) and error.__cause__ is not None:
        return _value(error)
    said = error.format_message().rstrip(".")
    name = getattr(error, "option_name", None)
    possible: Any = getattr(error, "possibilities", ())  # None: an option, and none is near
    if hasattr(error, "possibilities"):
        near = ", ".join(possible or ())
        said = f"{name}: no option of this name" + (f"; did you mean {near}?" if near else "")
        return said if near else f"{said}; {_see(error)}"
    return f"{said[:1].lower()}{said[1:]}; {_see(error)}"


def _see(error: Any) -> str:
    ctx = getattr(error, "ctx", None)
    return f"see {ctx.command_path if ctx else 'spikewright'} --help"


def _value(error: Any) -> str:
    """Of a value that is of the wrong type or out of range."""
    name = max(error.param.opts, key=len)
    try:
        found = error.__cause__.errors()[0]
    except (AttributeError, IndexError):
        return f"{name}: {error.message}"
    wanted = found["msg"].partition(",")[0].removeprefix("Input should be ")
    low, high = getattr(error.param, "min", None), getattr(error.param, "max", None)
    if low is not None:
        wanted = f"{low} and up" if high is None else f"{low} to {high}"
    return f"{name} {found['input']}, allowed {wanted}"
