"""How results print: one short table, the same to `print`, at a prompt and in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from .visible import escaped


class Printed(ABC):
    """What has a text shows that text at a prompt, and as HTML in a notebook."""

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str:
        """Return the table."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        text = escaped(str(self), keep="\n")
        return f"<pre>{text}</pre>"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return rows of cells as lines: the first `left` columns to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
