"""Mutations of trees: JSON and YAML whose fields change type, size, name or place."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

Rng = np.random.Generator
Place = tuple[Any, Any]
"""A list or dict, and the index or key of one value in it."""

TEXTS = (
    "",
    "\x00",
    "\x1b[31mred",
    "‮txet",
    "a\nb",
    "../../etc/passwd",
    "http://example.com/x",
    "cifar10:/etc",
    "x" * 5000,
    "9" * 5000,
    "é\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "<script>alert(1)</script>",
    "__class__",
)
NUMBERS = (0, -1, 1, 2, 7, 1 << 31, -(1 << 31), 1 << 63, -(1 << 63) - 1, 1 << 200, 0.5, -0.0)
NOT_FINITE = (float("nan"), float("inf"), float("-inf"), 1e308, 5e-324)


def deep(levels: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def odd_value(rng: Rng) -> Any:
    """Return what a field would not expect."""
    choices: list[Any] = [None, True, False, [], {}, [[]], {"a": 1}, deep(60), [0] * 3000]
    choices += [*TEXTS, *NUMBERS, *NOT_FINITE]
    return choices[int(rng.integers(len(choices)))]


def places(tree: Any) -> list[Place]:
    """Return every value of a tree, as the container and its key."""
    listed: list[Place] = []
    pending = [tree]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            listed += [(value, key) for key in value]
            pending += value.values()
        elif isinstance(value, list):
            listed += [(value, index) for index in range(len(value))]
            pending += value
    return listed


def mutated_tree(tree: Any, rng: Rng) -> Any:
    """Return a copy of a tree with one to three values changed."""
    tree = copy.deepcopy(tree)
    for _ in range(int(rng.integers(1, 4))):
        listed = places(tree)
        if not listed:
            return odd_value(rng)
        _mutate(listed, rng)
    return tree


def _mutate(listed: list[Place], rng: Rng) -> None:
    inside, key = listed[int(rng.integers(len(listed)))]
    way = int(rng.integers(7))
    if way == 0:
        del inside[key]
    elif way == 1 and isinstance(inside, dict):
        name = TEXTS[int(rng.integers(len(TEXTS)))]
        inside[name] = inside.pop(key)
    elif way == 2:
        other, where = listed[int(rng.integers(len(listed)))]
        inside[key] = copy.deepcopy(other[where]) if where in _keys(other) else None
    elif way == 3 and isinstance(inside[key], (int, float)):
        inside[key] = _near(inside[key], rng)
    elif way == 4 and isinstance(inside[key], list):
        inside[key] = inside[key] * int(rng.integers(0, 4))
    else:
        inside[key] = odd_value(rng)


def _keys(container: Any) -> Any:
    return container if isinstance(container, dict) else range(len(container))


def _near(value: float, rng: Rng) -> Any:
    """Return a number beside the right one, which a judge of types lets pass."""
    steps = (1, -1, value, -2 * value, 1000, 1 << 20, 0.25)
    return value + steps[int(rng.integers(len(steps)))]
