"""Lava's own rules of Dense and Sparse, beyond what a graph of ours needs, and random use of them.

A graph is sent to Lava so that nothing is clipped, truncated or shifted down. Here Lava gets
everything it accepts: odd and over-range weights, each sign mode, exponents -3 to 3, 3 to 8 bits,
graded messages, decays of each neuron. The weights are those of `effective_weights`; then, as in
lava-nc 0.10.0 (`proc/dense/models.py`):

    a = (w @ s) << weight_exp, or >> -weight_exp (floor); one step later
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...export.formats.lava_rules import STATE_BITS, STATE_SHIFT
from ...export.formats.lava_weights import (
    SIGN_MODES,
    SignMode,
    effective_weights,
    natural_mode,
)
from ...export.ir import Array, Neuron
from ...export.ir.arith import initial_state, neuron_step
from .program import Kind, Placed, Process, Program

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Layer:
    """A synapse process by Lava's parameters, and the neurons behind it."""

    kind: Kind
    weights: Array
    mode: SignMode | None
    bits: int
    exponent: int
    message_bits: int
    neuron: Neuron

    def current(self, s: Array) -> Array:
        """Return a of the next step for what arrives now, int64 [size]."""
        mode = self.mode or natural_mode(self.weights)
        used = effective_weights(self.weights, mode, self.bits)
        sums = used @ (s if self.message_bits else (s != 0).astype(np.int64))
        shifted: Array = sums << self.exponent if self.exponent > 0 else sums >> -self.exponent
        return shifted

    def processes(self, name: str) -> dict[str, Process]:
        """Return the two processes, `name.synapse` and `name`."""
        parameters: dict[str, Any] = {
            "num_weight_bits": self.bits,
            "weight_exp": self.exponent,
            "num_message_bits": self.message_bits,
        }
        if self.mode is not None:
            parameters["sign_mode"] = self.mode
        arrays = {"weights": self.weights}
        if self.kind == "sparse":
            row, column = np.nonzero(self.weights)
            arrays = {"row": row, "column": column, "value": self.weights[row, column]}
            parameters["matrix_shape"] = self.weights.shape
        node = self.neuron
        assert node.du is not None and node.dv is not None and node.bias is not None
        values = {
            "vth": node.v_threshold >> STATE_SHIFT,
            "du": node.du - 1,
            "dv": node.dv,
            "bias_mant": node.bias >> STATE_SHIFT,
        }
        lif = {"shape": node.shape, "bias_exp": STATE_SHIFT}
        return {
            f"{name}.synapse": Process(self.kind, parameters, arrays),
            name: Process("lif", lif, values),
        }


def random_layers(rng: Rng, inputs: int) -> list[Layer]:
    """Return one to three layers over graded input."""
    layers, size = [], inputs
    for depth in range(int(rng.integers(1, 4))):
        layers.append(_layer(rng, size, graded=depth == 0))
        size = layers[-1].neuron.shape[0]
    return layers


def _layer(rng: Rng, inputs: int, *, graded: bool) -> Layer:
    size = int(rng.integers(4, 16))
    low, high = [(-300, 300), (0, 300), (-300, 0), (-8, 8)][int(rng.integers(4))]
    weights = rng.integers(low, high + 1, (size, inputs)).astype(np.int32)
    weights[0, 0] = low + 1  # an odd or over-range one in each
    mode = None if rng.random() < 0.5 else SIGN_MODES[int(rng.integers(3))]
    loud = rng.random() < 0.5
    neuron = Neuron(
        (size,),
        (rng.integers(0, 200 if not loud else 1 << 17, size) << STATE_SHIFT).astype(np.int32),
        dv=rng.integers(0, 4097, size).astype(np.int32) // (4 if loud else 1),
        du=rng.integers(0, 4097, size).astype(np.int32) // (8 if loud else 1),
        bias=(rng.integers(-60, 61, size) << STATE_SHIFT).astype(np.int32),
        state_shift=STATE_SHIFT,
        state_bits=STATE_BITS,
        u_range="wrap",
    )
    bits, exponent = int(rng.integers(3, 9)), int(rng.integers(-3, 4))
    kind: Kind = "dense" if rng.random() < 0.6 else "sparse"
    message_bits = int(rng.integers(0, 2)) * 10 if graded else 0
    return Layer(kind, weights, mode, bits, exponent, message_bits, neuron)


def program(stacks: list[list[Layer]], inputs: int) -> Program:
    """Return one program of several stacks over one source, `in`."""
    processes, connections = {"in": Process("source")}, []
    neurons: dict[str, Placed] = {}
    for k, layers in enumerate(stacks):
        before = "in"
        for depth, layer in enumerate(layers):
            name = f"{k}:{depth}"
            processes |= layer.processes(name)
            connections += [(before, f"{name}.synapse"), (f"{name}.synapse", name)]
            neurons[name] = Placed(name, 0, np.arange(layer.neuron.shape[0]))
            before = name
    source = {"in": Placed("in", 0, np.arange(inputs))}
    last = next(reversed(neurons.values()))
    return Program(processes, tuple(connections), neurons, last, source, {}, {}, True)


def expected(layers: list[Layer], x: Array) -> list[dict[str, Array]]:
    """Return s_out, u and v of each layer at each step for input x [step, inputs]."""
    found: list[dict[str, Array]] = []
    values = x
    for layer in layers:
        state, buffer = initial_state(layer.neuron, 1), np.zeros(layer.neuron.shape, np.int64)
        steps: dict[str, list[Array]] = {"s_out": [], "u": [], "v": []}
        for s in values:
            spikes = neuron_step(buffer[None], layer.neuron, state)[0]
            buffer = layer.current(s)
            assert state.u is not None
            for name, value in zip(steps, (spikes, state.u[0], state.v[0]), strict=True):
                steps[name].append(value)
        found.append({name: np.stack(kept) for name, kept in steps.items()})
        values = found[-1]["s_out"]
    return found
