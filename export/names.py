"""Names for nodes that we add: never one that the network has."""

from __future__ import annotations

from collections.abc import Container


def unused(name: str, taken: Container[str]) -> str:
    """Return `name`, with as many underscores behind it as make it one that is not taken."""
    while name in taken:
        name += "_"
    return name
