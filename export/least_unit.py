"""The least unit of a current: below it the potentials of the neuron behind leave its state.

A channel whose weights are all but zero (a BatchNorm's gain that training let die) would take a
unit so small that its threshold, in that unit, exceeds every width. Rounded to the least unit such
weights keep an error of at most 2^-23 of the threshold each at 30 state bits.
"""

from __future__ import annotations

from math import prod

import numpy as np

from .current_groups import CurrentGroup
from .ir import WEIGHTS, Delay, Graph, MatMul, Neuron, Node, Output, Profile, Scale, SumPool
from .ir.arith import DECAY_ONE
from .quantise_state import FRACTION_BITS, decay_steps
from .whole_factors import stays_whole

_POTENTIALS = ("v_threshold", "bias", "bias_in", "v_reset", "v_min")


def least_unit(graph: Graph, group: CurrentGroup, profile: Profile) -> float:
    """Return the least unit of a group, in true units of its first weight node; 0 if none is set.

    What a neuron behind the group compares, adds or resets to fills at most half of its state and
    of the widths of a threshold and, where the profile names one, of a bias (in double steps).
    """
    width = min(
        2.0 ** (profile.state_bits - 1), 2.0**profile.threshold_bits * profile.threshold_step
    )
    if profile.bias_limit is not None:
        width = min(width, 2.0 * profile.bias_limit * 2 * profile.bias_step)
    room = width / 2 / 2.0**FRACTION_BITS
    ways = [(n, group.factors[n], _bias(graph.nodes[n]) / group.factors[n]) for n in group.weights]
    largest, seen = max(bias for _, _, bias in ways), set(ways)
    while ways:
        name, factor, bias = ways.pop()
        for target in graph.consumers(name):
            behind = graph.nodes[target]
            if isinstance(behind, Neuron):
                largest = max(largest, bias, _largest(behind, profile) / factor)
            elif not isinstance(behind, (*WEIGHTS, MatMul, Output, Delay)):
                way = (target, *_behind(behind, factor, bias))
                if way not in seen and way[1] > 0:
                    seen.add(way)
                    ways.append(way)
    return largest / room


def _bias(node: Node) -> float:
    """Return the largest bias of a weight node, in true units."""
    bias = node.bias if isinstance(node, WEIGHTS) else None
    return 0.0 if bias is None else float(np.abs(bias).max())


def _behind(node: Node, factor: float, bias: float) -> tuple[float, float]:
    """Return the least unit and the largest bias in that unit behind a node."""
    if isinstance(node, SumPool):
        return factor, bias * prod(node.kernel)
    if not isinstance(node, Scale):
        return factor, bias
    if stays_whole(node):
        return factor, bias * float(node.factor.max())
    return factor * float(node.factor.min()), bias


def _largest(node: Neuron, profile: Profile) -> float:
    values = [getattr(node, name) for name in _POTENTIALS]
    decays = decay_steps(node.beta, profile)
    if decays is not None:  # of a start that the decay in integers forgets, no unit keeps more
        values.append(np.where(decays == DECAY_ONE, 0.0, node.v_init))
    return max(float(np.abs(value).max()) for value in values if value is not None)
