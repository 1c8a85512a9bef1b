"""The long run: `python tests/fuzz/run.py --graphs 10000 --seed 0`.

Compares every executor with the reference on random graphs, in every spike, state and output, and
prints per node kind how many graphs contained it, were alive in it (it emitted spikes or currents)
and saturated in it: a kind that was seldom alive was not tested. Exit code 1 on the first
difference, with the seed of its graph, and where a kind or the spike rate was seen too little.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import networkx as nx
import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.fuzz.forced import ForcedNative, differs, forced_natives
    from tests.fuzz.graphs import random_graph, random_input
    from tests.fuzz.wide import wide_graph, wide_input
else:
    from .forced import ForcedNative, differs, forced_natives
    from .graphs import random_graph, random_input
    from .wide import wide_graph, wide_input

from spikewright.export.ir import (
    WEIGHTS,
    Add,
    Array,
    Delay,
    Graph,
    Input,
    Linear,
    MaxPool,
    Neuron,
    Output,
    SpikewrightError,
    Weight,
    value_kinds,
)
from spikewright.export.ir.arith import symmetric_limits
from spikewright.sim.executor import NAMES, Executor, executor
from spikewright.sim.reference import Reference
from spikewright.sim.trace import Trace
from spikewright.sim.verify import Difference, compare

MANY = 1000
WIDE = 3
"""Each graph of that many is one of wide layers (`wide.py`); shares no factor with the turns."""
FORCED = 4
"""Tables and choices of the engine that are forced on each graph."""
LOWEST_RATE, HIGHEST_RATE = 0.01, 0.4
NOT_APPLICABLE = {("Output none", "saturated")}
"""Columns a kind cannot be seen in: a readout without state has nothing to saturate."""


@dataclass
class Census:
    """What the graphs of a run held: per kind, graphs with it, alive in it, saturated in it.

    `wide`: how many of them are of wide layers, which are drawn over few kinds. Saturated: the
    neuron or readout itself, or one that the node feeds without another between.
    """

    graphs: int = 0
    wide: int = 0
    forced: Counter[str] = field(default_factory=Counter)
    values: int = 0
    contained: Counter[str] = field(default_factory=Counter)
    alive: Counter[str] = field(default_factory=Counter)
    saturated: Counter[str] = field(default_factory=Counter)
    rates: list[float] = field(default_factory=list)

    def take(self, graph: Graph, trace: Trace, values: dict[str, bool]) -> None:
        """Count one graph; `values`: which nodes emitted anything but zero."""
        self.graphs += 1
        full = saturated(graph, trace)
        marks: dict[str, tuple[bool, bool]] = {}
        for name in graph.nodes:
            was_full = bool(fed(graph, name) & full)
            for kind in kinds(graph, name):
                seen = marks.get(kind, (False, False))
                marks[kind] = (seen[0] or values[name], seen[1] or was_full)
        for kind, (is_alive, is_full) in marks.items():
            self.contained[kind] += 1
            self.alive[kind] += is_alive
            self.saturated[kind] += is_full
        self.rates += [float((n.spikes != 0).mean()) for n in trace.neurons.values()]

    @property
    def median_rate(self) -> float:
        """The median over neuron nodes of the share of steps with a spike."""
        return float(np.median(self.rates))

    def seldom(self, least: int) -> list[str]:
        """Return what was seen in fewer than `least` graphs: it was not tested."""
        columns = {"contained": self.contained, "alive": self.alive, "saturated": self.saturated}
        return [
            f"{kind} {column} in {counts[kind]} graphs"
            for kind in sorted(self.contained)
            for column, counts in columns.items()
            if counts[kind] < least and (kind, column) not in NOT_APPLICABLE
        ]

    def __str__(self) -> str:
        lines = [f"{'kind':34}{'graphs':>8}{'alive':>8}{'saturated':>11}"]
        for kind in sorted(self.contained):
            full = "-" if (kind, "saturated") in NOT_APPLICABLE else self.saturated[kind]
            lines.append(f"{kind:34}{self.contained[kind]:>8}{self.alive[kind]:>8}{full:>11}")
        low, median, high = np.quantile(self.rates, [0.25, 0.5, 0.75])
        lines.append(
            f"spike rate per neuron node: median {median:.3f}, quartiles {low:.3f}..{high:.3f}"
        )
        return "\n".join(lines)


def fed(graph: Graph, name: str) -> set[str]:
    """Return the neurons and the readout that a node is or feeds, none other between."""
    found, waiting, seen = set(), [name], {name}
    while waiting:
        here = waiting.pop()
        if isinstance(graph.nodes[here], (Neuron, Output)):
            found.add(here)
            continue
        new = [target for target in graph.consumers(here) if target not in seen]
        seen.update(new)
        waiting += new
    return found


def kinds(graph: Graph, name: str) -> list[str]:
    """Return the rows a node counts in: its kind, and what is particular about it."""
    node = graph.nodes[name]
    return [node.kind, *(f"{node.kind} {mark}" for mark, holds in _marks(graph, name) if holds)]


def _marks(graph: Graph, name: str) -> list[tuple[str, bool]]:
    node = graph.nodes[name]
    if isinstance(node, Neuron):
        return _neuron_marks(node)
    if isinstance(node, WEIGHTS):
        return _weight_marks(node)
    if isinstance(node, (Add, MaxPool)):
        received = {value_kinds(graph)[source] for source in graph.inputs(name)}
        return [("of spikes", received == {"spike"}), ("of currents", "current" in received)]
    if isinstance(node, Delay):
        looped = nx.has_path(graph.networkx(), name, graph.inputs(name)[0])
        return [("in a loop", looped), ("feed-forward", not looped)]
    return [
        (str(getattr(node, "encoding", "")), isinstance(node, Input)),
        (str(getattr(node, "readout", "")), isinstance(node, Output)),
        ("transposed", getattr(node, "transpose_b", False)),
    ]


def _weight_marks(node: Weight) -> list[tuple[str, bool]]:
    half = 1 << ((node.bits or 8) - 1)
    marks = [
        (f"of {node.bits} bits", True),
        ("shifted", node.weight_shift > 0),
        ("with the lowest code", int(node.weight.min()) == -half),
    ]
    if isinstance(node, Linear):
        return marks
    return [
        *marks,
        ("strided", max(node.stride) > 1),
        ("padded", max(node.padding) > 0),
        ("padded unevenly", node.padding_end is not None),
        ("dilated", max(node.dilation) > 1),
        ("in groups", node.groups > 1),
    ]


def _neuron_marks(node: Neuron) -> list[tuple[str, bool]]:
    return [
        (f"reset={node.reset}", True),
        (f"compare={node.compare}", True),
        (f"u {node.u_range}", node.current_based),
        ("several spikes", node.max_spikes_per_step > 1),
        ("refractory", node.refractory_steps > 0),
        ("leak_subtract", node.leak_subtract is not None),
        ("v_min", node.v_min is not None),
        ("v_low", node.v_low is not None),
        ("decay", node.dv is not None),
        ("bias", node.bias is not None),
        ("bias_in", node.bias_in is not None),
        ("v_init", bool(node.v_init.any())),
        ("v_reset", node.reset == "hard" and bool(node.v_reset.any())),
        ("threshold per neuron", node.v_threshold.ndim > 0),
        ("state_shift", node.state_shift > 0),
    ]


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
    from spikewright.sim.travelled import values_of

    return {
        name: bool(trace.output.any())
        if isinstance(node, Output)
        else bool(values_of(trace, name).any())
        for name, node in graph.nodes.items()
    }


def one_graph(
    seed: int,
    others: list[Executor],
    census: Census,
    forced: Sequence[ForcedNative] = (),
    wide: int = WIDE,
) -> Difference | None:
    """Compare the graph of this seed on all executors; return the first difference.

    `forced`: the engine's tables and choices, of which each seed takes the next few. `wide`: one
    graph of so many is of wide layers; 0: none.
    """
    rng = np.random.default_rng(seed)
    if wide and seed % wide == wide - 1:
        graph = wide_graph(rng)
        census.wide += 1
        x = wide_input(graph, rng)
    else:
        graph = random_graph(rng)
        x = random_input(graph, rng)
    expected = Reference().prepare(graph).run(x)
    for other in others:
        found = compare(expected, other.prepare(graph).run(x), ("reference", other.name))
        if isinstance(found, Difference):
            return found
        census.values += found
    for k in range(FORCED if forced else 0):
        turn = forced[(seed * FORCED + k) % len(forced)]
        found = differs(turn, graph, x, expected)
        if isinstance(found, Difference):
            return found
        census.values += found
        census.forced[turn.name] += 1
    census.take(graph, expected, alive(graph, expected))
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run; return 1 on the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executors", default=",".join(NAMES))
    parser.add_argument(
        "--wide", type=int, default=WIDE, help="one graph of N is of wide layers (0: none)"
    )
    options = parser.parse_args(arguments)
    names = [name for name in options.executors.split(",") if name != "reference"]
    others = [executor(name) for name in names]
    forced = forced_natives() if "native" in names else []
    census = Census()
    for seed in range(options.seed, options.seed + options.graphs):
        try:
            difference = one_graph(seed, others, census, forced, options.wide)
        except SpikewrightError as error:
            print(f"seed {seed}: {error}")
            return 1
        except Exception:
            print(f"seed {seed}: broke", file=sys.stderr)
            raise
        if difference is not None:
            print(f"seed {seed}: not equal: {difference}")
            return 1
        if census.graphs % 500 == 0:
            print(f"{census.graphs} graphs, {census.values:,} values", file=sys.stderr, flush=True)
    print(census)
    for name, graphs in census.forced.items():
        print(f"{name:40}{graphs:>8} graphs")
    print(
        f"{census.graphs} graphs from seed {options.seed}, reference = {' = '.join(names)}: "
        f"{census.values:,} values compared, all equal"
    )
    return _judge(census)


def _judge(census: Census) -> int:
    """Return 1 if a kind was seen too little in many graphs, or the median rate is off.

    Too little: in fewer than 1 % of the narrow graphs, which alone are drawn over every kind.
    """
    narrow = census.graphs - census.wide
    problems = census.seldom(narrow // 100 if census.graphs >= MANY else 0)
    if not LOWEST_RATE <= census.median_rate <= HIGHEST_RATE:
        problems.append(f"median spike rate {census.median_rate:.3f}")
    for problem in problems:
        print(f"too little seen: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
