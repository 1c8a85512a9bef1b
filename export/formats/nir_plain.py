"""The plain nodes of a NIR file, as every reader computes them (`nir_out` says which those are)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dequantise import dequantise
from ..fold import fold
from ..ir import (
    WEIGHTS,
    Add,
    Array,
    Conv1d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    Input,
    Linear,
    Neuron,
    Output,
    Scale,
    SumPool,
    Weight,
)
from .nir_dialect import Dialect
from .nir_rewrite import (
    behind,
    fed_alone,
    leaks,
    leaves,
    one_a_channel,
    rewrite,
    without_loop_delays,
)


def plain_nodes(
    nir: Any, graph: Graph, dt: float, dialect: Dialect
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the plain nodes and edges of a graph of any level.

    Raises:
        FormatError: naming a neuron whose bias no weight node of its own can carry.
    """
    real = dequantise(graph) if graph.level == "integer" else graph
    writer = PlainWriter(nir, fold(real) if real.level == "float" else real, dt, dialect)
    return writer.nodes(), writer.edges()


class PlainWriter:
    """The plain nodes of a folded graph in a dialect; Adds become several edges into one node.

    Readers break loops themselves, one step later, so a Delay of one step in a loop is no node.
    """

    def __init__(self, nir: Any, graph: Graph, dt: float, dialect: Dialect) -> None:
        self.nir, self.dt, self.dialect = nir, dt, dialect
        self.graph = rewrite(graph, dialect, lambda node: _gained(node, dialect))
        self.passed = without_loop_delays(self.graph)
        self.gains = self._gains()

    def nodes(self) -> dict[str, Any]:
        return {
            name: self._node(name, node)
            for name, node in self.graph.nodes.items()
            if not isinstance(node, Add) and name not in self.passed
        } | self._leaky_readout()

    def edges(self) -> list[tuple[str, str]]:
        """Return the edges, ordered by their ends: some readers compute nodes in that order."""
        found, leaky = [], f"{self.graph.output_name}.leaky"
        place = {name: k for k, name in enumerate((*self.graph.order, leaky))}
        for edge in self.graph.edges:
            if isinstance(self.graph.nodes[edge.target], Add) or edge.target in self.passed:
                continue
            ends = edge.target == self.graph.output_name and self._leaks_out()
            target = leaky if ends else edge.target
            found += [(source, target) for source in self._sources(edge.source)]
        if self._leaks_out():
            found.append((leaky, self.graph.output_name))
        return sorted(set(found), key=lambda edge: (place[edge[0]], place[edge[1]]))

    def _sources(self, name: str) -> list[str]:
        if name in self.passed:
            return self._sources(self.passed[name])
        if not isinstance(self.graph.nodes[name], Add):
            return [name]
        return [leaf for source in self.graph.inputs(name) for leaf in self._sources(source)]

    def _leaks_out(self) -> bool:
        return self.dialect.leaky and self.graph.output.readout == "leaky"

    def _leaky_readout(self) -> dict[str, Any]:
        """A leaky readout is a leaky integrator before the Output."""
        if not self._leaks_out():
            return {}
        shape = self.graph.shapes[self.graph.output_name]
        beta = np.asarray(self.graph.output.beta)
        gain = np.ones(1) if self.dialect.lif == "none" else _tau(beta, 1.0)
        fields = {"tau": self._decay(beta), "r": gain, "v_leak": 0.0}
        full = {key: _full(value, shape) for key, value in fields.items()}
        return {f"{self.graph.output_name}.leaky": self.nir.LI(**full)}

    def _gains(self) -> dict[str, Array]:
        """Return, by weight node, the factor that its neuron's reader divides currents by."""
        gains: dict[str, Array] = {}
        for name in self.graph.of_kind(*WEIGHTS):
            reached = behind(self.graph, name)
            if len(reached) == 1 and self._owned(reached[0]):
                gains[name] = _gain(self.graph.neurons[reached[0]], self.dt, self.dialect)
        return gains

    def _owned(self, name: str) -> bool:
        """Whether all that enters neuron `name` comes from weights that feed it alone."""
        node = self.graph.nodes.get(name)
        if not isinstance(node, Neuron) or not fed_alone(self.graph, name):
            return False
        gain = _gain(node, self.dt, self.dialect)
        return gain.size == 1 or (one_a_channel(gain, node.shape) and self._direct(name))

    def _direct(self, name: str) -> bool:
        """Whether the channels of the weights before a neuron are its own."""
        sources = [leaf for source in self.graph.inputs(name) for leaf in self._sources(source)]
        return set(sources) == set(leaves(self.graph, name))

    def _node(self, name: str, node: Any) -> Any:
        nir, shape = self.nir, self.graph.shapes[name]
        if isinstance(node, Input):
            return nir.Input(input_type={"input": np.array(shape)})
        if isinstance(node, Output):
            if node.bias is not None and not self._reads_out(name):
                raise FormatError("a biased readout of no weights of its own", node=name)
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
        gain = self._rows(name)
        column = gain.reshape(-1, *(1,) * (node.weight.ndim - 1))
        weight = (node.weight.astype(np.float64) * column).astype(np.float32)
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

    def _rows(self, name: str) -> Array:
        """Return the gain of a weight node: one, or one an output channel."""
        gain = self.gains.get(name, np.ones(1))
        if gain.size == 1:
            return gain.reshape(1)
        shape = self.graph.shapes[name]
        return np.broadcast_to(gain, shape).reshape(shape[0], -1)[:, 0]

    def _bias(self, name: str, node: Weight) -> Array:
        """Return the bias of a weight node: its own, and what the neuron or readout behind adds."""
        own = np.zeros(node.weight.shape[0]) if node.bias is None else node.bias.astype(np.float64)
        reached = behind(self.graph, name)
        if len(reached) != 1 or not (name in self.gains or self._reads_out(reached[0])):
            return own
        bias, feeding = self._added(reached[0]), leaves(self.graph, reached[0])
        if bias is None or feeding[0] != name:
            return own
        if feeding.count(name) > 1:
            raise FormatError("its bias would reach it on several ways", node=reached[0])
        return own + self._brought_back(reached[0], bias)

    def _reads_out(self, name: str) -> bool:
        """Whether `name` is the Output, all that enters it from weights that feed it alone."""
        return name == self.graph.output_name and fed_alone(self.graph, name)

    def _added(self, name: str) -> Array | None:
        """Return the bias that is added to the current which enters a neuron or the Output."""
        node = self.graph.output if name == self.graph.output_name else self.graph.neurons[name]
        if isinstance(node, Output) or not node.current_based:
            return node.bias
        if node.bias is not None:
            raise FormatError("NIR has no bias behind a synaptic current", node=name)
        return node.bias_in

    def _brought_back(self, target: str, bias: Array) -> Array:
        """Return the bias of the first weight node before `target` that arrives there as `bias`."""
        values = np.broadcast_to(bias.astype(np.float64), self.graph.shapes[target])
        here = self.graph.inputs(target)[0]
        while not isinstance(node := self.graph.nodes[here], WEIGHTS):
            before = self.graph.shapes[self.graph.inputs(here)[0]]
            if isinstance(node, Flatten):
                values = values.reshape(before)
            elif isinstance(node, Scale):
                values = values / node.factor
            elif isinstance(node, SumPool):
                if any(node.padding):
                    raise FormatError("its bias would pass a padded pool", node=target)
                column = _channels(target, values, 0).reshape(-1, *(1,) * (len(before) - 1))
                values = np.broadcast_to(column / np.prod(node.kernel), before)
            here = self.graph.inputs(here)[0]
        return _channels(target, values, values.ndim - 1 if isinstance(node, Linear) else 0)

    def _neuron(self, name: str, node: Neuron) -> Any:
        nir, shape, dt = self.nir, node.shape, self.dt
        owned = self._owned(name)
        if not owned and self._added(name) is not None:
            raise FormatError(
                "a biased neuron whose input comes from no weights of its own",
                node=name,
                remedy="give it a Linear or convolution of its own",
            )
        common = {
            "v_threshold": _full(node.v_threshold, shape),
            "v_reset": _full(node.v_reset, shape),
        }
        gain = _gain(node, dt, self.dialect)
        if node.alpha is not None:
            return self._current_based(node, common)
        if not leaks(node) and self.dialect.integrate != "long tau":
            r = 1 / dt if self.dialect.integrate == "r" else np.ones(1) if owned else gain
            return nir.IF(r=_full(r, shape), **common)
        assert node.beta is not None
        tau = self._decay(node.beta)
        r = tau / dt if self.dialect.lif == "r" else np.ones(1) if owned else gain
        fields = {"tau": tau, "r": r, "v_leak": 0.0, **common}
        where = (1,) if self.dialect.one_value and self._even(fields) else shape
        return nir.LIF(
            **{
                key: _full(value.flat[0] if where == (1,) else value, where)
                for key, value in ((k, np.asarray(v)) for k, v in fields.items())
            }
        )

    def _even(self, fields: dict[str, Any]) -> bool:
        return all((np.asarray(v) == np.asarray(v).flat[0]).all() for v in fields.values())

    def _decay(self, beta: Array) -> Array:
        """Return the tau of a retention: in seconds, or in time steps where readers take those."""
        if self.dialect.decay == "euler":
            return _tau(beta, self.dt)
        return np.asarray(-1 / np.log(np.maximum(beta.astype(np.float64), LEAST_RETENTION)))

    def _current_based(self, node: Neuron, common: dict[str, Array]) -> Any:
        """I += dt/tau_syn (-I + w_in S) and v += dt/tau_mem (-v + r I), r and w_in undoing both."""
        assert node.alpha is not None and node.beta is not None
        taus = {"tau_syn": _tau(node.alpha, self.dt), "tau_mem": _tau(node.beta, self.dt)}
        gains = {"w_in": taus["tau_syn"] / self.dt, "r": taus["tau_mem"] / self.dt, "v_leak": 0.0}
        full = {key: _full(value, node.shape) for key, value in {**taus, **gains}.items()}
        return self.nir.CubaLIF(**full, **common)


LONG = 2.0**40
"""Time steps of a tau that loses nothing of v in float32; a power of two, so that r undoes it."""
LEAST_RETENTION = 1e-30


def _full(values: Any, shape: tuple[int, ...]) -> Array:
    full: Array = np.broadcast_to(np.asarray(values, np.float32), shape).copy()
    return full


def _tau(beta: Array, dt: float) -> Array:
    """Return tau = dt / (1 - beta); a beta of 1 has none and takes a very long one."""
    return np.asarray(dt / np.maximum(1 - beta.astype(np.float64), 1 / LONG))


def _gain(node: Neuron, dt: float, dialect: Dialect) -> Array:
    """Return what a dialect's reader divides currents by: tau / dt, 1 / dt for IF, or 1."""
    assert node.beta is not None
    if node.alpha is not None:
        return np.ones(())
    if not leaks(node):
        return np.asarray(1 / dt if dialect.integrate == "weights" else 1.0)
    gain = _tau(node.beta, 1.0) if dialect.lif == "weights" else np.ones(())
    return np.asarray(gain.flat[0] if (gain == gain.flat[0]).all() else gain)


def _gained(node: Neuron, dialect: Dialect) -> bool:
    return bool((_gain(node, 0.5, dialect) != 1).any())


def _channels(name: str, values: Array, axis: int) -> Array:
    """Return the one value a channel of a neuron's bias."""
    others = tuple(k for k in range(values.ndim) if k != axis)
    lowest, highest = values.min(axis=others), values.max(axis=others)
    if not np.array_equal(lowest, highest):
        raise FormatError("its bias varies within a channel", node=name)
    channel: Array = lowest
    return channel
