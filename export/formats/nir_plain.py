"""The plain nodes of a NIR file, as every reader computes them (`nir_out` says which those are)."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    Neuron,
    Output,
    Scale,
    SumPool,
    Weight,
)


class PlainWriter:
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
        return self._fed_alone(name)

    def _fed_alone(self, name: str) -> bool:
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
        """Return the bias of a weight node: its own, and what the neuron or readout behind adds."""
        own = np.zeros(node.weight.shape[0]) if node.bias is None else node.bias.astype(np.float64)
        behind = self._behind(name)
        if len(behind) != 1 or not (name in self.gains or self._reads_out(behind[0])):
            return own
        bias, leaves = self._added(behind[0]), self._leaves(behind[0])
        if bias is None or leaves[0] != name:
            return own
        if leaves.count(name) > 1:
            raise FormatError("its bias would reach it on several ways", node=behind[0])
        return own + self._brought_back(behind[0], bias)

    def _reads_out(self, name: str) -> bool:
        """Whether `name` is the Output, all that enters it from weights that feed it alone."""
        return name == self.graph.output_name and self._fed_alone(name)

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


def _channels(name: str, values: Array, axis: int) -> Array:
    """Return the one value a channel of a neuron's bias."""
    others = tuple(k for k in range(values.ndim) if k != axis)
    lowest, highest = values.min(axis=others), values.max(axis=others)
    if not np.array_equal(lowest, highest):
        raise FormatError("its bias varies within a channel", node=name)
    channel: Array = lowest
    return channel
