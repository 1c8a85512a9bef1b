"""The long run: `python tests/fuzz/run.py --graphs 10000 --seed 0`.

Compares every executor with the reference on random graphs, in every spike, state and output, and
prints per node kind how many graphs contained it, were alive in it and saturated behind it: a kind
that was seldom alive was not tested.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import networkx as nx
import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.fuzz.graphs import random_graph, random_input
else:
    from .graphs import random_graph, random_input

from spikewright.export.ir import Array, Graph, Neuron, Node, Output, SpikewrightError
from spikewright.export.ir.arith import symmetric_limits
from spikewright.sim.executor import NAMES, Executor, executor
from spikewright.sim.reference import Reference
from spikewright.sim.trace import Trace
from spikewright.sim.verify import Difference, compare


@dataclass
class Census:
    """What the graphs of a run held: per kind, graphs with it, alive in it, saturated behind it."""

    graphs: int = 0
    values: int = 0
    contained: Counter[str] = field(default_factory=Counter)
    alive: Counter[str] = field(default_factory=Counter)
    saturated: Counter[str] = field(default_factory=Counter)
    rates: list[float] = field(default_factory=list)

    def take(self, graph: Graph, trace: Trace, values: dict[str, bool]) -> None:
        """Count one graph; `values`: which nodes emitted anything but zero."""
        self.graphs += 1
        full = saturated(graph, trace)
        net = graph.networkx()
        marks: dict[str, tuple[bool, bool]] = {}
        for name, node in graph.nodes.items():
            behind = nx.descendants(net, name) | {name}
            for kind in kinds(node):
                was_alive, was_full = marks.get(kind, (False, False))
                marks[kind] = (was_alive or values[name], was_full or bool(behind & full))
        for kind, (is_alive, is_full) in marks.items():
            self.contained[kind] += 1
            self.alive[kind] += is_alive
            self.saturated[kind] += is_full
        self.rates += [float((n.spikes != 0).mean()) for n in trace.neurons.values()]

    def __str__(self) -> str:
        lines = [f"{'kind':34}{'graphs':>8}{'alive':>8}{'saturated':>11}"]
        for kind in sorted(self.contained):
            row = (self.contained[kind], self.alive[kind], self.saturated[kind])
            lines.append(f"{kind:34}{row[0]:>8}{row[1]:>8}{row[2]:>11}")
        low, median, high = np.quantile(self.rates, [0.25, 0.5, 0.75])
        lines.append(
            f"spike rate per neuron node: median {median:.3f}, quartiles {low:.3f}..{high:.3f}"
        )
        return "\n".join(lines)


def kinds(node: Node) -> list[str]:
    """Return the rows a node counts in: its kind, and what is particular about it."""
    if isinstance(node, Neuron):
        marks = {
            f"reset={node.reset}": True,
            f"compare={node.compare}": True,
            f"u {node.u_range}": node.current_based,
            "several spikes": node.max_spikes_per_step > 1,
            "refractory": node.refractory_steps > 0,
            "leak_subtract": node.leak_subtract is not None,
            "v_min": node.v_min is not None,
            "v_low": node.v_low is not None,
            "decay": node.dv is not None,
        }
        return ["Neuron", *(f"Neuron {mark}" for mark, holds in marks.items() if holds)]
    extra = [f"Output {node.readout}"] if isinstance(node, Output) else []
    bits = getattr(node, "bits", None)
    return [node.kind, *extra, *([f"weights of {bits} bits"] if bits else [])]


def saturated(graph: Graph, trace: Trace) -> set[str]:
    """Return the neurons and readouts whose v, u or y was seen at its limit (or wrapped)."""
    found = set()
    for name, node in graph.neurons.items():
        recorded = trace.neurons[name]
        assert recorded.v is not None
        low, high = node.v_limits
        if ((recorded.v <= low) | (recorded.v >= high)).any():
            found.add(name)
        elif recorded.u is not None:
            top = symmetric_limits(node.state_bits)[1]
            if (np.abs(_unwrapped(graph, name, node, trace)) >= top).any():
                found.add(name)
    out = graph.output
    top = symmetric_limits(out.state_bits)[1]
    if out.readout != "none" and (np.abs(trace.output) >= top).any():
        found.add(graph.output_name)
    return found


def _unwrapped(graph: Graph, name: str, node: Neuron, trace: Trace) -> Array:
    """Return u as it would be if it saturated: at its limit exactly where it now wraps."""
    if node.u_range == "saturate":
        u = trace.neurons[name].u
    else:
        other = graph.replace({**graph.nodes, name: replace(node, u_range="saturate")})
        u = Reference().prepare(other).run(trace.input).neurons[name].u
    assert u is not None
    return u


def alive(graph: Graph, trace: Trace) -> dict[str, bool]:
    """Return which nodes emitted anything but zero, neurons by their spikes."""
    from spikewright.sim.counters import values_of

    return {
        name: bool(trace.output.any())
        if isinstance(node, Output)
        else bool(values_of(trace, name).any())
        for name, node in graph.nodes.items()
    }


def one_graph(seed: int, others: list[Executor], census: Census) -> Difference | None:
    """Compare the graph of this seed on all executors; return the first difference."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    x = random_input(graph, rng)
    expected = Reference().prepare(graph).run(x)
    for other in others:
        found = compare(expected, other.prepare(graph).run(x), ("reference", other.name))
        if isinstance(found, Difference):
            return found
        census.values += found
    census.take(graph, expected, alive(graph, expected))
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run; return 1 on the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executors", default=",".join(NAMES))
    options = parser.parse_args(arguments)
    names = [name for name in options.executors.split(",") if name != "reference"]
    others = [executor(name) for name in names]
    census = Census()
    for seed in range(options.seed, options.seed + options.graphs):
        try:
            difference = one_graph(seed, others, census)
        except SpikewrightError as error:
            print(f"seed {seed}: {error}")
            return 1
        if difference is not None:
            print(f"seed {seed}: not equal: {difference}")
            return 1
        if census.graphs % 500 == 0:
            print(f"{census.graphs} graphs, {census.values:,} values", file=sys.stderr, flush=True)
    print(census)
    print(
        f"{census.graphs} graphs from seed {options.seed}, reference = {' = '.join(names)}: "
        f"{census.values:,} values compared, all equal"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
