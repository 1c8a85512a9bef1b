"""Where a loop of a NIR file takes its step: found in one walk, whatever the nodes are called.

NIR has no Delay on most loops. A loop is cut where the network comes back to where it was entered:
at the edges that a depth-first walk closes it by. In a network whose loops each have one entry
these are the same edges for every such walk. Of several entries the one nearest to the Input is
taken, then one that is fed back by neurons alone, then the one that the file names first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx

from ..ir import FormatError

Edges = Sequence[tuple[str, str]]
Key = tuple[int, bool, int]


def back_edges(
    net: nx.DiGraph[str],
    edges: Edges,
    distance: Mapping[str, int],
    stateful: set[str],
) -> list[tuple[str, str]]:
    """Return the edges that close loops, in the order of the file.

    Args:
        edges: in the order of the file. distance: from the Input. stateful: names of neurons.

    Raises:
        FormatError: for a loop without a neuron.
    """
    _refuse_stateless(net, stateful)
    place = {edge: k for k, edge in enumerate(edges)}
    found: set[tuple[str, str]] = set()
    for part in loops(net):
        found |= _closing(net, part, _entry(net, part, place, distance, stateful), place, distance)
    return sorted(found, key=place.__getitem__)


def loops(net: nx.DiGraph[str]) -> list[set[str]]:
    """Return the sets of nodes that lie on loops together."""
    return [
        part
        for part in nx.strongly_connected_components(net)
        if len(part) > 1 or net.has_edge(*(2 * tuple(part)))
    ]


def _refuse_stateless(net: nx.DiGraph[str], stateful: set[str]) -> None:
    for part in loops(net.subgraph([name for name in net if name not in stateful])):
        raise FormatError("a loop without a neuron", node=" -> ".join(sorted(part)[:5]))


def _entry(
    net: nx.DiGraph[str],
    part: set[str],
    place: Mapping[tuple[str, str], int],
    distance: Mapping[str, int],
    stateful: set[str],
) -> str:
    """Return the node where the network enters a loop."""

    def key(name: str) -> Key:
        sources = list(net.predecessors(name))
        weighted = any(source in part and source not in stateful for source in sources)
        entering = [place[source, name] for source in sources if source not in part]
        return distance[name], weighted, min(entering, default=0)

    entries = [name for name in part if any(s not in part for s in net.predecessors(name))]
    return min(entries or part, key=key)


def _closing(
    net: nx.DiGraph[str],
    part: set[str],
    entry: str,
    place: Mapping[tuple[str, str], int],
    distance: Mapping[str, int],
) -> set[tuple[str, str]]:
    """Return the edges of a part that lead back to where a walk from its entry has come from."""

    def following(name: str) -> list[str]:
        inside = [target for target in net.successors(name) if target in part]
        return sorted(inside, key=lambda target: (distance[target], place[name, target]))

    found: set[tuple[str, str]] = set()
    way, seen = {entry}, {entry}
    stack = [(entry, iter(following(entry)))]
    while stack:
        name, left = stack[-1]
        target = next(left, None)
        if target is None:
            stack.pop()
            way.remove(name)
        elif target in way:
            found.add((name, target))
        elif target not in seen:
            seen.add(target)
            way.add(target)
            stack.append((target, iter(following(target))))
    return found
