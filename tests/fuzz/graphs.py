"""Random integer graphs over every node kind, made alive: rates are set, some states saturate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spikewright.export.ir import (
    Add,
    Array,
    BoundsError,
    Conv1d,
    Conv2d,
    Delay,
    Edge,
    Flatten,
    Graph,
    Input,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Transpose,
    bounds,
    check,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.sim.reference import Reference

from .neurons import awake, random_neuron

Rng = np.random.Generator
SILENT = 2**29


@dataclass(slots=True)
class Draft:
    """A graph under construction; `here` is the node that the next one reads."""

    rng: Rng
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    here: str = ""
    shape: Shape = ()
    spikes: bool = True

    def put(self, node: Node, *sources: str, name: str = "") -> str:
        """Append a node that reads `sources` (default: the last one)."""
        name = name or f"{node.kind.lower()}{len(self.nodes)}"
        self.nodes[name] = node
        feeding = sources or ((self.here,) if self.here else ())
        self.edges += [Edge(source, name, port) for port, source in enumerate(feeding)]
        self.here = name
        return name

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))


def random_graph(rng: Rng) -> Graph:
    """Return a checked integer graph; the same generator state gives the same graph."""
    while True:
        draft = _draft(rng)
        graph = Graph(draft.nodes, draft.edges, "integer")
        try:
            check(graph)
            return enliven(graph, rng)
        except BoundsError:
            continue


def random_input(graph: Graph, rng: Rng, batch: int = 2, time_steps: int | None = None) -> Array:
    """Return encoded values [time, batch, *shape]; a direct frame is often one repeated view."""
    node, steps = graph.input, time_steps or int(rng.integers(3, 8))
    assert node.low is not None and node.high is not None
    shape = (batch, *node.shape)
    if node.encoding == "direct" and rng.random() < 0.7:
        frame = rng.integers(node.low, node.high + 1, shape)
        return np.broadcast_to(frame, (steps, *shape))
    x = rng.integers(node.low, node.high + 1, (steps, *shape))
    if node.encoding == "direct":
        return x
    return x * (rng.random(x.shape) < rng.uniform(0.2, 0.7))


def _draft(rng: Rng) -> Draft:
    draft = Draft(rng)
    _input(draft)
    for _ in range(draft.pick(1, 3)):
        _block(draft)
    _end(draft)
    return draft


def _input(draft: Draft) -> None:
    rank = draft.rng.choice([1, 2, 3], p=[0.25, 0.25, 0.5])
    if rank == 1:
        draft.shape = (draft.pick(3, 12),)
    elif rank == 2:
        draft.shape = (draft.pick(1, 4), draft.pick(4, 9))
    else:
        draft.shape = (draft.pick(1, 4), draft.pick(4, 7), draft.pick(4, 7))
    encoding = str(draft.rng.choice(["direct", "direct", "spikes", "rate", "latency", "frames"]))
    low, high = _range(draft, encoding)
    scale = 1 / 127 if encoding == "direct" else None
    node = Input(draft.shape, encoding, scale, low, high)  # type: ignore[arg-type]
    draft.put(node, name="input")


def _range(draft: Draft, encoding: str) -> tuple[int, int]:
    """The usual range of an encoding, or one that int8 and uint8 do not hold."""
    if encoding == "direct":
        return (-127, 127) if draft.chance(0.8) else (-draft.pick(1, 1000), draft.pick(128, 1000))
    if encoding == "frames":
        if draft.chance(0.7):
            return 0, draft.pick(2, 9)
        high = draft.pick(100, 2**15 - 1)
        return -draft.pick(0, high), high
    return 0, 1


def _block(draft: Draft) -> None:
    """Weights, perhaps operations on currents, a neuron, perhaps operations on spikes."""
    if len(draft.shape) == 2 and draft.spikes and draft.chance(0.6) and draft.here != "input":
        _attention(draft)
    else:
        _currents(draft)
    _neuron(draft)
    for operation in (_residual, _pool, _rearrange):
        if draft.chance(0.35):
            operation(draft)
    if draft.chance(0.08):
        draft.put(Delay(draft.shape, draft.pick(1, 3)))


def _codes(draft: Draft, *shape: int) -> tuple[Array, int]:
    """Codes of a random width: symmetric, now and then with the one more below."""
    bits = draft.pick(2, 8)
    top = 2 ** (bits - 1) - 1
    low = -top - 1 if draft.chance(0.3) else -top
    weight = draft.rng.integers(low, top + 1, shape).astype(np.int8)
    return weight, bits


def _weight(draft: Draft, shape: Shape, channels: int | None = None, shift: int = 0) -> Node:
    """A weight node for input `shape`: Linear, or a convolution of its rank."""
    if len(shape) == 1 or (channels is None and draft.chance(0.15)):
        weight, bits = _codes(draft, channels or draft.pick(2, 8), shape[-1])
        return Linear(weight, scale=np.float64(0.01), weight_shift=shift, bits=bits)
    rank = len(shape) - 1
    groups = shape[0] if draft.chance(0.2) else 1
    out = channels or groups * draft.pick(1, 3 if groups > 1 else 5)
    groups = groups if out % groups == 0 else 1
    kernel = tuple(draft.pick(1, 3) for _ in range(rank))
    dilation = tuple(2 if k == 2 and draft.chance(0.3) else 1 for k in kernel)
    weight, bits = _codes(draft, out, shape[0] // groups, *kernel)
    kind = Conv1d if rank == 1 else Conv2d
    padding = tuple(draft.pick(0, 2) for _ in range(rank))
    return kind(
        weight,
        stride=tuple(draft.pick(1, 2) for _ in range(rank)),
        padding=padding,
        padding_end=padding_end(draft, padding, (2,) * rank),
        dilation=dilation,
        groups=groups,
        weight_shift=shift,
        bits=bits,
    )


def padding_end(draft: Draft, padding: Shape, most: Shape) -> Shape:
    """What is padded behind: mostly as in front."""
    return tuple(draft.pick(0, n) for n in most) if draft.chance(0.2) else padding


def _currents(draft: Draft) -> None:
    before, shape = draft.here, draft.shape
    shift = draft.pick(1, 3) if draft.chance(0.15) else 0
    node = _weight(draft, shape, shift=shift)
    draft.put(node)
    _settle_shape(draft)
    if draft.nodes[draft.here] is node and draft.chance(0.2):
        _add_current(draft, before, node)
    elif draft.shape == shape and draft.chance(0.6):
        _add_identity(draft, before)
    if draft.chance(0.25) and len(draft.shape) > 1 and min(draft.shape[1:]) >= 2:
        _pool(draft)
    if draft.chance(0.2):
        factor = draft.rng.integers(-3, 4, draft.shape[:1] + (1,) * (len(draft.shape) - 1))
        draft.put(Scale(np.where(factor == 0, 1, factor).astype(np.int32)))


def _add_current(draft: Draft, before: str, node: Any) -> None:
    """A second branch of weights from the same input, with a shift of its own."""
    one, rng = draft.here, draft.rng
    weight = rng.permutation(node.weight.reshape(-1)).reshape(node.weight.shape)
    other = draft.put(replace(node, weight=weight, weight_shift=draft.pick(0, 2)), before)
    draft.put(Add(), one, other)


def _add_identity(draft: Draft, before: str) -> None:
    """What entered the weights joins their currents, times one whole number a channel."""
    one, channels = draft.here, draft.shape[0]
    factor = draft.rng.integers(1, 120, (channels, *(1,) * (len(draft.shape) - 1)))
    scaled = draft.put(Scale(factor.astype(np.int32)), before)
    draft.put(Add(), one, scaled)


def _heads(draft: Draft, shape: Shape, heads: int) -> None:
    """Split the features of [token, feature] into heads: [head, token, feature / heads]."""
    draft.put(Reshape((shape[0], heads, shape[1] // heads)))
    draft.put(Transpose((1, 0, 2)))


def _attention(draft: Draft) -> None:
    """(q kT) v on spikes, the currents of q, k and v each through a neuron; one head or two."""
    tokens, source = draft.shape, draft.here
    heads = 2 if draft.chance(0.4) else 1
    weight, bits = _codes(draft, heads * draft.pick(2, 4), tokens[-1])
    spikes = []
    for _ in range(3):
        shuffled = draft.rng.permutation(weight.reshape(-1)).reshape(weight.shape)
        draft.put(Linear(shuffled, bits=bits), source)
        draft.shape = (tokens[0], weight.shape[0])
        _neuron(draft)
        if heads > 1:
            _heads(draft, draft.shape, heads)
        spikes.append(draft.here)
    q, k, v = spikes
    if draft.chance(0.5):
        scores = draft.put(MatMul(transpose_b=True), q, k)
    else:
        turned = draft.put(Transpose((1, 0) if heads == 1 else (0, 2, 1)), k)
        scores = draft.put(MatMul(), q, turned)
    draft.put(MatMul(), scores, v)
    if heads > 1:
        draft.put(Transpose((1, 0, 2)))
        draft.put(Reshape(draft.shape))


def _neuron(draft: Draft) -> None:
    if draft.chance(0.2):
        _recurrent(draft)
        return
    draft.put(random_neuron(draft.rng, draft.shape))
    draft.spikes = True


def _recurrent(draft: Draft) -> None:
    """The neuron's spikes come back, one to three steps later, through weights or as they are."""
    current, shape = draft.here, draft.shape
    back = f"delay{len(draft.nodes)}"
    returning = draft.put(Delay(shape, draft.pick(1, 3)), "nowhere", name=back)
    draft.edges.pop()
    if draft.chance(0.6):
        weight, bits = _codes(draft, shape[-1], shape[-1])
        returning = draft.put(Linear(weight, bits=bits), back)
    draft.put(Add(), current, returning)
    name = draft.put(random_neuron(draft.rng, shape))
    draft.edges.append(Edge(name, back))
    draft.spikes = True


def _residual(draft: Draft) -> None:
    """Spikes add to spikes: a second neuron on the same current, or the value to itself."""
    if not draft.spikes:
        return
    one = draft.here
    source = next((e.source for e in draft.edges if e.target == one), one)
    if isinstance(draft.nodes[one], Neuron):
        other = draft.put(random_neuron(draft.rng, draft.shape), source)
        draft.put(Add(), one, other)
    else:
        draft.put(Add(), one, one)


def _pool(draft: Draft) -> None:
    rank = len(draft.shape) - 1
    if rank < 1 or min(draft.shape[1:]) < 2:
        return
    kernel = tuple(draft.pick(2, min(3, n)) for n in draft.shape[1:])
    stride = tuple(draft.pick(1, 2) for _ in kernel)
    padding = tuple(draft.pick(0, k // 2) for k in kernel)
    end = padding_end(draft, padding, tuple(k // 2 for k in kernel))
    maximum = draft.chance(0.5)
    draft.put((MaxPool if maximum else SumPool)(kernel, stride, padding, end))
    _settle_shape(draft)
    if not maximum and draft.chance(0.2):  # averages whose divisor differs from place to place
        factor = draft.rng.integers(1, 10, draft.shape[1:])
        draft.put(Scale(factor.astype(np.int32)))


def _rearrange(draft: Draft) -> None:
    if len(draft.shape) == 3:
        _, y, x = draft.shape
        draft.put(Reshape((draft.shape[0], y * x)))
        draft.shape = (draft.shape[0], y * x)
    if len(draft.shape) == 2 and draft.chance(0.6):
        draft.put(Transpose((1, 0)))
        draft.shape = draft.shape[::-1]
    elif draft.chance(0.3):
        draft.put(Flatten())
        draft.shape = (int(np.prod(draft.shape)),)


def _settle_shape(draft: Draft) -> None:
    """Take the shape of the last node from inference; repair one that vanished by retrying."""
    from spikewright.export.ir.shapes import RULES, ShapeMismatch

    node = draft.nodes[draft.here]
    try:
        draft.shape = RULES[type(node)](node, draft.shape)
    except ShapeMismatch:
        draft.nodes.pop(draft.here)
        source = draft.edges.pop().source
        draft.here = source
        draft.put(Scale(np.array(2, np.int32)))


def _end(draft: Draft) -> None:
    rng = draft.rng
    readout = str(rng.choice(["none", "integrate", "leaky", "spike_count"]))
    if readout in ("integrate", "leaky") or draft.chance(0.3):
        if len(draft.shape) > 1:
            draft.put(Flatten())
            draft.shape = (int(np.prod(draft.shape)),)
        weight, bits = _codes(draft, draft.pick(2, 5), draft.shape[0])
        draft.put(Linear(weight, bits=bits))
        draft.shape = (weight.shape[0],)
    if readout == "none":
        draft.put(Output("none"), name="output")
        return
    bias = rng.integers(-500, 501, draft.shape).astype(np.int32) if draft.chance(0.5) else None
    node = Output(
        readout,  # type: ignore[arg-type]
        bias=bias,
        dv=np.int32(rng.integers(0, 4097)) if readout == "leaky" else None,
        state_shift=draft.pick(0, 6),
        state_bits=draft.pick(8, 14) if draft.chance(0.4) else 30,
    )
    draft.put(node, name="output")


def enliven(graph: Graph, rng: Rng) -> Graph:
    """Return the graph with thresholds and widths set from what it brings to each neuron."""
    x = random_input(graph, rng, batch=3, time_steps=6)
    silent: Callable[[str, Node], Node] = lambda _, node: (  # noqa: E731
        replace(node, v_threshold=np.int32(SILENT)) if isinstance(node, Neuron) else node
    )
    graph = graph.map_nodes(silent)
    for name, node in graph.neurons.items():
        recorded = Reference().prepare(graph).run(x).neurons[name]
        limit = bounds(graph)[graph.inputs(name)[0]].largest
        graph = graph.replace({**graph.nodes, name: awake(node, recorded, limit, rng)})
    return check(graph)
