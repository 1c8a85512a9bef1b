"""The order of a NIR file for readers that visit nodes depth first.

nirtorch's GraphExecutor (2.0.2 and 2.6, which norse 1.1.0 and sinabs 3.1.3 load files by) computes
nodes in the order in which a walk from the Input first meets them. Where two ways meet again, the
node that adds them is met by the first way, before the second was walked, and adds what the second
brought a step ago. Two things lead the walk: edges stand in the order in which they should be
followed; and where the walk would run ahead, weights of zero bridge it to what must come first,
which changes no value.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np

from ..ir import Shape
from ..names import unused
from .nir_file import NirFile
from .nir_structure import Nodes, Repairs, walking_order

Edges = list[tuple[str, str]]
LARGEST_KERNEL = 4


def led(
    nir: Any, nodes: dict[str, Any], edges: Edges, shapes: Mapping[str, Shape]
) -> tuple[dict[str, Any], Edges, list[str]]:
    """Return nodes and edges that a walk visits in an order that can be computed.

    Args:
        shapes: of what each node emits.

    Returns:
        nodes, edges, and the nodes that no bridge could put off until their inputs are known.
    """
    if any(isinstance(node, nir.Delay) for node in nodes.values()):
        return nodes, edges, []  # which no such reader loads
    walk = _Walk(nir, nodes, edges, shapes)
    walk.run()
    place = {name: k for k, name in enumerate(walk.order)}
    ordered = sorted(walk.edges, key=lambda edge: (place[edge[0]], place[edge[1]]))
    return walk.nodes, ordered, walk.early


class _Walk:
    """Walks depth first; where no node can be computed next, bridges to one that can."""

    def __init__(
        self, nir: Any, nodes: dict[str, Any], edges: Edges, shapes: Mapping[str, Shape]
    ) -> None:
        self.nir, self.nodes, self.edges, self.shapes = nir, dict(nodes), list(edges), shapes
        kinds: Nodes = {name: (type(node).__name__, {}) for name, node in nodes.items()}
        known, back = walking_order(NirFile(kinds, edges), Repairs(strict=False))
        forward = [edge for edge in edges if edge not in set(back)]
        self.before = {name: [a for a, b in forward if b == name] for name in known}
        self.after = {name: [b for a, b in forward if a == name] for name in known}
        self.known = known
        self.order: list[str] = []
        self.seen: set[str] = set()
        self.early: list[str] = []

    def run(self) -> None:
        """Visit every node once."""
        here = [self.known[0]]
        self._visit(here[0])
        while here:
            following = self._next(here[-1])
            if following is None:
                here.pop()
            else:
                here.append(following)
                self._visit(following)

    def _visit(self, name: str) -> None:
        self.order.append(name)
        self.seen.add(name)

    def _next(self, here: str) -> str | None:
        waiting = [name for name in self.after.get(here, ()) if name not in self.seen]
        if not waiting:
            return None
        ready = [name for name in waiting if self._ready(name)]
        if ready:
            return ready[0]
        for name in self.known:
            if name not in self.seen and self._ready(name) and self._bridge(here, name):
                return name
        self.early.append(waiting[0])
        return waiting[0]

    def _ready(self, name: str) -> bool:
        return all(source in self.seen for source in self.before[name])

    def _bridge(self, here: str, there: str) -> bool:
        """Put zero weights from one node to another; return whether any fit."""
        entering = self.shapes[self.before[there][0]]
        found = zero_weights(self.nir, self.shapes[here], entering)
        labels = [f"{there}.after.{here}", f"{there}.flat.{here}"][: len(found)][::-1]
        names = [unused(label, self.nodes) for label in labels]
        way = [here, *names, there]
        self.nodes |= dict(zip(names, found, strict=True))
        self.edges += list(pairwise(way)) if found else []
        for name in names:
            self._visit(name)
        return bool(found)


def zero_weights(nir: Any, taken: Shape, wanted: Shape) -> list[Any]:
    """Return nodes that take one shape and emit zeros of another; empty where none do."""
    if len(wanted) == 1:
        size = prod(taken)
        zeros = nir.Affine(weight=_zeros(wanted[0], size), bias=_zeros(wanted[0]))
        shape = {"input": np.array(taken)}
        flat = [nir.Flatten(input_type=shape, start_dim=0, end_dim=-1)]
        return [*(flat if len(taken) > 1 else []), zeros]
    if len(wanted) != 3 or len(taken) != 3:
        return []
    for kernel in range(1, LARGEST_KERNEL):
        rows, columns = (_window(taken[k], wanted[k], kernel) for k in (1, 2))
        if rows and columns:
            stride, padding = zip(rows, columns, strict=True)
            weight, bias = _zeros(wanted[0], taken[0], kernel, kernel), _zeros(wanted[0])
            return [nir.Conv2d(taken[1:], weight, stride, padding, (1, 1), 1, bias)]
    return []


def _window(taken: int, wanted: int, kernel: int) -> tuple[int, int] | None:
    """Return stride and padding with which a kernel turns one size into another."""
    paddings = range(max(0, wanted - taken) // 2 + kernel)
    for stride, padding in product(range(1, taken + 1), paddings):
        room = taken + 2 * padding - kernel
        if room >= 0 and room // stride + 1 == wanted:
            return stride, padding
    return None


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)
