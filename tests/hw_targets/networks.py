"""Small integer networks, and runs of them, for the target tests."""

from __future__ import annotations

import numpy as np

from spikewright.export.ir import Graph, Input, Linear, Neuron, Node, Output
from spikewright.sim.counters import Counters, count
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference


def dense(
    inputs: int = 6, units: int = 4, bits: int = 8, neuron: Neuron | None = None, **fields: object
) -> Graph:
    """Spikes -> Linear -> Neuron (Loihi's number format) -> Linear -> integrate."""
    top = 2 ** (bits - 1) - 1
    rng = np.random.default_rng(0)
    plain: dict[str, object] = {
        "v_threshold": np.int32(64 * 40),
        "state_shift": 6,
        "state_bits": 24,
    }
    nodes: dict[str, Node] = {
        "in": Input((inputs,), "spikes", low=0, high=1),
        "fc": Linear(rng.integers(-top, top + 1, (units, inputs)).astype(np.int8), bits=bits),
        "n": neuron or Neuron((units,), **{**plain, **fields}),  # type: ignore[arg-type]
        "head": Linear(rng.integers(-top, top + 1, (2, units)).astype(np.int8), bits=bits),
        "out": Output("integrate", state_shift=6, state_bits=24),
    }
    return Graph.chain(nodes, "integer")


def analog() -> Graph:
    """Frames -> Linear -> Neuron -> Linear -> integrate."""
    graph = dense()
    nodes = {**graph.nodes, "in": Input((6,), "direct", 1 / 127, -127, 127)}
    return graph.replace(nodes)


def counted(graph: Graph, samples: int = 3, steps: int = 5) -> Counters:
    rng = np.random.default_rng(1)
    shape = (samples, steps, *graph.input.shape)
    return count(Reference().prepare(graph).run(encode(graph, rng.integers(0, 2, shape))))
