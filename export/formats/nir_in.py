"""NIR in: our own files exactly, everybody's as a float graph.

Other tools' files are discretised by forward Euler with dt (`nir_nodes`); hard reset to v_reset;
`>`. Several edges into a node are added. dt and scheme are recorded in the graph's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from ..ir import (
    Add,
    Delay,
    Edge,
    FormatError,
    Graph,
    Neuron,
    Node,
    Output,
    Shape,
    SpikewrightError,
    UnknownNameError,
    check,
)
from ..ir.shapes import RULES, ShapeMismatch
from .nir_card import KEY, is_ours, restore
from .nir_file import NirFile, load_nir
from .nir_nodes import CONVERTERS, NEURONS, array_of

DIALECTS = ("portable",)
DEFAULT_DT = 1e-4


def read_nir(
    path: str | Path,
    dialect: str = "portable",
    *,
    dt: float | None = None,
    strict: bool = False,
) -> Graph:
    """Return the graph of a NIR file: exactly ours, or a float graph discretised by Euler.

    Args:
        dt: seconds a step; default: what the file's metadata says, else 1e-4.
        strict: refuse a recurrent file, whose delays would be put where NIR names none.

    Raises:
        FormatError: naming the file, the node and what is wrong.
        UnknownNameError: for a dialect that does not exist.
    """
    if dialect not in DIALECTS:
        raise UnknownNameError.of("dialect", dialect, DIALECTS)
    try:
        raw = load_nir(Path(path))
        if is_ours(raw.metadata):
            return restore(np.asarray(raw.metadata[KEY]))
        return _Reader(raw, _step(raw, dt), strict).graph()
    except SpikewrightError as error:
        said = f"{error.node}: {error.reason}" if error.node else error.reason
        raise FormatError(said, node=str(path), remedy=error.remedy) from None


def _step(raw: NirFile, dt: float | None) -> float:
    found = raw.metadata.get("dt", DEFAULT_DT) if dt is None else dt
    step = float(np.asarray(found).reshape(-1)[0])
    if not np.isfinite(step) or step <= 0:
        raise FormatError(f"dt {step} must be above 0 seconds", node="dt")
    return step


class _Reader:
    """Builds the float graph: shapes flow from the Input, so nodes are built in that order."""

    def __init__(self, raw: NirFile, dt: float, strict: bool) -> None:
        self.raw, self.dt, self.strict = raw, dt, strict
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.shapes: dict[str, Shape] = {}
        self.cut: list[str] = []

    def graph(self) -> Graph:
        order, back = self._order()
        for name in order:
            self._build(name, back)
        for source, target in back:
            self.edges.append(Edge(source, f"{source}.to.{target}"))
        readout = "spike_count" if self._ends_in_spikes() else "integrate"
        output = next(n for n, node in self.nodes.items() if isinstance(node, Output))
        self.nodes[output] = Output(readout)  # type: ignore[arg-type]
        metadata = {"dt": self.dt, "scheme": "euler", "dialect": "portable", "delays": self.cut}
        return check(Graph(self.nodes, self.edges, "float", metadata=metadata))

    def _ends_in_spikes(self) -> bool:
        output = next(n for n, node in self.nodes.items() if isinstance(node, Output))
        return any(
            isinstance(self.nodes[e.source], Neuron) for e in self.edges if e.target == output
        )

    def _order(self) -> tuple[list[str], list[tuple[str, str]]]:
        """Return a walking order and the edges that close loops without a Delay of their own."""
        net: nx.DiGraph[str] = nx.DiGraph()
        net.add_nodes_from(self.raw.nodes)
        for edge in self.raw.edges:
            for end in edge:
                if end not in self.raw.nodes:
                    raise FormatError("an edge names no such node", node=end)
        if not self.raw.edges:
            raise FormatError("a graph without edges", remedy="export it again")
        net.add_edges_from(self.raw.edges)
        for kind in ("Input", "Output"):
            self._only(kind)
        back = self._back_edges(net)
        if back and self.strict:
            raise FormatError(
                f"a loop through {back[0][1]} without a Delay", remedy="without --strict"
            )
        net.remove_edges_from(back)
        for name, (kind, _) in self.raw.nodes.items():
            if kind == "Delay":
                net.remove_edges_from(list(net.in_edges(name)))
        try:
            return list(nx.lexicographical_topological_sort(net)), back
        except nx.NetworkXUnfeasible:
            raise FormatError("a loop without a neuron") from None

    def _only(self, kind: str) -> str:
        names = [name for name, (found, _) in self.raw.nodes.items() if found == kind]
        if len(names) != 1:
            raise FormatError(f"{len(names)} {kind} nodes, 1 is needed")
        return names[0]

    def _back_edges(self, net: Any) -> list[tuple[str, str]]:
        """Break each loop at the edge into its first neuron from the Input."""
        distance = nx.single_source_shortest_path_length(net, self._only("Input"))
        back: list[tuple[str, str]] = []
        rest = net.copy()
        delays = [name for name, (kind, _) in self.raw.nodes.items() if kind == "Delay"]
        rest.remove_nodes_from(delays)
        while True:
            try:
                loop = nx.find_cycle(rest)
            except nx.NetworkXNoCycle:
                return back
            ends = [e for e in loop if self.raw.nodes[e[1]][0] in NEURONS]
            if not ends:
                raise FormatError("a loop without a neuron", node=" -> ".join(e[0] for e in loop))
            cut = min(ends, key=lambda e: (distance.get(e[1], 1 << 30), e))
            back.append((cut[0], cut[1]))
            rest.remove_edge(cut[0], cut[1])

    def _build(self, name: str, back: list[tuple[str, str]]) -> None:
        kind, fields = self.raw.nodes[name]
        if kind not in CONVERTERS:
            raise FormatError(
                f"type {kind} cannot be read", node=name, remedy=f"known: {', '.join(CONVERTERS)}"
            )
        sources = [a for a, b in self.raw.edges if b == name and (a, b) not in back]
        looped = [a for a, b in back if b == name]
        for source in looped:
            sources.append(self._delay(source, name, fields))
        if kind == "Delay":
            self._own_delay(name, fields, sources)
            return
        try:
            parts = CONVERTERS[kind](name, fields, self.dt)
        except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
            raise FormatError(f"its fields cannot be used ({error})", node=name) from None
        for k, part in enumerate(parts):
            label = name if k == len(parts) - 1 else f"{name}.{part.kind.lower()}"
            self._put(label, part, sources)
            sources = [label]

    def _delay(self, source: str, target: str, fields: Mapping[str, Any]) -> str:
        """The value that comes back around a loop, one step later."""
        label = f"{source}.to.{target}"
        shape = np.shape(fields.get("v_threshold", fields.get("tau", ())))
        delay = Delay(tuple(int(n) for n in shape))
        self.nodes[label], self.shapes[label] = delay, delay.shape
        self.cut.append(label)
        return label

    def _own_delay(self, name: str, fields: Mapping[str, Any], sources: list[str]) -> None:
        exact = array_of(name, fields, "delay") / self.dt
        steps = np.rint(exact)
        if exact.size == 0 or (steps != steps.flat[0]).any() or steps.flat[0] < 1:
            raise FormatError("delays that differ, or below one step", node=name)
        if (np.abs(exact - steps) > 1e-3).any():
            raise FormatError(
                f"a delay of {exact.flat[0]:.3f} steps of {self.dt} s",
                node=name,
                remedy="give a --dt of which it is a multiple",
            )
        shape = tuple(int(n) for n in steps.shape)
        self.nodes[name], self.shapes[name] = Delay(shape, int(steps.flat[0])), shape
        self.edges += [Edge(source, name, port) for port, source in enumerate(sources)]

    def _put(self, name: str, node: Node, sources: list[str]) -> None:
        if len(sources) > 1:
            joined = f"{name}.sum"
            self._put_plain(joined, Add(), sources)
            sources = [joined]
        self._put_plain(name, node, sources)

    def _put_plain(self, name: str, node: Node, sources: list[str]) -> None:
        self.nodes[name] = node
        self.edges += [Edge(source, name, port) for port, source in enumerate(sources)]
        try:
            self.shapes[name] = RULES[type(node)](node, *(self.shapes[s] for s in sources))
        except ShapeMismatch as error:
            raise FormatError(str(error), node=name) from None
        except TypeError:
            raise FormatError(f"a {node.kind} with {len(sources)} inputs", node=name) from None
