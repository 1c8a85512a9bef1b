"""Targets: a chip as data, one YAML file each, every number with its source.

Users add a chip by a file of their own (`--target ./mychip.yaml`); `docs/targets.md` explains the
keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..export.ir import PROFILES, TargetError, UnknownNameError

EVIDENCE = ("measured", "calibrated", "simulated", "vendor", "derived", "secondary")
UNITS = ("pJ", "nJ", "uJ", "ns", "us", "ms", "mW", "W", "count", "bits", "words", "bytes")
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Constant:
    """One sourced number.

    Attributes:
        name, value, unit: of the number. source: paper and table, or document.
        evidence: one of `EVIDENCE`. scope: what it covers (per-op, static, ...).
        operating_point: voltage, process, conditions; "not stated" where the source is silent.
    """

    name: str
    value: float
    unit: str
    source: str
    evidence: str
    scope: str = "per-op"
    operating_point: str = "not stated"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class CostTable:
    """Energies and latencies of one model of a chip.

    Attributes:
        model: `events` (per synapse, neuron update and spike) or `operations` (MAC and AC).
        constants: by name. not_modelled: what the figures leave out.
        uncertainty: a published error of the model, or None.
    """

    name: str
    model: str
    constants: Mapping[str, Constant]
    not_modelled: tuple[str, ...]
    uncertainty: str | None = None

    def value(self, name: str) -> float:
        """Return a constant's value, 0 where the table has none."""
        return self.constants[name].value if name in self.constants else 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """A chip: what it holds (`limits`), how it computes (`profile`, `supports`), what it costs."""

    name: str
    title: str
    profile: str
    limits: Mapping[str, Constant]
    supports: Mapping[str, tuple[str, ...]]
    costs: Mapping[str, CostTable]
    default_cost: str | None
    notes: tuple[str, ...] = ()

    def cost(self, name: str | None = None) -> CostTable | None:
        """Return a cost table by name, the default one, or None for a fit-only target.

        Raises:
            UnknownNameError: for a table this target does not have.
        """
        if name is None:
            return self.costs[self.default_cost] if self.default_cost else None
        if name not in self.costs:
            raise UnknownNameError.of(f"cost table of {self.name}", name, self.costs)
        return self.costs[name]

    def limit(self, name: str) -> int | None:
        """Return a limit, or None where the chip publishes none."""
        return int(self.limits[name].value) if name in self.limits else None

    def to_json(self) -> dict[str, Any]:
        """Return everything with its sources."""
        return {
            "name": self.name,
            "title": self.title,
            "profile": self.profile,
            "limits": [c.to_json() for c in self.limits.values()],
            "supports": {key: list(value) for key, value in self.supports.items()},
            "costs": {
                name: {
                    "model": table.model,
                    "constants": [c.to_json() for c in table.constants.values()],
                    "not_modelled": list(table.not_modelled),
                    "uncertainty": table.uncertainty,
                }
                for name, table in self.costs.items()
            },
            "notes": list(self.notes),
        }


def shipped() -> dict[str, Path]:
    """Return the files of the shipped targets, by name."""
    folder = Path(__file__).parent / "chips"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def targets() -> list[Target]:
    """Return the shipped targets."""
    return [load_target(name) for name in shipped()]


def load_target(name: str) -> Target:
    """Return a shipped target by name, or the one a YAML file describes.

    Raises:
        UnknownNameError: naming the near ones.
        TargetError: for a file that is missing or breaks a rule, naming the key, value and remedy.
    """
    known = shipped()
    if name in known:
        return _parse(known[name])
    path = Path(name)
    if path.suffix not in SUFFIXES:
        raise UnknownNameError.of("target", name, known)
    if not path.is_file():
        raise TargetError("no such file", node=name)
    return _parse(path)


def _parse(path: Path) -> Target:
    where = str(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise TargetError(f"not readable YAML ({line})", node=where) from None
    if not isinstance(data, dict):
        raise TargetError("a target file holds one mapping", node=where)
    _known_keys(where, "", data, _KEYS)
    profile = data.get("profile", "generic")
    if profile not in PROFILES:
        raise TargetError(
            f"profile is {profile!r}", node=where, remedy=f"choose among {', '.join(PROFILES)}"
        )
    costs = {
        str(name): _cost(where, str(name), entry)
        for name, entry in _mapping(where, "costs", data.get("costs")).items()
    }
    default = data.get("default_cost", next(iter(costs), None))
    if default is not None and default not in costs:
        raise TargetError(f"default_cost {default!r} is not among the costs", node=where)
    return Target(
        name=str(data.get("name", path.stem)),
        title=str(data.get("title", path.stem)),
        profile=str(profile),
        limits=_constants(where, "limits", data.get("limits"), positive=True),
        supports=_supports(where, data.get("supports")),
        costs=costs,
        default_cost=default,
        notes=tuple(str(note) for note in data.get("notes", ())),
    )


_KEYS = ("name", "title", "profile", "limits", "supports", "costs", "default_cost", "notes")
_CONSTANT_KEYS = ("value", "unit", "source", "evidence", "scope", "operating_point")
_COST_KEYS = ("model", "constants", "not_modelled", "uncertainty")
_MODELS = ("events", "operations")
_SUPPORT_KEYS = ("nodes", "resets", "compares", "inputs")


def _known_keys(where: str, prefix: str, data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            raise TargetError(
                f"unknown key {prefix}{key}", node=where, remedy=f"known: {', '.join(known)}"
            )


def _mapping(where: str, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TargetError(f"{key} is a {type(value).__name__}, a mapping is needed", node=where)
    return value


def _constants(
    where: str, prefix: str, value: Any, *, positive: bool = False
) -> dict[str, Constant]:
    found = {}
    for name, entry in _mapping(where, prefix, value).items():
        found[str(name)] = _constant(where, f"{prefix}.{name}", str(name), entry, positive)
    return found


def _constant(where: str, key: str, name: str, entry: Any, positive: bool) -> Constant:
    entry = _mapping(where, key, entry)
    _known_keys(where, f"{key}.", entry, _CONSTANT_KEYS)
    for needed in ("value", "unit", "source", "evidence"):
        if entry.get(needed) in (None, ""):
            raise TargetError(f"{key} has no {needed}", node=where, remedy=f"add {needed}:")
    value = entry["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TargetError(f"{key}.value is {value!r}, a number is needed", node=where)
    if value < 0 or (positive and value == 0):
        raise TargetError(f"{key}.value is {value}, it must be above 0", node=where)
    for field, allowed in (("unit", UNITS), ("evidence", EVIDENCE)):
        if entry[field] not in allowed:
            raise TargetError(
                f"{key}.{field} is {entry[field]!r}",
                node=where,
                remedy=f"choose among {', '.join(allowed)}",
            )
    rest = {k: str(entry[k]) for k in ("scope", "operating_point") if k in entry}
    return Constant(
        name, float(value), entry["unit"], str(entry["source"]), entry["evidence"], **rest
    )


def _supports(where: str, value: Any) -> dict[str, tuple[str, ...]]:
    data = _mapping(where, "supports", value)
    _known_keys(where, "supports.", data, _SUPPORT_KEYS)
    for key, entry in data.items():
        if not isinstance(entry, list):
            raise TargetError(f"supports.{key} is not a list", node=where)
    return {key: tuple(str(item) for item in entry) for key, entry in data.items()}


def _cost(where: str, name: str, value: Any) -> CostTable:
    key = f"costs.{name}"
    data = _mapping(where, key, value)
    _known_keys(where, f"{key}.", data, _COST_KEYS)
    model = data.get("model")
    if model not in _MODELS:
        raise TargetError(
            f"{key}.model is {model!r}", node=where, remedy=f"choose among {', '.join(_MODELS)}"
        )
    uncertainty = data.get("uncertainty")
    return CostTable(
        name=name,
        model=model,
        constants=_constants(where, f"{key}.constants", data.get("constants")),
        not_modelled=tuple(str(item) for item in data.get("not_modelled", ())),
        uncertainty=None if uncertainty is None else str(uncertainty),
    )
