"""What Lava's fixed-point LIF cannot compute, by node, with what to change; as tables.

The rules are those of lava-nc 0.10.0's CPU models (`select_tag="fixed_pt"`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...export.formats.lava import Reason
from ...export.formats.lava_rules import (
    BIAS_HIGH,
    BIAS_LOW,
    LOWER,
    STATE_BITS,
    STATE_SHIFT,
    neuron_problems,
)
from ...export.ir import Delay, ExecutorError, Graph, Neuron, Node, Output, bounds
from ...export.ir.arith import DECAY_ONE
from ...export.ir.bounds import Bound
from .lags import SYNAPSES

CURRENT_LIMIT = 1 << 17
"""|a| below it keeps u = a << 6 within 24 bits, where it does not wrap."""
CONV_LIMIT = 1 << 23
"""Lava's Conv wraps its sums to 24 bits."""

_KINDS = {
    "MaxPool": "Lava has no max-pooling; train with strided convolutions or average pooling",
    "MatMul": "Lava has no attention; use a convolutional network, or --executor native",
}


def problems(graph: Graph) -> list[Reason]:
    """Return (node, reason, remedy) of all that Lava cannot compute; empty if it can."""
    if graph.level != "integer":
        return [("network", f"is {graph.level}, Lava computes integers", LOWER)]
    found = [
        (name, f"{node.kind} has no form in Lava", _KINDS[node.kind])
        for name, node in graph.nodes.items()
        if node.kind in _KINDS
    ]
    limits = bounds(graph)
    for name, node in graph.nodes.items():
        found += [(name, *problem) for problem in _of(graph, name, node, limits)]
    return found


def refuse(graph: Graph) -> None:
    """Raise for the first problem; name those of other kinds, so that one remedy is not in vain.

    Raises:
        ExecutorError: naming the node and the remedy.
    """
    found = problems(graph)
    if not found:
        return
    node, reason, remedy = found[0]
    others = {why: f"{name}: {why}" for name, why, _ in reversed(found) if why != reason}
    also = f" (also {', '.join(list(others.values())[-1:-4:-1])})" if others else ""
    raise ExecutorError(reason + also, node=node, remedy=remedy)


def _of(
    graph: Graph, name: str, node: Node, limits: Mapping[str, Bound]
) -> Iterator[tuple[str, str]]:
    if isinstance(node, SYNAPSES) and limits[name].largest >= CONV_LIMIT:
        yield f"sums to {limits[name].largest}, Lava holds {CONV_LIMIT - 1}", "use fewer --bits"
    if isinstance(node, Neuron):
        yield from _neuron(node, limits[graph.inputs(name)[0]].largest)
        strict = strict_threshold(node)
        if graph.of_kind(Delay) and strict is not None and (strict < 0).any():
            reason = f"v {node.compare} {int(node.v_threshold.min())} fires before the first step"
            yield reason, "use a threshold above 0"
    if isinstance(node, Output):
        yield from _output(node, limits[graph.inputs(name)[0]].largest)


def _neuron(node: Neuron, largest: int) -> Iterator[tuple[str, str]]:
    yield from neuron_problems(node)
    if strict_threshold(node) is None:
        yield "compares by >=, Lava by >", LOWER
    elif (np.asarray(strict_threshold(node)) % (1 << STATE_SHIFT)).any():
        yield f"v_threshold is no multiple of {1 << STATE_SHIFT}", LOWER
    if not node.current_based and largest >= CURRENT_LIMIT:
        yield f"a current of {largest}, Lava holds {CURRENT_LIMIT - 1}", "use fewer --bits"
    if node.bias_in is not None and (node.bias_in % (1 << STATE_SHIFT)).any():
        yield f"bias_in is no multiple of {1 << STATE_SHIFT}", LOWER
    if node.bias is not None and bias_parts(node.bias) is None:
        yield f"bias {int(np.abs(node.bias).max())} is no int16 mantissa << exponent", LOWER


def _output(node: Output, largest: int) -> Iterator[tuple[str, str]]:
    if largest >= CURRENT_LIMIT:
        yield f"a current of {largest}, Lava holds {CURRENT_LIMIT - 1}", "use fewer --bits"
    if node.readout == "none":
        return
    if (node.state_shift, node.state_bits) != (STATE_SHIFT, STATE_BITS):
        yield f"a {node.state_bits}-bit readout of shift {node.state_shift}", LOWER
    if node.bias is not None and bias_parts(node.bias) is None:
        yield f"bias {int(np.abs(node.bias).max())} is no int16 mantissa << exponent", LOWER


def strict_threshold(node: Neuron) -> np.ndarray | None:
    """Return the threshold of an equal neuron that compares by `>`, None if there is none.

    v >= 64 k is v > 64 (k - 1) where every v is a multiple of 64: no decay but 0 and 1, biases of
    whole steps, and no v that saturates, at an odd 2^23 - 1. Upward that fires on both sides while
    64 k is below 2^23; whether v did so downward is looked up in each run (`executor`).
    """
    threshold = node.v_threshold.astype(np.int64)
    if node.compare == ">":
        return threshold
    step = 1 << STATE_SHIFT
    decays = [d for d in (node.dv, node.du) if d is not None]
    whole = all(((d == 0) | (d == DECAY_ONE)).all() for d in decays)
    biases = [b for b in (node.bias, node.bias_in) if b is not None]
    whole &= not any((b % step).any() for b in biases)
    whole &= bool((threshold < 1 << (STATE_BITS - 1)).all()) and not (threshold % step).any()
    return threshold - step if whole else None


def bias_parts(bias: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return (mantissa, exponent) with mantissa << exponent == bias, the least exponent that fits.

    None if the mantissa needs more than int16 (Lava wraps it without a word).
    """
    for exponent in range(8):
        if (bias % (1 << exponent)).any():
            return None
        if (bias >> exponent).min() >= BIAS_LOW and (bias >> exponent).max() <= BIAS_HIGH:
            return bias >> exponent, exponent
    return None
