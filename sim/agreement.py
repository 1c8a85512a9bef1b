"""Agreement with a framework: our float run of a graph beside a module's own spikes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..export.ir import Array, Graph, InputError
from .reference import Reference


@dataclass(frozen=True, slots=True)
class Agreement:
    """Share of spikes, over neurons, steps and samples, that differ: 0 is equal in every one.

    Attributes:
        by_neuron: the share of each neuron node. differ: of all. spike_rate: of the module's own.
    """

    by_neuron: Mapping[str, float]
    differ: float
    spike_rate: float

    @property
    def equal(self) -> bool:
        """Whether every spike is equal."""
        return self.differ == 0

    def __str__(self) -> str:
        said = "every spike equal" if self.equal else f"{self.differ:.3%} of spikes differ"
        lines = [f"{said} (the module's spike rate {self.spike_rate:.3f})"]
        return "\n".join([*lines, *(f"  {n}: {share:.3%}" for n, share in self.by_neuron.items())])


def agreement(graph: Graph, values: Array, spikes: Mapping[str, Array]) -> Agreement:
    """Return how a float graph's run on values [time, batch, *shape] agrees with given spikes.

    Args:
        spikes: [time, batch, *shape] by source path of the neuron.

    Raises:
        InputError: where no neuron is in both, or one is given other steps or another shape.
    """
    found = Reference(np.float32).prepare(graph).run(np.asarray(values, np.float32), "spikes")
    counts: dict[str, tuple[int, int]] = {}
    fired = 0
    for path, own in spikes.items():
        name = path if path in found.neurons else f"{path}.neuron"
        if name in found.neurons:
            ours = found.neurons[name].spikes
            if ours.size != own.size or len(ours) != len(own):
                reason = f"the module emitted spikes {own.shape}, its graph {ours.shape}"
                raise InputError(f"{reason} [time, batch, ...]", node=path)
            counts[name] = (int((ours.reshape(own.shape) != own).sum()), own.size)
            fired += int((own != 0).sum())
    if not counts:
        raise InputError("no neuron of the module is in the graph", node="agreement")
    total = max(1, sum(size for _, size in counts.values()))
    return Agreement(
        {name: differ / max(1, size) for name, (differ, size) in counts.items()},
        sum(differ for differ, _ in counts.values()) / total,
        fired / total,
    )
