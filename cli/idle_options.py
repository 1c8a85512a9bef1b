"""Options that do nothing to a source, as they are typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

QUANTISING = ("calibrate", "scale")
"""What acts where floats become integers only."""
_FLAGS = {"input_shape": "--input"}


def flag(name: str) -> str:
    """Return an option of reading as it is typed."""
    return _FLAGS.get(name, f"--{name}")


def idle_on_integers(given: Mapping[str, Any]) -> list[str]:
    """Return the options of `given` that do nothing to a network of integers."""
    return [f"--{name}" for name in QUANTISING if name in given]
