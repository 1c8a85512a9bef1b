"""Graph: named nodes and ordered edges on networkx, at one of three levels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from heapq import heappop, heappush
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import networkx as nx

from .errors import GraphError
from .nodes import Delay, Input, Neuron, Node, Output, Shape
from .profile import Profile
from .shapes import infer

Level: TypeAlias = Literal["float", "folded", "integer"]
LEVELS: tuple[Level, ...] = ("float", "folded", "integer")
ENCODING_ASSUMED = "encoding_assumed"
"""In the metadata of a graph whose source does not say how samples enter it, as NIR does not: True
until samples have shown it, then False."""
DEFAULT_TIME_STEPS = 4
"""Of static samples, where neither the network nor the caller says how many."""
N = TypeVar("N")


class Edge(NamedTuple):
    """One value's way: from `source` into input number `port` of `target`."""

    source: str
    target: str
    port: int = 0


class Graph:
    """An immutable network: what it is at its level, independent of torch and of any file.

    Nodes are walked in one stable order: topological, a Delay standing before the nodes it feeds
    (it emits what it stored), ties by the order of insertion.

    Attributes:
        nodes: name -> node, in that order. Names are source paths such as ``stage2.1.conv1``.
        edges: sorted by target's place in the order, then port.
        level: float | folded | integer.
        profile: the number format, at the integer level.
        metadata: JSON-able provenance (source, calibration, reports).
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        edges: Iterable[tuple[str, str] | tuple[str, str, int]],
        level: Level,
        profile: Profile | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        known = [Edge(edge[0], edge[1], edge[2] if len(edge) == 3 else 0) for edge in edges]
        self._check_ends(nodes, known)
        self.level: Level = level
        self.profile = profile
        self.metadata: Mapping[str, Any] = MappingProxyType(dict(metadata or {}))
        order = _stable_order(nodes, known)
        place = {name: k for k, name in enumerate(order)}
        self.nodes: Mapping[str, Node] = MappingProxyType({name: nodes[name] for name in order})
        self.edges = tuple(sorted(known, key=lambda e: (place[e.target], e.port, place[e.source])))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are built anew of these parts, in their order."""
        nodes, metadata = dict(self.nodes), dict(self.metadata)
        return Graph, (nodes, [tuple(e) for e in self.edges], self.level, self.profile, metadata)

    @staticmethod
    def _check_ends(nodes: Mapping[str, Node], edges: list[Edge]) -> None:
        for edge in edges:
            for end in (edge.source, edge.target):
                if end not in nodes:
                    raise GraphError(
                        f"edge {edge.source} -> {edge.target} has no such node", node=end
                    )

    @classmethod
    def chain(cls, nodes: Mapping[str, Node], level: Level, **options: Any) -> Graph:
        """Return the graph in which each node feeds the next."""
        names = list(nodes)
        return cls(nodes, pairwise(names), level, **options)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The names in walking order."""
        return tuple(self.nodes)

    @cached_property
    def _inputs(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge.target].append(edge.source)
        return {name: tuple(sources) for name, sources in found.items()}

    @cached_property
    def _consumers(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge.source].append(edge.target)
        return {name: tuple(targets) for name, targets in found.items()}

    def inputs(self, name: str) -> tuple[str, ...]:
        """Return the names that feed `name`, by port."""
        return self._inputs[name]

    def consumers(self, name: str) -> tuple[str, ...]:
        """Return the names that `name` feeds, once an edge."""
        return self._consumers[name]

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Output shape of each node, without time and batch.

        Raises:
            GraphError: naming the node whose inputs do not compose.
        """
        return MappingProxyType(infer(self.order, self.nodes, self._inputs))

    def of_kind(self, *kinds: type[N]) -> dict[str, N]:
        """Return the nodes of these classes, in order."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, kinds)}

    @property
    def neurons(self) -> dict[str, Neuron]:
        """The neuron nodes, in order."""
        return self.of_kind(Neuron)

    @cached_property
    def input_name(self) -> str:
        """The name of the one Input."""
        return _only(self, Input)

    @cached_property
    def output_name(self) -> str:
        """The name of the one Output."""
        return _only(self, Output)

    @property
    def input(self) -> Input:
        """The one Input node."""
        return self.of_kind(Input)[self.input_name]

    @property
    def output(self) -> Output:
        """The one Output node."""
        return self.of_kind(Output)[self.output_name]

    def networkx(self) -> nx.MultiDiGraph[str]:
        """Return a copy as networkx: node attribute `node`, edge key and attribute `port`."""
        return _as_networkx(self.nodes, self.edges)

    def replace(
        self,
        nodes: Mapping[str, Node] | None = None,
        edges: Iterable[tuple[str, str] | tuple[str, str, int]] | None = None,
        level: Level | None = None,
        profile: Profile | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Graph:
        """Return a graph with these parts exchanged."""
        return Graph(
            self.nodes if nodes is None else nodes,
            self.edges if edges is None else edges,
            level or self.level,
            profile or self.profile,
            self.metadata if metadata is None else metadata,
        )

    def map_nodes(self, change: Callable[[str, Node], Node]) -> Graph:
        """Return the graph with each node replaced by `change(name, node)`."""
        return self.replace({name: change(name, node) for name, node in self.nodes.items()})

    def __str__(self) -> str:
        from .table import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from .table import as_html

        return as_html(self)


def _only(graph: Graph, kind: type[Any]) -> str:
    names = list(graph.of_kind(kind))
    if len(names) != 1:
        raise GraphError(
            f"{len(names)} {kind.__name__} nodes, a graph has exactly 1",
            node=", ".join(names) or None,
        )
    return names[0]


def _as_networkx(nodes: Mapping[str, Node], edges: Iterable[Edge]) -> nx.MultiDiGraph[str]:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for name, node in nodes.items():
        graph.add_node(name, node=node)
    for edge in edges:
        graph.add_edge(edge.source, edge.target, port=edge.port)
    return graph


def _stable_order(nodes: Mapping[str, Node], edges: list[Edge]) -> list[str]:
    """Topological order with the edges into Delays cut, ties by insertion."""
    names, place = list(nodes), {name: k for k, name in enumerate(nodes)}
    cut = [edge for edge in edges if not isinstance(nodes[edge.target], Delay)]
    missing, fed = dict.fromkeys(names, 0), dict[str, list[str]]()
    for edge in cut:
        missing[edge.target] += 1
        fed.setdefault(edge.source, []).append(edge.target)
    order, ready = list[str](), [k for k, name in enumerate(names) if not missing[name]]
    while ready:  # a heap of places, in order from the start
        order.append(names[heappop(ready)])
        for target in fed.get(order[-1], ()):
            missing[target] -= 1
            if not missing[target]:
                heappush(ready, place[target])
    if len(order) < len(names):
        raise _loop_without_delay(_as_networkx(nodes, cut))
    return order


def _loop_without_delay(graph: nx.MultiDiGraph[str]) -> GraphError:
    loop = " -> ".join(edge[0] for edge in nx.find_cycle(graph))
    remedy = "put a Delay of 1 step on the edge that closes it"
    return GraphError("a loop without a Delay", node=loop, remedy=remedy)
