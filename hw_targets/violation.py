"""Violation: one limit that one layer breaks, by how much, and what to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..export.ir.errors import spelled


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that one layer breaks, and what to change."""

    layer: str
    limit: str
    allowed: str
    found: str
    remedy: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "remedy", spelled(self.remedy))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__}
