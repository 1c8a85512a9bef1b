"""The networks that are timed: seeded integers, the same for every tool, with what must come out.

Neurons integrate and fire without leak, v += I, fire where v > threshold, reset to 0. Weights are
clip(rint(N(mu, 24)), ±127), inputs Bernoulli(0.1) unless said; each layer's one integer threshold
is found by bisection, so that its neurons fire at the wanted rate over the whole batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikewright.export.ir import (
    WEIGHTS,
    Add,
    Array,
    Conv2d,
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
    SumPool,
    Transpose,
)
from spikewright.export.ir.nodes import Conv1d, MaxPool
from spikewright.sim.fan_out import FanOuts
from spikewright.sim.ops import OPS

SEED = 20261123
INPUT_RATE = 0.1
SPREAD = 24.0
TRAINED = Path(__file__).parent / "results" / "checkpoints" / "cifar10-resnet.json"
Rates = Callable[[str, int, int], float]
"""The wanted rate of neuron `name`, number k of n."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A network, its input and what must come out.

    Attributes:
        x: uint8 spikes [time, batch, *shape]. spikes: exact counts by neuron, over the whole batch.
        sops: exact synaptic operations by weight node. total: the sum of the last readout.
    """

    name: str
    graph: Graph
    x: Array
    spikes: Mapping[str, int]
    sops: Mapping[str, int]
    total: int

    def save(self, path: Path) -> None:
        """Write a neutral npz: weights, thresholds, packed input bits and the exact counts."""
        arrays: dict[str, Any] = {
            "x_bits": np.packbits(self.x, axis=-1),
            "x_shape": np.array(self.x.shape),
        }
        for name, node in self.graph.nodes.items():
            if isinstance(node, WEIGHTS):
                arrays[f"{name}/weight"] = node.weight
            if isinstance(node, Neuron):
                arrays[f"{name}/v_threshold"] = node.v_threshold
        card = {"spikes": self.spikes, "sops": self.sops, "total": self.total, "seed": SEED}
        np.savez_compressed(path, card=np.array(json.dumps(card)), **arrays)


class _Draft:
    """A graph in the making: nodes by name, edges, and the node that the next one reads."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: dict[str, Node] = {"in": Input(shape, "spikes", None, 0, 1)}
        self.edges: list[tuple[str, str, int]] = []
        self.here = "in"

    def put(self, name: str, node: Node, *sources: str) -> str:
        self.nodes[name] = node
        self.edges += [(s, name, port) for port, s in enumerate(sources or (self.here,))]
        self.here = name
        return name

    def codes(self, mean: float, *shape: int) -> Array:
        drawn = np.clip(np.rint(self.rng.normal(mean, SPREAD, shape)), -127, 127)
        return drawn.astype(np.int8)

    def conv(self, name: str, shape: tuple[int, int], stride: int = 1, kernel: int = 3) -> str:
        weight = self.codes(1, *shape, kernel, kernel)
        return self.put(name, Conv2d(weight, stride=(stride,) * 2, padding=(kernel // 2,) * 2))

    def neuron(self, name: str, *shape: int) -> str:
        return self.put(name, Neuron(shape, np.int32(0)))

    def finish(self, name: str, time_steps: int, batch: int, rates: Rates) -> Workload:
        self.put("out", Output("integrate"))
        x = self.rng.random((time_steps, batch, *self.nodes["in"].shape)) < INPUT_RATE  # type: ignore[union-attr]
        return _alive(name, Graph(self.nodes, self.edges, "integer"), x.astype(np.uint8), rates)


def even(rate: float) -> Rates:
    """Every neuron fires at `rate`."""
    return lambda name, k, n: rate


def trained(name: str, k: int, n: int) -> float:
    """Rates that fall with depth, from 22 % to 4 %: a stand-in for a trained Spikformer's."""
    return 0.22 - 0.18 * k / max(1, n - 1)


def as_resnet(name: str, k: int, n: int) -> float:
    """Rates of the shipped `cifar10-resnet`, trained, on the test split of CIFAR-10.

    Its stem, and by depth the first neurons of its blocks and the last (13 to 24 %), from its
    record in `results/checkpoints`.
    """
    rates = {r["name"]: r["spike_rate"] for r in json.loads(TRAINED.read_text())["layers"]}
    if name == "stem_n":
        return float(rates["neuron1"])
    part = f".neuron{name[-1]}"
    blocks = [rate for layer, rate in rates.items() if layer.endswith(part)]
    return float(np.interp((k - 1) / (n - 2), np.linspace(0, 1, len(blocks)), blocks))


def w1(batch: int, time_steps: int = 32) -> Workload:
    """784-512-512-10, fully connected."""
    draft = _Draft((784,), SEED)
    for k, (before, after) in enumerate([(784, 512), (512, 512)]):
        draft.put(f"fc{k}", Linear(draft.codes(2, after, before)))
        draft.neuron(f"n{k}", after)
    draft.put("fc2", Linear(draft.codes(2, 10, 512)))
    draft.neuron("n2", 10)
    return draft.finish(f"w1_b{batch}", time_steps, batch, even(0.1))


W2_LAYERS = ((3, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1))


def w2(time_steps: int, batch: int, rate: float = 0.1) -> Workload:
    """Six 3x3 convolutions at the size of CIFAR, pooled, and a linear layer."""
    draft, side = _Draft((3, 32, 32), SEED + 1), 32
    for k, (before, after, stride) in enumerate(W2_LAYERS):
        draft.conv(f"conv{k}", (after, before), stride)
        side //= stride
        draft.neuron(f"n{k}", after, side, side)
    draft.put("pool", SumPool((side, side), (side, side), (0, 0)))
    draft.put("flat", Flatten())
    draft.put("fc", Linear(draft.codes(0, 10, 256)))
    return draft.finish(f"w2_t{time_steps}_b{batch}", time_steps, batch, even(rate))


def resnet18(rates: Rates, name: str) -> Workload:
    """Spiking-ResNet18 with the 3x3 stem of CIFAR: currents of branch and shortcut add."""
    draft, side, width = _Draft((3, 32, 32), SEED + 2), 32, 64
    draft.conv("stem", (64, 3))
    draft.neuron("stem_n", 64, 32, 32)
    for stage, after in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            side //= stride
            _residual(draft, f"s{stage}b{block}", width, after, stride, side)
            width = after
    draft.put("pool", SumPool((side, side), (side, side), (0, 0)))
    draft.put("flat", Flatten())
    draft.put("fc", Linear(draft.codes(0, 10, 512)))
    return draft.finish(name, 4, 1, rates)


def _residual(draft: _Draft, name: str, before: int, after: int, stride: int, side: int) -> None:
    entered = draft.here
    draft.conv(f"{name}_conv1", (after, before), stride)
    draft.neuron(f"{name}_n1", after, side, side)
    branch = draft.conv(f"{name}_conv2", (after, after))
    draft.here = entered
    if stride != 1 or before != after:
        short = draft.conv(f"{name}_short", (after, before), stride, kernel=1)
    else:
        short = draft.put(f"{name}_short", Scale(np.int32(96)))
    draft.put(f"{name}_add", Add(), branch, short)
    draft.neuron(f"{name}_n2", after, side, side)


def spikformer(
    rates: Rates, name: str, depth: int = 4, dim: int = 384, heads: int = 12
) -> Workload:
    """Spikformer-4-384 at the size of CIFAR: four patch convolutions, tokens [feature, token]."""
    draft, side, before = _Draft((3, 32, 32), SEED + 3), 32, 3
    for k, (after, pooled) in enumerate(
        [(dim // 8, False), (dim // 4, False), (dim // 2, True), (dim, True)]
    ):
        draft.conv(f"patch{k}", (after, before))
        draft.neuron(f"patch{k}_n", after, side, side)
        if pooled:
            draft.put(f"patch{k}_pool", MaxPool((3, 3), (2, 2), (1, 1)))
            side //= 2
        before = after
    tokens = draft.here
    draft.conv("position", (dim, dim))
    draft.neuron("position_n", dim, side, side)
    draft.put("patches", Add(), tokens, "position_n")
    draft.put("tokens", Reshape((dim, side * side)))
    for k in range(depth):
        _encoder(draft, f"b{k}", dim, heads, side * side)
    draft.put("pool", SumPool((side * side,), (side * side,), (0,)))
    draft.put("flat", Flatten())
    draft.put("fc", Linear(draft.codes(0, 10, dim)))
    return draft.finish(name, 4, 1, rates)


def _projection(draft: _Draft, name: str, after: int, before: int, tokens: int, source: str) -> str:
    draft.put(name, Conv1d(draft.codes(1, after, before, 1)), source)
    return draft.neuron(f"{name}_n", after, tokens)


def _encoder(draft: _Draft, name: str, dim: int, heads: int, tokens: int) -> None:
    x = draft.here
    split: dict[str, str] = {}
    for part in "qkv":
        spikes = _projection(draft, f"{name}_{part}", dim, dim, tokens, x)
        split[part] = draft.put(f"{name}_{part}h", Reshape((heads, dim // heads, tokens)), spikes)
    turned = draft.put(f"{name}_kt", Transpose((0, 2, 1)), split["k"])
    scores = draft.put(f"{name}_scores", MatMul(), turned, split["q"])
    draft.put(f"{name}_mix", MatMul(), split["v"], scores)
    draft.put(f"{name}_join", Reshape((dim, tokens)))
    draft.neuron(f"{name}_attn_n", dim, tokens)
    _projection(draft, f"{name}_proj", dim, dim, tokens, draft.here)
    y = draft.put(f"{name}_res1", Add(), x, draft.here)
    _projection(draft, f"{name}_fc1", 4 * dim, dim, tokens, y)
    _projection(draft, f"{name}_fc2", dim, 4 * dim, tokens, draft.here)
    draft.put(f"{name}_res2", Add(), y, draft.here)


def _alive(name: str, graph: Graph, x: Array, rates: Rates) -> Workload:
    """Set the thresholds in walking order; float32 is exact here (sums stay below 2^24)."""
    steps, batch = x.shape[:2]
    values: dict[str, Any] = {}
    nodes: dict[str, Node] = dict(graph.nodes)
    spikes, sops, fan_outs = {}, {}, FanOuts(graph)
    left = {n: len(graph.consumers(n)) for n in graph.order}
    total, neurons = 0, list(graph.neurons)
    for node_name, node in graph.nodes.items():
        sources = graph.inputs(node_name)
        if isinstance(node, Input):
            values[node_name] = x.reshape(-1, *node.shape).astype(np.float32)
        elif isinstance(node, Neuron):
            current = values[sources[0]].reshape(steps, batch, *node.shape)
            rate = rates(node_name, neurons.index(node_name), len(neurons))
            threshold, fired = _threshold(current.astype(np.int32), rate)
            nodes[node_name] = replace(node, v_threshold=np.int32(threshold))
            spikes[node_name] = int(fired.sum())
            values[node_name] = fired.reshape(-1, *node.shape).astype(np.float32)
        elif isinstance(node, Output):
            total = int(values[sources[0]].sum(dtype=np.float64))
        else:
            values[node_name] = OPS[type(node)](node, *(values[s] for s in sources))
        if isinstance(node, WEIGHTS):
            events = (values[sources[0]] != 0).sum(axis=0)
            sops[node_name] = int((events * fan_outs.of(node_name, effective=False)).sum())
        for source in sources:
            left[source] -= 1
            if not left[source]:
                values.pop(source)
    return Workload(name, graph.replace(nodes), x, spikes, sops, total)


def _threshold(current: Array, rate: float) -> tuple[int, Array]:
    """Return the least threshold of at most this rate, and its spikes [time, batch, ...]."""
    low, high = 0, int(np.abs(current).sum(axis=0).max()) + 1
    while low < high:
        middle = (low + high) // 2
        if _fire(current, middle).mean() <= rate:
            high = middle
        else:
            low = middle + 1
    return low, _fire(current, low)


def _fire(current: Array, threshold: int) -> Array:
    v, fired = np.zeros_like(current[0]), np.empty(current.shape, bool)
    for t, arriving in enumerate(current):
        v += arriving
        np.greater(v, threshold, out=fired[t])
        v[fired[t]] = 0
    return fired
