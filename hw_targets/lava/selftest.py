"""Selftest: random networks on Lava and here, every spike, u and v compared.

Two families: graphs through the executor's own way (build, balance, align), compared with the
reference; and stacks of Lava's processes with everything that those accept, compared with `rules`.
Networks run packed, many in one run of Lava, over one input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...export.formats.lava_rules import STATE_BITS
from ...export.formats.lava_weights import natural_mode
from ...export.ir import Array, Graph, Input, Shape
from ...sim.reference import Reference
from ...sim.verify import Difference, compare
from . import rules
from .build import build
from .executor import traced
from .pack import pack
from .random_graphs import random_graph
from .schedule import Timing, records, schedule
from .sdk import LavaCpu, Schedule, Sdk, Segment

PACK = 10
"""Networks in one run of Lava: each takes about six processes."""
STEPS, SAMPLES, RULE_STEPS = 8, 3, 32
LIMIT = (1 << (STATE_BITS - 1)) - 1


@dataclass(slots=True)
class SelfTest:
    """What was compared: `coverage` counts networks with, and values at, what has to be met."""

    networks: int = 0
    values_compared: int = 0
    first_difference: str | None = None
    coverage: Counter[str] = field(default_factory=Counter)

    @property
    def equal(self) -> bool:
        """Whether every value agreed."""
        return self.first_difference is None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-able data."""
        return {
            "networks": self.networks,
            "values_compared": self.values_compared,
            "equal": self.equal,
            "first_difference": self.first_difference,
            "coverage": dict(sorted(self.coverage.items())),
        }

    def __str__(self) -> str:
        verdict = "equal" if self.equal else f"not equal: {self.first_difference}"
        met = ", ".join(f"{name} {count:,}" for name, count in sorted(self.coverage.items()))
        return (
            f"{verdict}: {self.networks} networks, {self.values_compared:,} values (spikes, u, v, "
            f"outputs)\nmet: {met}"
        )


def selftest(
    networks: int = 200,
    seed: int = 0,
    sdk: Sdk | None = None,
    progress: Callable[[int], None] = lambda _: None,
    pack_size: int = PACK,
) -> SelfTest:
    """Compare random networks, in turn feed-forward graphs, graphs with loops, and bare processes.

    Raises:
        ExecutorError, MissingPackageError: if the worker fails or is not installed.
    """
    found, used = SelfTest(), sdk or LavaCpu()
    families = (_graphs, _loops, _processes)
    for number in range(-(-networks // pack_size)):
        count = min(pack_size, networks - found.networks)
        rng = np.random.default_rng([seed, number])
        families[number % 3](rng, count, used, found)
        progress(found.networks)
        if not found.equal:
            break
    return found


def _graphs(rng: np.random.Generator, count: int, sdk: Sdk, found: SelfTest) -> None:
    _run_graphs(rng, count, sdk, found, loops=False)


def _loops(rng: np.random.Generator, count: int, sdk: Sdk, found: SelfTest) -> None:
    _run_graphs(rng, count, sdk, found, loops=True)


def _run_graphs(
    rng: np.random.Generator, count: int, sdk: Sdk, found: SelfTest, *, loops: bool
) -> None:
    node, x = _input(rng, 1 if loops and rng.random() < 0.8 else SAMPLES)
    graphs = [random_graph(rng, node, x, loops=loops) for _ in range(count)]
    programs = [build(graph) for graph in graphs]
    packed = pack(programs, pipelined=not loops)
    timing = Timing(STEPS, x.shape[1], packed.depth, packed.pipelined)
    kept = tuple(
        (f"{k}:{name}", variable)
        for k, graph in enumerate(graphs)
        for name, variable in records(graph, programs[k], "states")
    )
    ran = sdk.run(sdk.prepare(packed), schedule(packed, timing, x, kept))
    recorded = sdk.collect(ran)
    for k, (graph, program) in enumerate(zip(graphs, programs, strict=True)):
        ours = Reference().prepare(graph).run(x)
        theirs = traced(graph, program, recorded, x, "states", timing, prefix=f"{k}:")
        result = compare(ours, theirs, ("reference", sdk.name))
        found.networks += 1
        if isinstance(result, Difference):
            found.first_difference = found.first_difference or f"{result} in {graph}"
        else:
            found.values_compared += result
        _count(graph, ours, program.relay_neurons, found.coverage)


def _input(rng: np.random.Generator, samples: int) -> tuple[Input, Array]:
    """A map or a vector; spikes, counts or signed codes."""
    shape: Shape = (int(rng.integers(1, 4)), int(rng.integers(4, 8)), int(rng.integers(4, 8)))
    if rng.random() < 0.35:
        shape = (int(rng.integers(4, 14)),)
    low, high = [(0, 1), (0, 1), (0, 3), (-127, 127)][int(rng.integers(4))]
    size = (STEPS, samples, *shape)
    x = rng.integers(low, high + 1, size) * (rng.random(size) < rng.uniform(0.3, 0.8))
    if low < 0:
        return Input(shape, "direct", 1 / 127, low, high), x
    return Input(shape, "frames", low=low, high=high), x


def _count(graph: Graph, trace: Any, relays: int, coverage: Counter[str]) -> None:
    for kind in {node.kind for node in graph.nodes.values()}:
        coverage[f"with {kind}"] += 1
    coverage["with delay lines"] += relays > 0
    coverage["with >="] += any(n.compare == ">=" for n in graph.neurons.values())
    coverage["spiking"] += any(n.spikes.any() for n in trace.neurons.values())
    for neuron in trace.neurons.values():
        _extremes(neuron.u, neuron.v, coverage)
        coverage["spikes"] += int(neuron.spikes.sum())


def _extremes(u: Array | None, v: Array, coverage: Counter[str]) -> None:
    """Count v at its limit, and jumps of u by more than half its range: it wrapped."""
    coverage["v saturated"] += int((np.abs(v) == LIMIT).sum())
    if u is not None:
        coverage["u wrapped"] += int((np.abs(np.diff(u.astype(np.int64), axis=0)) > LIMIT).sum())


def _processes(rng: np.random.Generator, count: int, sdk: Sdk, found: SelfTest) -> None:
    """Stacks of bare processes, compared with the rules of Lava as we know them."""
    inputs = int(rng.integers(4, 12))
    stacks = [rules.random_layers(rng, inputs) for _ in range(count)]
    program = rules.program(stacks, inputs)
    x = rng.integers(-300, 301, (RULE_STEPS, inputs)) * (rng.random((RULE_STEPS, inputs)) < 0.5)
    data = {"in": np.ascontiguousarray(x.T).astype(np.int32)}
    kept = tuple((name, variable) for name in program.neurons for variable in ("s_out", "u", "v"))
    ran = sdk.run(sdk.prepare(program), Schedule((Segment(RULE_STEPS),), data, kept))
    recorded = sdk.collect(ran)
    for k, layers in enumerate(stacks):
        found.networks += 1
        for depth, states in enumerate(rules.expected(layers, x)):
            _compare_layer(k, depth, layers[depth], states, recorded, found)


def _compare_layer(
    k: int,
    depth: int,
    layer: rules.Layer,
    states: dict[str, Array],
    recorded: dict[tuple[str, str], Array],
    found: SelfTest,
) -> None:
    for variable, ours in states.items():
        theirs = recorded[f"{k}:{depth}", variable]
        if not np.array_equal(ours, theirs):
            step, unit = (int(i) for i in np.argwhere(ours != theirs)[0])
            found.first_difference = found.first_difference or (
                f"stack {k} layer {depth} {variable} at step {step}, neuron {unit}: "
                f"rules {ours[step, unit]}, lava {theirs[step, unit]}"
            )
        found.values_compared += ours.size
    mode = layer.mode or natural_mode(layer.weights)
    for name in (mode.lower(), f"exponent {layer.exponent}", f"{layer.bits} bits", layer.kind):
        found.coverage[f"layers {name}"] += 1
    found.coverage["spikes"] += int(states["s_out"].sum())
    _extremes(states["u"], states["v"], found.coverage)
