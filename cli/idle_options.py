"""Options that cannot act on a kind of source: refused, or noted where nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ACTS_ON = {
    "weights": ("file.py:factory",),
    "input_shape": ("file.py:factory", ".onnx"),
    "dialect": (".nir",),
    "dt": (".nir",),
    "strict": (".nir",),
    "convert": (".onnx",),
}
"""The kinds of source that an option of reading is for."""
QUANTISING = ("calibrate", "scale")
"""What acts where floats become integers only."""
_FLAGS = {"input_shape": "--input"}


def kind_of(source: str) -> str:
    """Return `file.py:factory`, the suffix, or `name` of a SOURCE."""
    if ".py:" in source:
        return "file.py:factory"
    dot = source.rfind(".")
    return source[dot:].lower() if dot > max(source.rfind("/"), 0) else "name"


def refuse_idle(source: str, given: Mapping[str, Any]) -> None:
    """Raise InputError for the first option of `given` (without defaults) that cannot act."""
    from ..export.ir.errors import InputError

    kind = kind_of(source)
    for name, kinds in ACTS_ON.items():
        if name in given and kind not in kinds:
            flag = _FLAGS.get(name, f"--{name}")
            raise InputError(
                f"{flag} cannot act here, it is for {' and '.join(kinds)} sources",
                node=source,
                remedy="leave it out",
            )


def idle_on_integers(given: Mapping[str, Any]) -> list[str]:
    """Return the options of `given` that do nothing to a network of integers."""
    return [f"--{name}" for name in QUANTISING if name in given]
