"""NIR out, the portable profile: files that every reader of NIR computes alike.

What makes readers agree (measured against norse, snntorch and spikingjelly): r = 1, v_leak =
v_reset = 0, dt = 1e-4, parameters of full shape, weights and biases multiplied by tau / dt, a bias
always, Conv input_shape given. Forward Euler: v += dt/tau (-v + r i), so beta = 1 - dt / tau.
Our exact graph travels in the metadata (`nir_card`), for our own reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..dequantise import dequantise
from ..fold import fold
from ..ir import (
    WEIGHTS,
    Add,
    Array,
    AvgPool,
    Conv1d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    MissingPackageError,
    Neuron,
    Output,
    Scale,
    SumPool,
    UnknownNameError,
    Weight,
    check,
)
from .atomic import atomic_path
from .nir_card import graph_metadata, node_metadata

DIALECTS = ("portable",)
DEFAULT_DT = 1e-4
"""Seconds a step: the dt that snntorch has built in, so that all readers take the same."""


def write_nir(
    graph: Graph,
    path: str | Path,
    *,
    dialect: str = "portable",
    dt: float | None = None,
    strict: bool = False,
    force: bool = False,
) -> list[str]:
    """Write a graph of any level as NIR; return one warning a thing that NIR cannot say.

    The file is re-read and compared before it stands. Reading it with `read_nir` restores the graph
    exactly; other tools read the plain nodes: of an integer graph its float equivalent
    (`dequantise`). Where NIR has no node for what the network does, the plain nodes are left out,
    so that no other tool computes a wrong network.

    Raises:
        FormatError: for an existing file, or under `strict` the first thing NIR cannot say.
        UnknownNameError: for a dialect that does not exist.
    """
    if dialect not in DIALECTS:
        raise UnknownNameError.of("dialect", dialect, DIALECTS)
    step = DEFAULT_DT if dt is None else dt
    if not step > 0:
        raise FormatError(f"dt {step} must be above 0 seconds", node="dt")
    nir = _nir()
    check(graph)
    warnings = cannot_say(graph)
    if strict and warnings:
        raise FormatError(warnings[0], remedy="leave --strict out to keep it in metadata")
    written = _network(nir, graph, step, plain=not any(missing_nodes(graph)))
    with atomic_path(path, force=force) as temporary:
        nir.write(str(temporary), written)
        _compare(temporary, graph)
    return warnings


def _nir() -> Any:
    try:
        import nir
    except ImportError:
        raise MissingPackageError.of("nir", "write NIR files", "pip install nir") from None
    return nir


def _compare(path: Path, graph: Graph) -> None:
    from ..ir.digest import digest
    from .nir_in import read_nir

    if digest(read_nir(path)) != digest(graph):
        raise FormatError("the file came back changed", node=str(path))


def missing_nodes(graph: Graph) -> list[str]:
    """Return, by node, what NIR has no node for."""
    found = []
    for name, node in graph.nodes.items():
        if node.kind in ("MatMul", "MaxPool", "Reshape", "Transpose"):
            found.append(f"{name}: NIR has no {node.kind}")
        elif isinstance(node, (SumPool, AvgPool)) and len(node.kernel) != 2:
            found.append(f"{name}: NIR pools over two axes, not {len(node.kernel)}")
        elif isinstance(node, Add) and len(set(graph.inputs(name))) < len(graph.inputs(name)):
            found.append(f"{name}: NIR cannot add a value to itself")
    if found:
        return found
    try:
        _plain(_nir(), graph, DEFAULT_DT)
    except FormatError as error:
        return [f"{error.node}: {error.reason}"]
    return []


def cannot_say(graph: Graph) -> list[str]:
    """Return one line, naming the node, for each thing that only our metadata holds."""
    found = missing_nodes(graph)
    if found:
        found = [f"{line}; other readers get no plain nodes" for line in found]
    for name, node in graph.neurons.items():
        for field, plain in (
            ("reset", "hard"),
            ("compare", ">"),
            ("max_spikes_per_step", 1),
            ("refractory_steps", 0),
        ):
            value = getattr(node, field)
            shifted = field == "compare" and graph.level == "integer" and node.reset == "hard"
            if value != plain and not shifted:
                found.append(f"{name}: NIR cannot say {field} {value}, other readers use {plain}")
        for field in ("v_min", "leak_subtract"):
            if getattr(node, field) is not None:
                found.append(f"{name}: NIR cannot say {field}, other readers leave it out")
        if node.v_init.any():
            found.append(f"{name}: NIR cannot say v_init, other readers start at 0")
    return found


def _network(nir: Any, graph: Graph, dt: float, *, plain: bool) -> Any:
    metadata = graph_metadata(graph, dt)
    if not plain:
        nodes = {
            "input": nir.Input(input_type={"input": np.array(graph.input.shape)}),
            "output": nir.Output(output_type={"output": np.array(graph.shapes[graph.output_name])}),
        }
        return nir.NIRGraph(nodes, [("input", "output")], metadata=metadata, type_check=False)
    nodes, edges = _plain(nir, graph, dt)
    for name, node in nodes.items():
        if name in graph.nodes:
            node.metadata = node_metadata(graph.nodes[name])
    return nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False)


def _plain(nir: Any, graph: Graph, dt: float) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the plain nodes and edges.

    Raises:
        FormatError: naming a neuron whose bias no weight node of its own can carry.
    """
    real = dequantise(graph) if graph.level == "integer" else graph
    real = fold(real) if real.level == "float" else real
    writer = _Writer(nir, real, dt)
    return writer.nodes(), writer.edges()


class _Writer:
    """The plain nodes of a folded graph; Adds become several edges into one node."""

    def __init__(self, nir: Any, graph: Graph, dt: float) -> None:
        self.nir, self.graph, self.dt = nir, graph, dt
        self.gains = self._gains()

    def nodes(self) -> dict[str, Any]:
        return {
            name: self._node(name, node)
            for name, node in self.graph.nodes.items()
            if not isinstance(node, Add)
        }

    def edges(self) -> list[tuple[str, str]]:
        found = []
        for edge in self.graph.edges:
            if not isinstance(self.graph.nodes[edge.target], Add):
                found += [(source, edge.target) for source in self._sources(edge.source)]
        return sorted(set(found))

    def _sources(self, name: str) -> list[str]:
        if not isinstance(self.graph.nodes[name], Add):
            return [name]
        return [leaf for source in self.graph.inputs(name) for leaf in self._sources(source)]

    def _gains(self) -> dict[str, Array]:
        """Return the tau / dt (1 / dt for IF) of the neuron behind each weight node, where one is.

        A weight node takes the gain of its neuron into its weights if it feeds just that one.
        """
        gains: dict[str, Array] = {}
        for name, node in self.graph.nodes.items():
            if isinstance(node, WEIGHTS):
                behind = self._behind(name)
                if len(behind) == 1 and self._owned(behind[0]):
                    gains[name] = np.asarray(_gain(self.graph.neurons[behind[0]], self.dt))
        return gains

    def _behind(self, name: str) -> list[str]:
        found: list[str] = []
        for target in self.graph.consumers(name):
            node = self.graph.nodes[target]
            through = isinstance(node, (Add, Flatten, SumPool, AvgPool, Scale))
            found += self._behind(target) if through else [target]
        return list(dict.fromkeys(found))

    def _owned(self, name: str) -> bool:
        """Whether all that enters neuron `name` comes from weights that feed it alone."""
        node = self.graph.nodes.get(name)
        if not isinstance(node, Neuron) or np.asarray(_gain(node, self.dt)).size != 1:
            return False
        return all(
            isinstance(self.graph.nodes[leaf], WEIGHTS) and self._behind(leaf) == [name]
            for leaf in self._leaves(name)
        )

    def _leaves(self, name: str) -> list[str]:
        found: list[str] = []
        for source in self.graph.inputs(name):
            node = self.graph.nodes[source]
            through = isinstance(node, (Add, Flatten, SumPool, AvgPool, Scale))
            found += self._leaves(source) if through else [source]
        return found

    def _node(self, name: str, node: Any) -> Any:
        nir, shape = self.nir, self.graph.shapes[name]
        if isinstance(node, Input):
            return nir.Input(input_type={"input": np.array(shape)})
        if isinstance(node, Output):
            return nir.Output(output_type={"output": np.array(shape)})
        before = self.graph.shapes[self.graph.inputs(name)[0]]
        if isinstance(node, WEIGHTS):
            return self._weight(name, node, before)
        if isinstance(node, Neuron):
            return self._neuron(name, node)
        if isinstance(node, Flatten):
            return nir.Flatten(input_type={"input": np.array(before)}, start_dim=0, end_dim=-1)
        if isinstance(node, Scale):
            return nir.Scale(scale=_full(node.factor, shape))
        if isinstance(node, Delay):
            return nir.Delay(delay=np.full(shape, node.steps * self.dt))
        kind = nir.SumPool2d if isinstance(node, SumPool) else nir.AvgPool2d
        windows = (np.array(v) for v in (node.kernel, node.stride, node.padding))
        return kind(*windows)

    def _weight(self, name: str, node: Weight, before: tuple[int, ...]) -> Any:
        gain = float(self.gains.get(name, np.ones(1)).flat[0])
        weight = (node.weight.astype(np.float64) * gain).astype(np.float32)
        bias = (self._bias(name, node) * gain).astype(np.float32)
        if isinstance(node, Linear):
            lead = before[:-1]
            return self.nir.Affine(
                weight=np.broadcast_to(weight, (*lead, *weight.shape)).copy(),
                bias=np.broadcast_to(bias, (*lead, *bias.shape)).copy(),
            )
        options = {"dilation": node.dilation, "groups": node.groups, "bias": bias}
        if isinstance(node, Conv1d):
            one = {**options, "dilation": node.dilation[0]}
            return self.nir.Conv1d(before[1], weight, node.stride[0], node.padding[0], **one)
        return self.nir.Conv2d(tuple(before[1:]), weight, node.stride, node.padding, **options)

    def _bias(self, name: str, node: Weight) -> Array:
        """Return the bias of a weight node: its own, and its neuron's, which NIR neurons lack."""
        own = np.zeros(node.weight.shape[0]) if node.bias is None else node.bias.astype(np.float64)
        behind = self._behind(name)
        if len(behind) != 1 or name not in self.gains:
            return own
        neuron = self.graph.neurons[behind[0]]
        first = next(leaf for leaf in self._leaves(behind[0]))
        if neuron.bias is None or first != name:
            return own
        axis = len(neuron.shape) - 1 if isinstance(node, Linear) else 0
        return own + _per_channel(behind[0], neuron, axis)

    def _neuron(self, name: str, node: Neuron) -> Any:
        nir, shape, dt = self.nir, node.shape, self.dt
        owned = self._owned(name)
        if node.bias is not None and not owned:
            raise FormatError(
                "a biased neuron whose input comes from no weights of its own",
                node=name,
                remedy="give it a Linear or convolution of its own",
            )
        common = {
            "v_threshold": _full(node.v_threshold, shape),
            "v_reset": _full(node.v_reset, shape),
        }
        assert node.beta is not None
        r = np.ones(1) if owned else np.asarray(_gain(node, dt))
        if node.alpha is not None:
            return self._current_based(node, _full(r, shape), common)
        if (node.beta == 1).all():
            return nir.IF(r=_full(r, shape), **common)
        tau = _full(_tau(node.beta, dt), shape)
        return nir.LIF(tau=tau, r=_full(r, shape), v_leak=np.zeros(shape, np.float32), **common)

    def _current_based(self, node: Neuron, r: Array, common: dict[str, Array]) -> Any:
        """I += dt/tau_syn (-I + w_in S) with w_in = tau_syn/dt is u = alpha u + i."""
        assert node.alpha is not None and node.beta is not None
        shape, dt = node.shape, self.dt
        tau_syn = _full(_tau(node.alpha, dt), shape)
        return self.nir.CubaLIF(
            tau_syn=tau_syn,
            tau_mem=_full(_tau(node.beta, dt), shape),
            r=r,
            v_leak=np.zeros(shape, np.float32),
            w_in=tau_syn / np.float32(dt),
            **common,
        )


def _full(values: Any, shape: tuple[int, ...]) -> Array:
    full: Array = np.broadcast_to(np.asarray(values, np.float32), shape).copy()
    return full


def _tau(beta: Array, dt: float) -> Array:
    """Return tau = dt / (1 - beta); a beta of 1 has none and takes a very long one."""
    return np.asarray(dt / np.maximum(1 - beta.astype(np.float64), 1e-12))


def _gain(node: Neuron, dt: float) -> Array:
    """Return what Euler multiplies an input by, inverted: tau / dt, or 1 / dt for IF."""
    assert node.beta is not None
    if (node.beta == 1).all() and node.alpha is None:
        return np.asarray(1 / dt)
    gain = _tau(node.beta, dt) / dt
    return np.asarray(gain.flat[0] if (gain == gain.flat[0]).all() else gain)


def _per_channel(name: str, node: Neuron, axis: int) -> Array:
    assert node.bias is not None
    others = tuple(k for k in range(len(node.shape)) if k != axis)
    full = np.broadcast_to(node.bias, node.shape)
    lowest, highest = full.min(axis=others), full.max(axis=others)
    if not np.array_equal(lowest, highest):
        raise FormatError("its bias varies within a channel", node=name)
    channel: Array = lowest
    return channel
