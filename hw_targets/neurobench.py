"""NeuroBench's algorithm metrics (v2.3.0 documentation) of a run.

    synaptic operations: per model execution, non-zero activations times non-zero weights; an AC
        where the activation is binary, otherwise a MAC. Biases, pooling, normalisation left out.
    activation sparsity: zeros among the outputs of neurons, over layers, steps and samples.
    connection sparsity: zeros among the weights. footprint: bytes of parameters and buffers.
    membrane updates: apart.

One execution is one time step of one sample; binary are -1, 0 and 1, as in the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..export.ir import WEIGHTS, Array, Graph, MatMul, dense_macs
from ..sim.fan_out import FanOuts
from ..sim.trace import Trace
from ..sim.travelled import values_of


def effective_operations(weight: Array, x: Array) -> int:
    """Return the operations of y = W x whose weight and activation are both not 0."""
    return int(((weight != 0).astype(np.int64) @ (x != 0).astype(np.int64)).sum())


@dataclass(slots=True)
class NeuroBench:
    """Gathers the metrics trace by trace: call it with each, then ask `metrics`."""

    graph: Graph
    macs: float = 0.0
    acs: float = 0.0
    zeros: int = 0
    outputs: int = 0
    executions: int = 0
    _fan_outs: Any = field(default=None)

    def __post_init__(self) -> None:
        self._fan_outs = FanOuts(self.graph)

    def __call__(self, trace: Trace) -> None:
        """Count one batch."""
        self.executions += trace.time_steps * trace.samples
        for neuron in trace.neurons.values():
            self.zeros += int(np.count_nonzero(neuron.spikes == 0))
            self.outputs += neuron.spikes.size
        for name in self.graph.of_kind(*WEIGHTS, MatMul):
            found = [values_of(trace, source) for source in self.graph.inputs(name)]
            done = self._operations(name, found)
            binary = np.logical_and.reduce([_binary(values) for values in found])
            self.acs += float(done[binary].sum())
            self.macs += float(done[~binary].sum())

    def _operations(self, name: str, inputs: list[Array]) -> Array:
        """Return the effective operations of each execution, [time * batch]."""
        node = self.graph.nodes[name]
        if isinstance(node, MatMul):
            left, right = ((values != 0).astype(np.float64) for values in inputs)
            right = np.swapaxes(right, -1, -2) if node.transpose_b else right
            return _per_execution(left @ right)
        fan = self._fan_outs.of(name, effective=True)
        return _per_execution((inputs[0] != 0) * fan)

    def metrics(self) -> dict[str, Any]:
        """Return the metrics by NeuroBench's names, operations a model execution."""
        weights = [n.weight for n in self.graph.nodes.values() if isinstance(n, WEIGHTS)]
        total = sum(w.size for w in weights)
        zero = sum(int(np.count_nonzero(w == 0)) for w in weights)
        macs = {n: dense_macs(self.graph, n) for n in self.graph.of_kind(*WEIGHTS, MatMul)}
        neurons = sum(int(np.prod(n.shape)) for n in self.graph.neurons.values())
        return {
            "footprint_bytes": footprint(self.graph),
            "connection_sparsity": zero / total if total else 0.0,
            "activation_sparsity": self.zeros / self.outputs if self.outputs else 0.0,
            "synaptic_operations": {
                "dense": sum(macs.values()),
                "effective_macs": self.macs / max(self.executions, 1),
                "effective_acs": self.acs / max(self.executions, 1),
            },
            "membrane_updates": neurons,
            "execution": "one time step of one sample",
        }


def _binary(values: Array) -> Array:
    """Return in which executions a layer's inputs are all -1, 0 or 1, bool [time * batch]."""
    return np.asarray(np.isin(values, (-1, 0, 1)).reshape(len(values), -1).all(axis=1))


def _per_execution(values: Array) -> Array:
    return np.asarray(values.reshape(len(values), -1).sum(axis=1, dtype=np.float64))


def footprint(graph: Graph) -> int:
    """Return the bytes of weights, of neurons' parameters and of their states.

    Weights take their declared bits, everything else 4 bytes.
    """
    found = 0
    for node in graph.nodes.values():
        if not isinstance(node, WEIGHTS):
            continue
        bits = node.bits or 8 * node.weight.itemsize
        found += (node.weight.size * bits + 7) // 8
        found += 0 if node.bias is None else node.bias.size * 4
    for neuron in graph.neurons.values():
        held = (neuron.v_threshold, neuron.bias, neuron.dv, neuron.du)
        found += sum(values.size * 4 for values in held if values is not None)
        found += int(np.prod(neuron.shape)) * (8 if neuron.current_based else 4)
    return found
