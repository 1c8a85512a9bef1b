"""A neuron that starts lower: what makes up for a bias that acts one step too early.

v' = beta v[-1] + x in the first step, so v[-1] lower by by / beta takes `by` from it, and from no
other step: v' then is what it should be.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .ir import Array, Neuron


def no_lower_start(node: Neuron, by: Array) -> str:
    """Return why no start takes `by` from the first step's v', continuing the neuron's name.

    Empty where one does; `by` broadcasts to the neuron's shape.
    """
    if node.current_based or node.leak_subtract is not None:
        return "has no state that can start without it"
    if node.beta is None or ((node.beta == 0) & (by != 0)).any():
        return "keeps nothing of where it starts"
    return ""


def starting_lower(node: Neuron, by: Array) -> Neuron:
    """Return a neuron, for which `no_lower_start` is empty, whose first v' is lower by `by`."""
    assert node.beta is not None
    beta = np.where(node.beta == 0, 1.0, node.beta.astype(np.float64))
    return replace(node, v_init=node.v_init - np.asarray(by, np.float64) / beta)
