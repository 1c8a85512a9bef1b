"""The networks that every peer is asked to compute: small, alive, exact in float32.

Weights are multiples of 1/32 and thresholds stand between the values that potentials can take, so
that another order of additions decides no spike. T = 20; every layer spikes at 5 % or more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from spikewright.export.ir import (
    Add,
    Array,
    AvgPool,
    Conv2d,
    Delay,
    Edge,
    Flatten,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Output,
    SumPool,
    check,
)
from spikewright.sim.reference import Reference

TIME_STEPS, BATCH = 20, 4
LEAST_RATE = 0.05
MANY = 1000
GRID = 1 / 32
IF, LIF = 1.0, 0.5
Rng = np.random.Generator


class Draft:
    """A float graph on its way: nodes put one behind the other, branches by name."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng([ord(c) for c in name])
        self.nodes: dict[str, Node] = {"in": Input(shape, "spikes")}
        self.edges: list[Edge] = []
        self.here, self.shape = "in", shape

    def put(self, name: str, node: Node, *sources: str) -> str:
        for port, source in enumerate(sources or (self.here,)):
            self.edges.append(Edge(source, name, port))
        self.nodes[name] = node
        self.here = name
        self.shape = self._partial().shapes[name]
        return name

    def _partial(self) -> Graph:
        return Graph(self.nodes, self.edges, "float")

    def values(self, *shape: int) -> Array:
        return self.rng.integers(-24, 33, shape) * GRID

    def conv(self, name: str, outs: int, kernel: Any = 3, *sources: str, **options: Any) -> str:
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        ins = self.shape[0] // options.get("groups", 1)
        options.setdefault("padding", tuple(k // 2 for k in size))
        node = Conv2d(self.values(outs, ins, *size), self.values(outs) / 4, **options)
        return self.put(name, node, *sources)

    def linear(self, name: str, outs: int, *sources: str, bias: bool = False) -> str:
        offset = self.values(outs) / 4 if bias else None
        return self.put(name, Linear(self.values(outs, self.shape[-1]), offset), *sources)

    def neuron(self, name: str, beta: float = LIF, *sources: str, **fields: Any) -> str:
        node = Neuron(self.shape, np.array(1e9), beta=np.array(beta), **fields)
        return self.put(name, node, *sources)

    def end(self) -> Graph:
        if len(self.shape) > 1:
            self.put("flat", Flatten())
        self.linear("fc", 6)
        self.neuron("last", self._last_beta())
        self.put("out", Output("spike_count"))
        return enliven(check(self._partial()), self.rng)

    def _last_beta(self) -> float:
        found = [n for n in self.nodes.values() if isinstance(n, Neuron)]
        beta = found[-1].beta if found else None
        return IF if beta is not None and (beta == 1).all() else LIF


def some_input(graph: Graph, rate: float = 0.3) -> Array:
    """Return spikes [time, batch, *shape] as float32; of a trained network, samples of its data."""
    if "data" in graph.metadata:
        from spikewright.sim.encode import encode
        from spikewright.trainer.data import load

        samples = load(graph.metadata["data"], "test", BATCH).x
        return encode(graph, samples, TIME_STEPS).astype(np.float32)
    rng = np.random.default_rng(11)
    return (rng.random((TIME_STEPS, BATCH, *graph.input.shape)) < rate).astype(np.float32)


def enliven(graph: Graph, rng: Rng) -> Graph:
    """Set the thresholds, neuron by neuron, at what the graph so far brings to each."""
    whole = graph.level == "integer"
    for name, node in graph.neurons.items():
        spread = 1 + rng.uniform(-0.2, 0.2, node.v_threshold.shape)
        least = 64 if whole else 8 * GRID
        middle = max(float(np.quantile(recorded(graph, name).v[4:], 0.8)), least)
        rate = 0.0
        while rate < 1.6 * LEAST_RATE and middle > GRID:
            found = np.rint(middle * spread / GRID) * GRID + GRID / 3 + GRID / 1024
            threshold = np.int32(middle) if whole else found
            graph = graph.replace({**graph.nodes, name: replace(node, v_threshold=threshold)})
            rate, middle = float((recorded(graph, name).spikes != 0).mean()), 0.75 * middle
    return check(graph)


def recorded(graph: Graph, name: str) -> Any:
    """Return what one neuron does on the input."""
    return ran(graph, np.float64).neurons[name]


def ran(graph: Graph, dtype: Any = np.float32) -> Any:
    """Return our own trace of the input."""
    x = some_input(graph)
    x = x.astype(np.int64) if graph.level == "integer" else x
    return Reference(dtype).prepare(graph).run(x)


def _mlp(name: str, beta: float, layers: int = 2, **fields: Any) -> Graph:
    draft = Draft(name, (20,))
    for k in range(layers):
        draft.linear(f"l{k}", 24, bias=k % 2 == 1)
        draft.neuron(f"n{k}", beta, **fields)
    return draft.end()


def _thresholds(name: str, beta: float, conv: bool) -> Graph:
    draft = Draft(name, (3, 8, 8) if conv else (20,))
    (draft.conv if conv else draft.linear)("w", 8)
    shape = (8, 1, 1) if conv else (8,)
    node = Neuron(draft.shape, np.full(shape, 1e9), beta=np.array(beta))
    draft.put("n0", node)
    return draft.end()


def _conv(name: str, beta: float = LIF, kernel: Any = 3, **options: Any) -> Graph:
    draft = Draft(name, (4, 8, 8))
    draft.conv("c0", 8, 3)
    draft.neuron("n0", beta)
    draft.conv("c1", 8, kernel, **options)
    draft.neuron("n1", beta)
    return draft.end()


def _pool(name: str, pool: Node) -> Graph:
    draft = Draft(name, (4, 8, 8))
    draft.conv("c0", 6)
    draft.neuron("n0")
    draft.put("pool", pool)
    draft.conv("c1", 6)
    draft.neuron("n1")
    return draft.end()


def _residual(name: str, kind: str) -> Graph:
    draft = Draft(name, (4, 6, 6))
    draft.conv("c0", 4)
    one = draft.neuron("n0")
    if kind != "twice":
        draft.conv("c1", 4)
    if kind == "spikes":
        draft.neuron("n1")
        draft.put("add", Add(), "n1", one)
        draft.conv("c2", 4)
    elif kind == "twice":
        draft.put("add", Add(), one, one)
        draft.conv("c2", 4)
    elif kind == "currents":
        draft.conv("c1b", 4, 1, one)
        draft.put("add", Add(), "c1", "c1b")
    else:  # spikes straight into a current
        draft.put("add", Add(), "c1", one)
    draft.neuron("n2")
    return draft.end()


def _two_ways(name: str, kind: str) -> Graph:
    """Ways that part at a neuron and meet as currents, with neurons on one of them or on both."""
    draft = Draft(name, (4, 8, 8))
    draft.conv("c0", 4)
    one = draft.neuron("n0")
    stride = (2, 2) if kind == "downsampled" else (1, 1)
    draft.conv("c1", 6, stride=stride)
    draft.neuron("n1")
    draft.conv("c2", 6)
    draft.here, draft.shape = one, (4, 8, 8)
    draft.conv("c3", 6, 1, one, stride=stride)
    if kind == "neurons":
        draft.neuron("n3")
        draft.conv("c4", 6)
    draft.put("add", Add(), "c2", draft.here)
    draft.neuron("n2")
    return draft.end()


def _recurrent(name: str, beta: float, kind: str) -> Graph:
    draft = Draft(name, (4, 6, 6) if kind == "conv" else (20,))
    if kind == "deep":
        draft.linear("l0", 16)
        draft.neuron("n0", beta)
    (draft.conv if kind == "conv" else draft.linear)("w", 4 if kind == "conv" else 12)
    current, shape = draft.here, draft.shape
    back = Conv2d(draft.values(4, 4, 3, 3) / 2, padding=(1, 1))
    draft.nodes |= {
        "delay": Delay(shape),
        "rec": back if kind == "conv" else Linear(draft.values(12, 12) / 2),
        "add": Add(),
        "n1": Neuron(shape, np.array(1e9), beta=np.array(beta)),
    }
    loop = [("n1", "delay", 0), ("delay", "rec", 0), (current, "add", 0), ("rec", "add", 1)]
    draft.edges += [Edge(*edge) for edge in (*loop, ("add", "n1", 0))]
    draft.here = "n1"
    return draft.end()


def _integer(name: str, decay: int | None, conv: bool, compare: str = ">") -> Graph:
    """An integer graph: int8 weights, integer thresholds, spikes in."""
    rng = np.random.default_rng([ord(c) for c in name])

    def codes(*shape: int) -> Array:
        return rng.integers(-90, 128, shape).astype(np.int8)

    def neuron(*shape: int) -> Neuron:
        dv = None if decay is None else np.int32(decay)
        fields: dict[str, Any] = {"compare": compare, "state_shift": 0 if decay is None else 6}
        return Neuron(shape, np.int32(2**28), dv=dv, **fields)

    if conv:
        nodes: dict[str, Node] = {
            "in": Input((3, 8, 8), "spikes", low=0, high=1),
            "c0": Conv2d(codes(6, 3, 3, 3), padding=(1, 1), bits=8),
            "n0": neuron(6, 8, 8),
            "c1": Conv2d(codes(6, 3, 3, 3), stride=(2, 2), groups=2, padding=(1, 1), bits=8),
            "n1": neuron(6, 4, 4),
            "pool": SumPool((2, 2), (2, 2), (0, 0)),
            "flat": Flatten(),
        }
    else:
        nodes = {"in": Input((24,), "spikes", low=0, high=1)}
        nodes |= {"l0": Linear(codes(32, 24), bits=8), "n0": neuron(32)}
    nodes |= {"fc": Linear(codes(6, 24 if conv else 32), bits=8), "last": neuron(6)}
    graph = Graph.chain({**nodes, "out": Output("spike_count")}, "integer")
    return enliven(graph, rng)


NETWORKS: dict[str, Callable[[str], Graph]] = {
    "mlp": lambda n: _mlp(n, LIF),
    "mlp, bias, slow leak": lambda n: _mlp(n, 0.875, 3),
    "mlp, IF": lambda n: _mlp(n, IF),
    "mlp, four layers": lambda n: _mlp(n, 0.75, 4),
    "mlp, synaptic current": lambda n: _mlp(n, LIF, alpha=np.array(0.5)),
    "mlp, >=": lambda n: _mlp(n, LIF, compare=">="),
    "mlp, thresholds per neuron": lambda n: _thresholds(n, LIF, conv=False),
    "mlp, IF, thresholds per neuron": lambda n: _thresholds(n, IF, conv=False),
    "conv": lambda n: _conv(n),
    "conv, IF": lambda n: _conv(n, IF),
    "conv, stride 2": lambda n: _conv(n, stride=(2, 2)),
    "conv, dilation 2": lambda n: _conv(n, dilation=(2, 2), padding=(2, 2)),
    "conv, kernel 3x5": lambda n: _conv(n, kernel=(3, 5)),
    "conv, kernel 1x3, stride 2x1": lambda n: _conv(n, kernel=(1, 3), stride=(2, 1)),
    "conv, 2 groups": lambda n: _conv(n, groups=2),
    "conv, depthwise": lambda n: _conv(n, groups=8),
    "conv, thresholds per channel": lambda n: _thresholds(n, LIF, conv=True),
    "conv, IF, thresholds per channel": lambda n: _thresholds(n, IF, conv=True),
    "sum pool": lambda n: _pool(n, SumPool((2, 2), (2, 2), (0, 0))),
    "average pool": lambda n: _pool(n, AvgPool((2, 2), (2, 2), (0, 0))),
    "sum pool, padded": lambda n: _pool(n, SumPool((3, 3), (2, 2), (1, 1))),
    "residual of spikes": lambda n: _residual(n, "spikes"),
    "residual of currents": lambda n: _residual(n, "currents"),
    "residual, spikes into a current": lambda n: _residual(n, "mixed"),
    "residual, downsampled": lambda n: _two_ways(n, "downsampled"),
    "two ways with neurons": lambda n: _two_ways(n, "neurons"),
    "a value added to itself": lambda n: _residual(n, "twice"),
    "recurrent": lambda n: _recurrent(n, LIF, "plain"),
    "recurrent, IF": lambda n: _recurrent(n, IF, "plain"),
    "recurrent, second layer": lambda n: _recurrent(n, LIF, "deep"),
    "recurrent, convolution": lambda n: _recurrent(n, LIF, "conv"),
}
PORTABLE = (
    "mlp",
    "mlp, bias, slow leak",
    "mlp, four layers",
    "conv",
    "conv, stride 2",
    "conv, dilation 2",
    "conv, kernel 3x5",
    "conv, 2 groups",
    "conv, depthwise",
    "sum pool",
)
"""Of the networks: leaky neurons behind weights of their own, one way through."""

INTEGER: dict[str, Callable[[str], Graph]] = {
    "int8 mlp, IF": lambda n: _integer(n, None, conv=False),
    "int8 mlp, IF, >=": lambda n: _integer(n, None, conv=False, compare=">="),
    "int8 conv, groups, pool, IF": lambda n: _integer(n, None, conv=True),
}
INTEGER_LEAKY: dict[str, Callable[[str], Graph]] = {
    "int8 mlp, LIF": lambda n: _integer(n, 2048, conv=False),
    "int8 conv, groups, pool, LIF": lambda n: _integer(n, 1024, conv=True),
}


TRAINED: dict[str, Callable[[str], Graph]] = {"digits": lambda n: _trained(n)}
"""Checkpoints that are shipped, on the data they were trained on."""


def _trained(name: str) -> Graph:
    from spikewright import api
    from spikewright.export.fold import fold

    return fold(api.lower(name, level="float"))


@cache
def build(name: str) -> Graph:
    """Return a network by name; each is built once."""
    return {**NETWORKS, **INTEGER, **INTEGER_LEAKY, **TRAINED}[name](name)


def subtracting(graph: Graph) -> Graph:
    """Return the graph as sinabs has neurons: >=, as many spikes as v holds, subtracted from it."""

    def changed(_: str, node: Node) -> Node:
        if not isinstance(node, Neuron):
            return node
        keeps = node.dv is None and (node.beta is None or bool((node.beta == 1).all()))
        floor = -node.v_threshold if keeps else None
        rules: dict[str, Any] = {"reset": "soft", "compare": ">=", "max_spikes_per_step": MANY}
        return replace(node, v_min=floor, **rules)

    return check(graph.map_nodes(changed))
