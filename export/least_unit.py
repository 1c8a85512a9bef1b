"""The least unit of a current: below it the potentials of the neuron behind leave its state.

A channel whose weights are all but zero (a BatchNorm's gain that training let die) would take a
unit so small that its threshold, in that unit, exceeds every width. Rounded to the least unit such
weights keep an error of at most 2^-23 of the threshold each at 30 state bits.
"""

from __future__ import annotations

import numpy as np

from .current_groups import CurrentGroup
from .ir import WEIGHTS, Delay, Graph, MatMul, Neuron, Output, Profile, Scale
from .ir.arith import DECAY_ONE
from .quantise_state import FRACTION_BITS, decay_steps

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
    ways = [(name, group.factors[name]) for name in group.weights]
    largest, seen = 0.0, set(ways)
    while ways:
        name, factor = ways.pop()
        node = graph.nodes[name]
        if isinstance(node, WEIGHTS) and node.bias is not None:
            largest = max(largest, float(np.abs(node.bias).max()) / factor)
        for target in graph.consumers(name):
            behind = graph.nodes[target]
            if isinstance(behind, Neuron):
                largest = max(largest, _largest(behind, profile) / factor)
            elif not isinstance(behind, (*WEIGHTS, MatMul, Output, Delay)):
                scaled = (
                    factor * float(behind.factor.min()) if isinstance(behind, Scale) else factor
                )
                if (target, scaled) not in seen and scaled > 0:
                    seen.add((target, scaled))
                    ways.append((target, scaled))
    return largest / room


def _largest(node: Neuron, profile: Profile) -> float:
    values = [getattr(node, name) for name in _POTENTIALS]
    decays = decay_steps(node.beta, profile)
    if decays is not None:  # of a start that the decay in integers forgets, no unit keeps more
        values.append(np.where(decays == DECAY_ONE, 0.0, node.v_init))
    return max(float(np.abs(value).max()) for value in values if value is not None)
