"""Targets: a chip as data, one YAML file each, every number with its source.

Users add a chip by a file of their own (`--target ./mychip.yaml`); `docs/targets.md` explains the
keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..export.ir import PROFILES, TargetError, UnknownNameError
from ..export.ir.missing import near_files
from ..export.ir.printed import Printed, aligned
from ..export.ir.visible import visible

EVIDENCE = ("measured", "calibrated", "simulated", "vendor", "derived", "secondary")
UNIT_OF = {
    "_pj": "pJ",
    "_ns": "ns",
    "_us": "us",
    "_mw": "mW",
    "_uw_per_mhz": "uW/MHz",
    "_bits": "bits",
    "_words": "words",
    "_words_per_core": "words",
    "_bytes": "bytes",
    "_bytes_per_core": "bytes",
}
"""The unit that a name's ending promises; any other name is a count."""
UNITS = (*dict.fromkeys(UNIT_OF.values()), "count")
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Constant:
    """One sourced number.

    Attributes:
        name, value, unit: of the number. source: paper and table, or document.
        evidence: one of `EVIDENCE`. scope: what it covers (per-op, static, ...).
        operating_point: voltage, process, conditions; "not stated" where the source is silent.
        per_core: where cores differ, each core's share of `value`; else empty.
        low, high: a published range around `value`, or None.
    """

    name: str
    value: float
    unit: str
    source: str
    evidence: str
    scope: str = "per-op"
    operating_point: str = "not stated"
    per_core: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class CostTable:
    """Energies and latencies of one model of a chip.

    Attributes:
        model: `events` (per synapse, neuron update and spike) or `operations` (MAC and AC).
        constants: by name. not_modelled: what the figures leave out.
        uncertainty: a published error of the model, or None. energy_error, latency_error: the same
            as a fraction of the estimate, from which its range follows; None where not published.
    """

    name: str
    model: str
    constants: Mapping[str, Constant]
    not_modelled: tuple[str, ...]
    uncertainty: str | None = None
    energy_error: float | None = None
    latency_error: float | None = None

    def value(self, name: str) -> float:
        """Return a constant's value, 0 where the table has none."""
        return self.constants[name].value if name in self.constants else 0.0


@dataclass(frozen=True, slots=True, repr=False)
class Target(Printed):
    """A chip: what it holds (`limits`), how it computes (`profile`, `supports`), what it costs.

    Attributes:
        mapping: how networks stand on it, one of `MAPPINGS`.
        latency_bound: a lower bound of a step's latency whose coefficients nobody published, as a
            formula; empty where there is none.
    """

    name: str
    title: str
    profile: str
    limits: Mapping[str, Constant]
    supports: Mapping[str, tuple[str, ...]]
    costs: Mapping[str, CostTable]
    default_cost: str | None
    notes: tuple[str, ...] = ()
    mapping: str = "cores"
    latency_bound: str = ""

    def cost(self, name: str | None = None) -> CostTable | None:
        """Return a cost table by name, the default one, or None for a fit-only target.

        Raises:
            UnknownNameError: for a table this target does not have. TargetError: where it has none.
        """
        if name is None:
            return self.costs[self.default_cost] if self.default_cost else None
        if not self.costs:
            raise TargetError(
                f"no cost table {name!r}: {self.name} has none, its energy is not published",
                node=self.name,
                remedy="leave --cost out",
            )
        if name not in self.costs:
            raise UnknownNameError.of(f"cost table of {self.name}", name, self.costs)
        return self.costs[name]

    def __str__(self) -> str:
        rows = [[limit.name, f"{limit.value:,.0f}", limit.unit] for limit in self.limits.values()]
        tables = ", ".join(self.costs) or "none published"
        about = f"{self.name}: {self.title}; number format {self.profile}; cost tables: {tables}"
        return "\n".join([visible(about), *(f"  {line}" for line in aligned(rows) if rows)])

    def limit(self, name: str) -> int | None:
        """Return a limit, or None where the chip publishes none."""
        return int(self.limits[name].value) if name in self.limits else None

    def to_json(self) -> dict[str, Any]:
        """Return everything with its sources."""
        return {
            "name": self.name,
            "title": self.title,
            "profile": self.profile,
            "mapping": self.mapping,
            "limits": [c.to_json() for c in self.limits.values()],
            "supports": {key: list(value) for key, value in self.supports.items()},
            "costs": {
                name: {
                    "model": table.model,
                    "constants": [c.to_json() for c in table.constants.values()],
                    "not_modelled": list(table.not_modelled),
                    "uncertainty": table.uncertainty,
                    "energy_error": table.energy_error,
                    "latency_error": table.latency_error,
                }
                for name, table in self.costs.items()
            },
            "notes": list(self.notes),
            "latency_bound": self.latency_bound or None,
        }


def takes_events(target: Target) -> bool:
    """Whether a chip tests its threshold after every event."""
    return "event" in target.supports.get("timing", ())


def shipped() -> dict[str, Path]:
    """Return the files of the shipped targets, by name."""
    folder = Path(__file__).parent / "chips"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def targets() -> list[Target]:
    """Return the shipped targets."""
    return [load_target(name) for name in shipped()]


def chip_for(name: str | None) -> Target | None:
    """Return the target of this name or file; None for no name, or a number format that is no chip.

    Raises:
        UnknownNameError, TargetError: see `load_target`.
    """
    if name is None or (name in PROFILES and name not in shipped()):
        return None
    return load_target(name)


def load_target(name: str) -> Target:
    """Return a shipped target by name, or the one a YAML file describes.

    Raises:
        UnknownNameError: naming the near ones.
        TargetError: for a file that is missing or breaks a rule, naming the key, value and remedy.
    """
    from .target_file import read_target

    known = shipped()
    if name in known:
        return read_target(known[name])
    path = Path(name)
    if path.suffix not in SUFFIXES:
        raise UnknownNameError.of("target", name, known)
    if path.is_dir():
        raise TargetError("is a folder, a .yaml file is needed", node=name)
    if not path.is_file():
        raise TargetError("no such file", node=name, remedy=near_files(path, "a .yaml file"))
    return read_target(path)
