"""Equal rules of a neuron: the plainest one that emits the same spikes, for chips that have few.

    no leak: soft_after_decay is soft. Let w be v with the spikes of this step subtracted already;
        then w[t-1] = v[t-1] - s[t-1] v_threshold, and both rules give v' = w[t-1] + u + bias, the
        same saturation, v_min and count of spikes. (Not with a refractory time, in which v is held
        and what was not yet subtracted is forgotten.)
    no memory (beta = 0): v' is the input alone, so that no reset is seen; hard, to 0, from 0.
    alpha = 0: u[t] is the input; bias_in adds to v as bias does.
    a reset that is not hard never reads v_reset; leak_subtract = 0 takes nothing.

Spikes and outputs stay what they were, and u where it has a memory. The recorded v of the first two
is that of the rule in the graph: after the subtraction, or after the reset to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .arith import DECAY_ONE
from .nodes import Neuron
from .profile import Profile


def plainest(node: Neuron) -> Neuron:
    """Return the plainest neuron, of the same level, that emits the spikes of a folded one.

    Or of an integer one.
    """
    changes: dict[str, Any] = {}
    if node.alpha is not None and not node.alpha.any():
        both = [b for b in (node.bias, node.bias_in) if b is not None]
        changes |= {"alpha": None, "bias_in": None, "bias": sum(both) if both else None}
    if node.leak_subtract is not None and not node.leak_subtract.any():
        changes["leak_subtract"] = None
    if node.reset == "soft_after_decay" and not leaks(node) and not node.refractory_steps:
        changes["reset"] = "soft"
    if is_memoryless(node):
        changes |= {"reset": "hard", "v_init": np.zeros_like(node.v_init)}
    if (node.reset != "hard" and node.v_reset.any()) or is_memoryless(node):
        changes["v_reset"] = np.zeros_like(node.v_reset)
    return replace(node, **changes) if changes else node


def leaks(node: Neuron) -> bool:
    """Whether a potential changes from step to step by itself."""
    fades = node.beta is not None and bool((node.beta != 1).any())
    decays = node.dv is not None and bool(node.dv.any())
    taken = node.leak_subtract is not None and bool(node.leak_subtract.any())
    return fades or decays or taken or node.tau is not None


def is_memoryless(node: Neuron) -> bool:
    """Whether v' of a folded neuron is its input alone, whatever it did before."""
    forgets = node.beta is not None and not node.beta.any()
    forgets |= node.dv is not None and bool((node.dv == DECAY_ONE).all())
    return forgets and not node.refractory_steps and node.reset != "soft_after_decay"


def with_reset_of(node: Neuron, profile: Profile) -> Neuron:
    """Return a neuron without a memory with a reset that the profile has; any other as it is."""
    if node.reset in profile.resets or not is_memoryless(node):
        return node
    return replace(node, reset=profile.resets[0])


def reset_remedy(node: Neuron, resets: Sequence[str]) -> str:
    """Return how to come to one of the resets from the one of a neuron.

    No layer of snntorch subtracts before the decay, so there the leak has to go.
    """
    if node.reset == "soft_after_decay" and "soft" in resets:
        others = "" if tuple(resets) == ("soft",) else f" or retrain with reset {resets[0]}"
        return f"train without a leak (beta = 1), where it is the reset soft,{others}".rstrip(",")
    return f"retrain with reset {resets[0]}"
