"""Random integer graphs that Lava can express, made alive: some neurons wrap, some saturate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ...export.formats.lava_rules import STATE_BITS, STATE_SHIFT
from ...export.ir import (
    Add,
    Array,
    BoundsError,
    Conv2d,
    Delay,
    Edge,
    Flatten,
    Graph,
    GraphError,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    Shape,
    SumPool,
    check,
)
from ...export.ir.shapes import RULES, ShapeMismatch
from ...sim.reference import Reference
from .support import problems

Rng = np.random.Generator
SILENT = ((1 << 17) - 1) << STATE_SHIFT
"""Loihi's largest threshold."""


@dataclass(slots=True)
class _Draft:
    """A graph under construction; the next node reads `here`, whose shape is `shape`."""

    rng: Rng
    nodes: dict[str, Node]
    here: str
    shape: Shape
    edges: list[Edge] = field(default_factory=list)
    spikes: dict[str, Shape] = field(default_factory=dict)

    def put(self, node: Node, *sources: str) -> str:
        name = f"{node.kind.lower()}{len(self.nodes)}"
        feeding = sources or (self.here,)
        self.edges += [Edge(source, name, port) for port, source in enumerate(feeding)]
        self.nodes[name], self.here = node, name
        return name

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))


def random_graph(rng: Rng, node: Input, x: Array, *, loops: bool) -> Graph:
    """Return an integer graph over `node` that Lava can express; x [time, batch, *shape] wakes it.

    loops: whether neurons may hear the past, their own too.
    """
    while True:
        try:
            graph = _unsaturated(_awake(check(_drafted(rng, node, loops)), x, rng), x)
            if not problems(graph):
                return graph
        except (BoundsError, GraphError):
            continue


def _drafted(rng: Rng, node: Input, loops: bool) -> Graph:
    draft = _Draft(rng, {"in": node}, "in", node.shape)
    for _ in range(draft.pick(1, 3)):
        _block(draft, loops)
    _end(draft)
    return Graph(draft.nodes, draft.edges, "integer")


def _codes(draft: _Draft, *shape: int) -> tuple[Array, int]:
    """Codes of 3 to 8 bits, of both signs or of one."""
    bits = draft.pick(3, 8)
    top = 2 ** (bits - 1) - 1
    low, high = [(-top - 1, top), (-top, top), (0, top), (-top, 0)][draft.pick(0, 3)]
    return draft.rng.integers(low, high + 1, shape).astype(np.int8), bits


def _weight(draft: _Draft, shape: Shape, channels: int | None = None, **same: Any) -> Node:
    if len(shape) == 1:
        weight, bits = _codes(draft, channels or draft.pick(3, 12), shape[0])
        return Linear(weight, bits=bits, weight_shift=draft.pick(0, 3))
    groups = shape[0] if channels is None and draft.chance(0.25) else 1
    kernel = (draft.pick(1, 3), draft.pick(1, 3))
    weight, bits = _codes(draft, channels or groups * draft.pick(1, 4), shape[0] // groups, *kernel)
    options: dict[str, Any] = {
        "stride": (draft.pick(1, 2), draft.pick(1, 2)),
        "padding": (draft.pick(0, 2), draft.pick(0, 2)),
        "dilation": (draft.pick(1, 2), draft.pick(1, 2)),
        "groups": groups,
        "weight_shift": draft.pick(0, 2),
    }
    return Conv2d(weight, bits=bits, **options)


def _block(draft: _Draft, loops: bool) -> None:
    """Perhaps a pool, weights, perhaps another current, a neuron, perhaps a residual of spikes."""
    if len(draft.shape) == 3 and draft.chance(0.25):
        draft.put(Flatten())
        draft.shape = (prod(draft.shape),)
    if len(draft.shape) == 3 and min(draft.shape[1:]) > 2 and draft.chance(0.3):
        pool = SumPool((2, draft.pick(1, 2)), (draft.pick(1, 2), 1), (draft.pick(0, 1), 0))
        draft.put(pool)
        _settle(draft)
    if loops and draft.spikes and draft.chance(0.3):
        draft.put(Delay(draft.shape, draft.pick(1, 4)))
    before, shape = draft.here, draft.shape
    node = _weight(draft, shape)
    draft.put(node)
    _settle(draft)
    if draft.chance(0.3):
        _second_current(draft, before, shape, node, loops)
    elif draft.shape == shape and before != "in" and draft.chance(0.7):
        _identity(draft, before)
    if loops and draft.chance(0.7):
        _loop(draft)
    else:
        draft.put(_neuron(draft))
    here = draft.here
    others = [name for name, shape in draft.spikes.items() if shape == draft.shape]
    draft.spikes[here] = draft.shape
    if others and draft.chance(0.7):
        draft.put(Add(), here, others[draft.pick(0, len(others) - 1)])


def _settle(draft: _Draft) -> None:
    node: Any = draft.nodes[draft.here]
    try:
        draft.shape = RULES[type(node)](node, draft.shape)
    except ShapeMismatch as error:
        raise GraphError(str(error)) from None


def _second_current(draft: _Draft, before: str, shape: Shape, node: Any, delayed: bool) -> None:
    """Other weights over the same values, or over those of some steps before."""
    one = draft.here
    if delayed and draft.chance(0.5):
        before = draft.put(Delay(shape, draft.pick(1, 5)), before)
    weight = draft.rng.permutation(node.weight.reshape(-1)).reshape(node.weight.shape)
    other = draft.put(replace(node, weight=weight, weight_shift=draft.pick(0, 2)), before)
    draft.put(Add(), one, other)


def _identity(draft: _Draft, before: str) -> None:
    """What entered the weights joins their currents, times one whole number a channel."""
    one = draft.here
    channels = draft.shape[0] if len(draft.shape) == 3 else 1
    column = (channels, *(1,) * (len(draft.shape) - 1))
    factor = draft.rng.integers(-127, 128, column).astype(np.int32)
    draft.put(Add(), one, draft.put(Scale(factor), before))


def _loop(draft: _Draft) -> None:
    """The neuron hears its own spikes one to three steps later, weighted or as they are."""
    current, shape = draft.here, draft.shape
    back = f"back{len(draft.nodes)}"
    draft.nodes[back] = Delay(shape, draft.pick(1, 3))
    returning = back
    if len(shape) == 1 and draft.chance(0.7):
        weight, bits = _codes(draft, shape[0], shape[0])
        returning = draft.put(Linear(weight, bits=bits), back)
    draft.put(Add(), current, returning)
    draft.edges.append(Edge(draft.put(_neuron(draft)), back))


def _neuron(draft: _Draft) -> Neuron:
    """A LIF, current-based or not, with decays, biases and thresholds for all or for each."""
    rng, shape = draft.rng, draft.shape

    def values(low: int, high: int, step: int = 1) -> Array:
        kinds: list[Shape] = [(), (shape[0], *(1,) * (len(shape) - 1)), shape]
        chosen = kinds[draft.pick(0, 2)]
        return (rng.integers(low, high + 1, chosen) * step).astype(np.int32)

    decay = np.asarray(np.int32(4096 * draft.pick(0, 1)))
    if draft.chance(0.7):
        decay = values(0, 4096)
    current = draft.chance(0.5)
    slow = np.int32(draft.pick(0, 40)) if draft.chance(0.3) else values(0, 4096)
    one = 1 << STATE_SHIFT
    step = int(rng.choice([1, one]))
    bias = values(-300, 300, step) if draft.chance(0.5) else None
    whole = decay.size == 1 and decay % 4096 == 0 and not current and (bias is None or step == one)
    return Neuron(
        shape,
        np.asarray(SILENT, np.int32),
        compare=">=" if whole and draft.chance(0.8) else ">",
        dv=np.asarray(decay),
        du=np.asarray(slow) if current else None,
        bias=bias,
        bias_in=values(-5, 5, one) if current and draft.chance(0.3) else None,
        state_shift=STATE_SHIFT,
        state_bits=STATE_BITS,
        u_range="wrap",
    )


def _end(draft: _Draft) -> None:
    rng = draft.rng
    readout = str(rng.choice(["integrate", "leaky", "spike_count", "none"]))
    if readout in ("integrate", "leaky") or draft.chance(0.5):
        if len(draft.shape) == 3:
            draft.put(Flatten())
            draft.shape = (prod(draft.shape),)
        weight, bits = _codes(draft, draft.pick(2, 5), draft.shape[0])
        draft.put(Linear(weight, bits=bits))
        draft.shape = (weight.shape[0],)
    bias = rng.integers(-99, 100, draft.shape).astype(np.int32) if draft.chance(0.5) else None
    counted = readout != "none"
    draft.put(
        Output(
            readout,  # type: ignore[arg-type]
            bias=bias if counted else None,
            dv=np.asarray(np.int32(rng.integers(0, 4097))) if readout == "leaky" else None,
            state_shift=STATE_SHIFT if counted else 0,
            state_bits=STATE_BITS if counted else 30,
        )
    )


def _awake(graph: Graph, x: Array, rng: Rng) -> Graph:
    """Make some weights louder, then set thresholds neuron by neuron from what x brings to each."""
    if rng.random() < 0.4:
        graph = _louder(graph)
    for name, node in graph.neurons.items():
        v = Reference().prepare(graph).run(x).neurons[name].v
        assert v is not None
        level = np.quantile(v, rng.uniform(0.6, 0.97)) / (1 << STATE_SHIFT)
        step = int(np.clip(level, 0, SILENT >> STATE_SHIFT))
        spread = step // 8 if rng.random() < 0.4 else 0
        values = step + rng.integers(-spread, spread + 1, node.shape if spread else ())
        threshold = (np.clip(values, 0, SILENT >> STATE_SHIFT) << STATE_SHIFT).astype(np.int32)
        graph = graph.replace({**graph.nodes, name: replace(node, v_threshold=threshold)})
    return graph


def _unsaturated(graph: Graph, x: Array) -> Graph:
    """Compare by `>` where x saturates the v of a neuron that compares by `>=`."""
    for name, node in graph.neurons.items():
        if node.compare == ">=":
            v = Reference().prepare(graph).run(x).neurons[name].v
            if v is not None and (v % (1 << STATE_SHIFT)).any():
                graph = graph.replace({**graph.nodes, name: replace(node, compare=">")})
    return graph


def _louder(graph: Graph) -> Graph:
    """Shift the weights before current-based neurons as far left as the bounds allow."""
    for name, node in graph.neurons.items():
        source = graph.inputs(name)[0]
        weights: Any = graph.nodes[source]
        if not node.current_based or not isinstance(weights, (Linear, Conv2d)):
            continue
        for shift in range(12, weights.weight_shift, -1):
            louder = graph.replace({**graph.nodes, source: replace(weights, weight_shift=shift)})
            try:
                fits = not problems(louder)
            except BoundsError:
                fits = False
            if fits:
                graph = louder
                break
    return graph
