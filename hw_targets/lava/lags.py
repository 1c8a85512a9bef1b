"""Lags: by how many steps each node of a graph trails when every synapse takes one step.

Lava's synapses (and Loihi's) deliver one step later, ours within the step. A node of lag L computes
at Lava's step t what the graph computes at step t - L. Branches of unequal lag that meet wait for
the slowest; a graph's own Delay gives back what it delays, and a loop must give back at least what
its synapses take.
"""

from __future__ import annotations

import networkx as nx

from ...export.ir import WEIGHTS, Delay, ExecutorError, Graph, Input, Node, Scale, SumPool

SYNAPSES = (*WEIGHTS, SumPool, Scale)
"""The nodes that become a synapse process, which takes one step."""


def step_cost(node: Node) -> int:
    """Return how many steps a node takes on Lava beyond those it takes in the graph."""
    if isinstance(node, Delay):
        return -node.steps
    return int(isinstance(node, SYNAPSES))


def lags(graph: Graph) -> dict[str, int]:
    """Return the least lag of each node, 0 for the Input.

    The longest path over the graph's edges, Delays counting negatively; never below 0.

    Raises:
        ExecutorError: naming a Delay whose loop has more synapses than steps.
    """
    found = before = dict.fromkeys(graph.nodes, 0)
    for _ in range(len(graph.nodes) + 1):
        before = dict(found)
        for name, node in graph.nodes.items():
            if not isinstance(node, Input):
                slowest = max(found[source] for source in graph.inputs(name))
                found[name] = max(0, slowest + step_cost(node))
        if found == before:
            return found
    growing = [n for n in graph.of_kind(Delay) if found[n] > before[n]]
    raise _too_tight(graph, growing or list(graph.of_kind(Delay)))


def _too_tight(graph: Graph, delays: list[str]) -> ExecutorError:
    """Name the tightest loop through one of the Delays."""
    ways = nx.DiGraph(graph.networkx())
    loops = []
    for name in delays:
        end = graph.inputs(name)[0]
        if nx.has_path(ways, name, end):
            way = nx.shortest_path(ways, name, end)
            synapses = sum(isinstance(graph.nodes[n], SYNAPSES) for n in way)
            steps = sum(d.steps for d in (graph.nodes[n] for n in way) if isinstance(d, Delay))
            loops.append((steps - synapses, name, synapses, steps))
    _, name, synapses, steps = min(loops)
    return ExecutorError(
        f"its loop passes {synapses} synapses, which take {synapses} steps on Lava, "
        f"and is delayed by {steps}",
        node=name,
        remedy="delay the loop by at least as many steps as it has synapses",
    )
