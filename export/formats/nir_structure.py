"""What a NIR graph is as a network: subgraphs laid open, ends found, loops broken at one place.

Everything that is repaired on the way is told to `Repairs`, which under --strict refuses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import networkx as nx
import numpy as np

from ..ir import FormatError, Shape
from .card import shown
from .nir_cuts import back_edges, loops
from .nir_file import NirFile
from .nir_unreached import refuse_driven

STATEFUL = ("IF", "LIF", "CubaLIF", "I", "LI", "CubaLI")
"""Where a loop can be broken: what these emit depends on what entered before."""
MOST_EDGES = 20_000
MOST_AXES = 32
Nodes = dict[str, tuple[str, dict[str, Any]]]


class Repairs:
    """What was mended, one line a kind of repair; under `strict` the first one is refused."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self._found: dict[str, list[str]] = {}

    def note(self, node: str, what: str) -> None:
        """Record that `what` was mended at `node`."""
        if self.strict:
            raise FormatError(what, node=node, remedy="without --strict it is repaired")
        self._found.setdefault(what, []).append(node)

    def lines(self) -> list[str]:
        """Return one line a repair, naming the first nodes."""
        found = []
        for what, noted in self._found.items():
            nodes = list(dict.fromkeys(noted))
            more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
            found.append(f"{', '.join(nodes[:3])}{more}: {what}")
        return found


def opened(raw: NirFile) -> NirFile:
    """Return the graph with every subgraph's nodes in its place, as `subgraph.node`.

    Where a subgraph was entered or left an edge remains; a node, if such an edge is there already:
    what goes two ways arrives twice.
    """
    nodes, edges = _inlined(raw.nodes, raw.edges)
    net = _network(nodes, edges)
    for name in [n for n, (kind, _) in nodes.items() if kind == "Identity"]:
        if net.has_edge(name, name):
            raise FormatError("a loop without a neuron", node=name)
        through = [(a, b) for a in net.predecessors(name) for b in net.successors(name)]
        if any(net.has_edge(*edge) for edge in through):
            continue
        net.add_edges_from(through)
        net.remove_node(name)
        if net.number_of_edges() > MOST_EDGES:
            raise FormatError(f"more than {MOST_EDGES} edges", node=name)
    kept = {name: nodes[name] for name in net.nodes}
    stated = [edge for edge in edges if edge[0] in kept and edge[1] in kept]
    return NirFile(kept, list(_in_order(stated, net)), raw.metadata, raw.version)


def _in_order(stated: list[tuple[str, str]], net: nx.DiGraph[str]) -> Iterator[tuple[str, str]]:
    """Yield the edges of the file in its order, then those laid open."""
    yield from stated
    known = set(stated)
    yield from (edge for edge in net.edges if edge not in known)


def _inlined(nodes: Nodes, edges: list[tuple[str, str]]) -> tuple[Nodes, list[tuple[str, str]]]:
    flat: Nodes = {}
    enter, leave = {}, {}
    links: list[tuple[str, str]] = []
    for name, (kind, fields) in nodes.items():
        if kind != "NIRGraph":
            _put(flat, name, kind, fields)
            continue
        inner, inner_edges = _inlined(fields["nodes"], fields["edges"])
        enter[name] = f"{name}.{_end(inner, inner_edges, 'Input', name)}"
        leave[name] = f"{name}.{_end(inner, inner_edges, 'Output', name)}"
        for key, (inner_kind, values) in inner.items():
            end = inner_kind in ("Input", "Output")
            _put(flat, f"{name}.{key}", "Identity" if end else inner_kind, values)
        links += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges]
    links += [(leave.get(a, a), enter.get(b, b)) for a, b in edges]
    return flat, links


def _put(flat: Nodes, name: str, kind: str, fields: dict[str, Any]) -> None:
    if name in flat:
        raise FormatError("two nodes of this name once subgraphs are laid open", node=name)
    flat[name] = kind, fields


def _end(nodes: Nodes, edges: list[tuple[str, str]], kind: str, graph: str) -> str:
    """Return the one node where a subgraph is entered or left."""
    names = [name for name, (found, _) in nodes.items() if found == kind]
    if not names:
        inner = {b if kind == "Input" else a for a, b in edges}
        names = [name for name in nodes if name not in inner]
    if len(names) != 1:
        raise FormatError(f"a subgraph with {len(names)} {kind} nodes, 1 is needed", node=graph)
    return names[0]


def _network(nodes: Iterable[str], edges: list[tuple[str, str]]) -> nx.DiGraph[str]:
    net: nx.DiGraph[str] = nx.DiGraph()
    net.add_nodes_from(nodes)
    for edge in edges:
        for end in edge:
            if end not in net:
                raise FormatError("an edge names no such node", node=end[:80])
    if not edges:
        raise FormatError("a graph without edges", remedy="export it again")
    if len(edges) > MOST_EDGES:
        raise FormatError(f"{len(edges)} edges, at most {MOST_EDGES} are read")
    net.add_edges_from(edges)
    return net


def whole(raw: NirFile, repairs: Repairs) -> NirFile:
    """Return the graph with one Input and one Output, and nothing beside the ways between them."""
    raw = _renamed(raw, repairs)
    for (source, target), count in Counter(raw.edges).items():
        if count > 1:
            repairs.note(source, f"an edge to {target} {count} times, taken once")
    nodes, edges = dict(raw.nodes), list(dict.fromkeys(raw.edges))
    net = _network(nodes, edges)
    for kind, ends in (("Input", net.in_degree), ("Output", net.out_degree)):
        if _count(nodes, kind) == 0:
            _add_end(kind, [name for name, degree in ends() if degree == 0], nodes, edges, repairs)
        elif _count(nodes, kind) > 1:
            raise FormatError(f"{_count(nodes, kind)} {kind} nodes, 1 is needed")
    net = _network(nodes, edges)
    start, end = only(nodes, "Input"), only(nodes, "Output")
    reached, feeding = nx.descendants(net, start) | {start}, nx.ancestors(net, end) | {end}
    alive = reached & feeding
    if not {start, end} <= alive:
        raise FormatError(f"no way from {start} to {end}")
    refuse_driven(nodes, [name for name in nodes if name in feeding - reached])
    for name in nodes:
        if name in feeding - reached:
            repairs.note(name, "the Input does not reach it and nothing drives it, left out")
        elif name not in alive:
            repairs.note(name, "not on a way from the Input to the Output, left out")
    kept = {name: value for name, value in nodes.items() if name in alive}
    kept[start] = "Input", {"shape": np.asarray(_input_shape(start, kept, net, repairs))}
    return NirFile(kept, [e for e in edges if alive >= set(e)], raw.metadata, raw.version)


def _count(nodes: Nodes, kind: str) -> int:
    return sum(found == kind for found, _ in nodes.values())


def only(nodes: Mapping[str, tuple[str, Any]], kind: str) -> str:
    """Return the name of the one node of a kind."""
    return next(name for name, (found, _) in nodes.items() if found == kind)


def _renamed(raw: NirFile, repairs: Repairs) -> NirFile:
    """Replace what a node name of ours cannot hold."""
    names = {name: _plain(name) for name in raw.nodes}
    for name, new in names.items():
        if new != name:
            repairs.note(new, "renamed: names hold no spaces, slashes or control characters")
    if len(set(names.values())) < len(names):
        raise FormatError("two nodes of one name once spaces and the like are replaced")
    nodes = {names[name]: value for name, value in raw.nodes.items()}
    edges = [(names[a], names[b]) for a, b in raw.edges]
    return NirFile(nodes, edges, raw.metadata, raw.version)


def _plain(name: str) -> str:
    """Return a name without what splits it, steers a terminal or cannot be encoded."""
    return "".join(c if c.isprintable() and c not in " /\\" else "_" for c in name) or "_"


def _add_end(
    kind: str, loose: list[str], nodes: Nodes, edges: list[tuple[str, str]], repairs: Repairs
) -> None:
    if len(loose) != 1:
        raise FormatError(f"no {kind}, and {len(loose)} nodes that could stand at it")
    name = kind.lower()
    while name in nodes:
        name += "_"
    repairs.note(loose[0], f"no {kind} in the file, put here")
    fields = {}
    if kind == "Input":
        shape = entering(*nodes[loose[0]])
        if shape is None:
            raise FormatError("the shape of what enters cannot be told", node=loose[0])
        fields = {"shape": np.asarray(shape)}
    nodes[name] = kind, fields
    edges.append((name, loose[0]) if kind == "Input" else (loose[0], name))


def entering(kind: str, fields: Mapping[str, Any]) -> Shape | None:
    """Return the shape that a node takes, where its own fields say it."""
    weight = np.shape(fields.get("weight", ()))
    if kind in ("Affine", "Linear"):
        return (*weight[:-2], weight[-1]) if len(weight) >= 2 else None
    if kind in ("Conv1d", "Conv2d"):
        spatial = whole_numbers(fields.get("input_shape"))
        groups = whole_numbers(fields.get("groups", 1))
        if spatial is None or not groups or len(weight) < 3:
            return None
        return (weight[1] * groups[0], *spatial)
    for key in ("v_threshold", "tau", "tau_mem", "r", "threshold", "scale", "delay"):
        if key in fields:
            return np.shape(fields[key]) or None
    return None


def whole_numbers(value: Any) -> Shape | None:
    """Return a field as whole numbers, None where it holds anything else or more than a shape."""
    found = np.asarray(value).reshape(-1)
    if found.dtype.kind not in "iuf" or found.size > MOST_AXES or not np.isfinite(found).all():
        return None
    return None if (found != np.rint(found)).any() else tuple(int(n) for n in found)


_RANKS = {"Conv1d": 2, "Conv2d": 3, "SumPool2d": 3, "AvgPool2d": 3}


def _input_shape(name: str, nodes: Nodes, net: nx.DiGraph[str], repairs: Repairs) -> Shape:
    """Return the Input's shape without a batch axis, told by what the first node takes."""
    shape = shape_of(name, nodes[name][1], "input_type")
    for target in sorted(net.successors(name)):
        kind, fields = nodes.get(target, ("", {}))
        taken = entering(kind, fields)
        rank = _RANKS.get(kind, len(taken) if taken else None)
        demanded = kind in _RANKS or shape[:1] == (1,)
        if rank is not None and len(shape) == rank + 1 and demanded:
            repairs.note(name, f"shape {shape} has a batch axis, left out")
            return shape[1:]
    if len(shape) == 4 and shape[0] == 1:
        repairs.note(name, f"shape {shape} has a batch axis, left out")
        return shape[1:]
    return shape


def shape_of(name: str, fields: Mapping[str, Any], key: str) -> Shape:
    """Return a shape that a node declares, under `key` or, as older files have it, `shape`."""
    inner = fields.get(key, fields.get("shape"))
    value = inner.get(key.removesuffix("_type")) if isinstance(inner, dict) else inner
    if value is None:
        raise FormatError(f"{key} is missing", node=name)
    shape = whole_numbers(value)
    if shape is None:
        first = np.asarray(value).reshape(-1)[:8].tolist()
        raise FormatError(f"{key} {shown(first)} is no shape", node=name)
    return shape


def no_delay(fields: Mapping[str, Any]) -> bool:
    """Whether a Delay hands on at once what enters it."""
    values = np.asarray(fields.get("delay", 1))
    return values.size > 0 and values.dtype.kind in "fiu" and not values.any()


def walking_order(raw: NirFile, repairs: Repairs) -> tuple[list[str], list[tuple[str, str]]]:
    """Return an order in which nodes can be built, and the edges that close loops (`nir_cuts`).

    A Delay of the file's own that lies on a loop emits what it stored, so that nothing need be cut
    there.
    """
    kinds = {name: kind for name, (kind, _) in raw.nodes.items()}
    net = _network(raw.nodes, raw.edges)
    distance = nx.single_source_shortest_path_length(net, only(raw.nodes, "Input"))
    delays = [n for part in loops(net) for n in part if kinds[n] == "Delay"]
    delays = [name for name in delays if not no_delay(raw.nodes[name][1])]
    net.remove_edges_from([edge for name in delays for edge in net.in_edges(name)])
    stateful = {name for name, kind in kinds.items() if kind in STATEFUL}
    back = back_edges(net, raw.edges, distance, stateful)
    for source, target in back:
        repairs.note(f"{source} -> {target}", "a loop without a Delay, a step put there")
    net.remove_edges_from(back)
    return list(nx.lexicographical_topological_sort(net)), back
