"""Reading a target's YAML file: every number sourced, every name known, or one line that says why.

The file itself is read by `target_yaml`, which executes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from ..export.ir import PROFILES, TargetError, UnknownNameError
from .names import COSTS, LIMITS, MAPPINGS, SUPPORTS
from .target import EVIDENCE, UNIT_OF, Constant, CostTable, Target
from .target_yaml import read_mapping

_KEYS = (
    "name",
    "title",
    "profile",
    "mapping",
    "limits",
    "supports",
    "costs",
    "default_cost",
    "latency_bound",
    "notes",
)
SECTIONS = ("limits", "supports", "costs")
"""What a target says of a chip: at least one of them."""
LARGEST = 10**12
"""No limit of a chip is larger."""
PER_CORE = ("kernel_words", "neuron_words")
NEEDED = {"crossbar": ("axons_per_core", "neurons_per_core"), "pipeline": ("cores",)}
"""The limits without which a mapping places nothing."""
MAY_BE_EMPTY = ("neuron_options", "budgets", "strides", "pools")
"""Of what a target supports: every network has one of each of the others."""
_CONSTANT_KEYS = ("value", "unit", "source", "evidence", "scope", "operating_point")
_COST_KEYS = (
    "model",
    "constants",
    "not_modelled",
    "uncertainty",
    "energy_error",
    "latency_error",
)


def read_target(path: Path) -> Target:
    """Return the target that a YAML file describes.

    Raises:
        TargetError: for a file that breaks a rule, naming the key, the value and the remedy.
    """
    where = str(path)
    data = read_mapping(path)
    _known_keys(where, "", data, _KEYS)
    profile = _one_of(where, "profile", data.get("profile", "generic"), tuple(PROFILES))
    mapping = _one_of(where, "mapping", data.get("mapping", "cores"), tuple(MAPPINGS))
    costs = {
        str(name): _cost(where, str(name), entry)
        for name, entry in _mapping(where, "costs", data.get("costs")).items()
    }
    default = data.get("default_cost", next(iter(costs), None))
    if default is not None and (not isinstance(default, str) or default not in costs):
        raise TargetError(f"default_cost {default!r} is not among the costs", node=where)
    _says_something(where, data)
    return Target(
        name=_text(where, "name", data.get("name", path.stem)),
        title=_text(where, "title", data.get("title", path.stem)),
        profile=profile,
        limits=_for_mapping(where, mapping, _limits(where, data.get("limits"))),
        supports=_supports(where, data.get("supports")),
        costs=costs,
        default_cost=default,
        notes=_texts(where, "notes", data.get("notes")),
        mapping=mapping,
        latency_bound=str(data.get("latency_bound", "")),
    )


def _says_something(where: str, data: Mapping[str, Any]) -> None:
    """Raise TargetError for an empty section, and for a chip of no limits and no costs.

    Such a file would say of every network that it fits.
    """
    for section in SECTIONS:
        if section in data and not data[section]:
            raise TargetError(f"{section} is empty", node=where, remedy="fill it, or leave it out")
    if not any(section in data for section in SECTIONS):
        remedy = "state the chip's limits, each with value, unit, source and evidence"
        raise TargetError(f"none of {', '.join(SECTIONS)}", node=where, remedy=remedy)


def _one_of(where: str, key: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        remedy = f"choose among {', '.join(allowed)}"
        raise TargetError(f"{key} is {value!r}", node=where, remedy=remedy)
    return str(value)


def _known_keys(where: str, prefix: str, data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            near = UnknownNameError.of("key", str(key), known).remedy
            raise TargetError(f"unknown key {prefix}{key}", node=where, remedy=near)


def _mapping(where: str, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TargetError(f"{key} is a {type(value).__name__}, a mapping is needed", node=where)
    return value


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TargetError(f"{key} is not a list", node=where)
    for item in value:
        if isinstance(item, (dict, list)):
            remedy = "quote a text that holds a colon"
            raise TargetError(f"{key} holds {item!r}, a text is needed", node=where, remedy=remedy)
    return tuple(str(item) for item in value)


def _text(where: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TargetError(f"{key} is {value!r}, a text is needed", node=where)
    return value


def _for_mapping(where: str, mapping: str, limits: dict[str, Constant]) -> dict[str, Constant]:
    """Return the limits, with all that the mapping cannot do without."""
    for needed in NEEDED.get(mapping, ()):
        if needed not in limits:
            remedy = f"give limits.{needed}, or another mapping"
            raise TargetError(f"mapping {mapping} needs limits.{needed}", node=where, remedy=remedy)
    cores = int(limits["cores"].value) if "cores" in limits else 1
    for name, limit in limits.items():
        each = limit.per_core
        if name in PER_CORE and mapping == "pipeline" and not each:
            raise TargetError(f"limits.{name} has no per_core", node=where, remedy="list each core")
        if each and len(each) != cores:
            found = f"limits.{name}.per_core names {len(each)} cores of {cores}"
            raise TargetError(found, node=where, remedy="list each core")
    return limits


def _limits(where: str, value: Any) -> dict[str, Constant]:
    found = {}
    data = _mapping(where, "limits", value)
    _known_keys(where, "limits.", data, tuple(LIMITS))
    for name, entry in data.items():
        found[name] = _constant(where, f"limits.{name}", name, entry, (*_CONSTANT_KEYS, "per_core"))
        value = _number(where, f"limits.{name}.value", entry["value"], positive=True)
        if value != int(value) or value > LARGEST:
            raise TargetError(
                f"limits.{name}.value is {value:g}, a whole number up to {LARGEST:g} is needed",
                node=where,
            )
    return found


def _constant(where: str, key: str, name: str, entry: Any, keys: tuple[str, ...]) -> Constant:
    entry = _mapping(where, key, entry)
    _known_keys(where, f"{key}.", entry, keys)
    for needed in ("value", "unit", "source", "evidence"):
        if entry.get(needed) in (None, ""):
            raise TargetError(f"{key} has no {needed}", node=where, remedy=f"add {needed}:")
    for said in ("source", "scope", "operating_point"):
        if said in entry:
            _text(where, f"{key}.{said}", entry[said])
    value = _number(where, f"{key}.value", entry["value"])
    unit = next((u for end, u in UNIT_OF.items() if name.endswith(end)), "count")
    if entry["unit"] != unit:
        raise TargetError(
            f"{key}.unit is {entry['unit']!r}", node=where, remedy=f"{name} is in {unit}: convert"
        )
    _one_of(where, f"{key}.evidence", entry["evidence"], EVIDENCE)
    rest: dict[str, Any] = {k: str(entry[k]) for k in ("scope", "operating_point") if k in entry}
    ends = {k: _number(where, f"{key}.{k}", entry[k]) for k in ("low", "high") if k in entry}
    if not ends.get("low", value) <= value <= ends.get("high", value):
        raise TargetError(f"{key}: {value:g} is outside its own range {ends}", node=where)
    return Constant(
        name,
        value,
        unit,
        str(entry["source"]),
        entry["evidence"],
        per_core=_per_core(where, key, entry, value),
        low=ends.get("low"),
        high=ends.get("high"),
        **rest,
    )


def _number(where: str, key: str, value: Any, *, positive: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise TargetError(f"{key} is {value!r}, a number is needed", node=where)
    if value < 0 or (positive and value == 0):
        raise TargetError(f"{key} is {value}, it must be above 0", node=where)
    return float(value)


def _per_core(where: str, key: str, entry: Mapping[str, Any], total: float) -> tuple[int, ...]:
    shares = entry.get("per_core", [])
    if not isinstance(shares, list) or any(not isinstance(n, int) or n < 1 for n in shares):
        raise TargetError(f"{key}.per_core is {shares!r}, a list of counts is needed", node=where)
    if shares and sum(shares) != total:
        raise TargetError(
            f"{key}.value is {total:g}, per_core sums to {sum(shares)}",
            node=where,
            remedy="give the sum",
        )
    return tuple(shares)


def _supports(where: str, value: Any) -> dict[str, tuple[str, ...]]:
    data = _mapping(where, "supports", value)
    _known_keys(where, "supports.", data, tuple(SUPPORTS))
    found = {key: _texts(where, f"supports.{key}", entry) for key, entry in data.items()}
    for key, entry in found.items():
        if not entry and key not in MAY_BE_EMPTY:
            remedy = "list what the chip has, or leave it out"
            raise TargetError(f"supports.{key} is empty", node=where, remedy=remedy)
        for item in entry:
            allowed = SUPPORTS[key]
            if allowed and item not in allowed:
                _one_of(where, f"supports.{key}", item, allowed)
            if not allowed and not (item.isdigit() and int(item) > 0):
                wrong = f"supports.{key} holds {item!r}, whole numbers are needed"
                raise TargetError(wrong, node=where)
    return found


def _cost(where: str, name: str, value: Any) -> CostTable:
    key = f"costs.{name}"
    data = _mapping(where, key, value)
    _known_keys(where, f"{key}.", data, _COST_KEYS)
    model = _one_of(where, f"{key}.model", data.get("model"), tuple(COSTS))
    uncertainty = data.get("uncertainty")
    errors = {
        k: _number(where, f"{key}.{k}", data[k])
        for k in ("energy_error", "latency_error")
        if k in data
    }
    for k, error in errors.items():
        if error >= 1:
            remedy = "a fraction of the estimate, e.g. 0.117"
            raise TargetError(
                f"{key}.{k} is {error:g}, below 1 is needed", node=where, remedy=remedy
            )
    return CostTable(
        name=name,
        model=model,
        constants=_costs(where, f"{key}.constants", data.get("constants"), model),
        not_modelled=_texts(where, f"{key}.not_modelled", data.get("not_modelled")),
        uncertainty=None if uncertainty is None else str(uncertainty),
        **errors,
    )


def _costs(where: str, prefix: str, value: Any, model: str) -> dict[str, Constant]:
    data = _mapping(where, prefix, value)
    if not data:
        raise TargetError(f"{prefix} is empty", node=where, remedy="give constants, or no table")
    _known_keys(where, f"{prefix}.", data, tuple(COSTS[model]))
    keys = (*_CONSTANT_KEYS, "low", "high")
    return {name: _constant(where, f"{prefix}.{name}", name, data[name], keys) for name in data}
