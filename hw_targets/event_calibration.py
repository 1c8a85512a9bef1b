"""Calibration for chips that test the threshold after every event.

There a transient that later events of the same step would have cancelled fires already, so a
network lowered for steps spikes too often. Raising every threshold by one factor brings it nearest
to what was trained; the factor is searched on calibration samples, and kept in the metadata.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..export.ir import Array, Graph, Neuron, Node
from ..sim.arrivals import host_nodes
from ..sim.encode import encode
from ..sim.event import EventDriven
from ..sim.reference import Reference
from ..sim.trace import spikes_that_differ
from .target import Target
from .target import takes_events as takes_events

FACTORS = (1.0, 1.125, 1.25, 1.5, 1.75, 2.0)
SAMPLES = 8


def calibrate_events(graph: Graph, x: Array, time_steps: int, target: Target) -> Graph:
    """Return the graph with the thresholds under which event timing is nearest to step timing.

    Args:
        x: raw samples, of which the first few are used.
    """
    values = encode(graph, x[:SAMPLES], time_steps)
    wanted = Reference().prepare(graph).run(values, "spikes")
    bits = target.limit("threshold_bits")
    tried = [(raised(graph, factor, bits), factor) for factor in FACTORS]
    shares = []
    for candidate, factor in tried:
        found = EventDriven().prepare(candidate).run(values, "spikes")
        apart = spikes_that_differ(wanted, found)
        mean = float(np.mean(list(apart.values()))) if apart else 0.0
        shares.append((mean, factor, apart, candidate))
    mean, factor, apart, best = min(shares, key=lambda share: share[:2])
    note = {
        "threshold_factor": factor,
        "spikes_that_differ": apart,
        "before": shares[0][2],
        "samples": int(values.shape[1]),
    }
    return best.replace(metadata={**best.metadata, "event_calibration": note})


def raised(graph: Graph, factor: float, bits: int | None) -> Graph:
    """Return the graph with the thresholds on the chip times `factor`, within their width."""
    host = host_nodes(graph)

    def change(name: str, node: Node) -> Node:
        if not isinstance(node, Neuron) or name in host:
            return node
        step = 1 << node.state_shift
        steps = np.rint(node.v_threshold / step * factor).astype(np.int64)
        top = (1 << bits) - 1 if bits is not None else 2**31 // step - 1
        return replace(node, v_threshold=(np.minimum(steps, top) * step).astype(np.int32))

    return graph.map_nodes(change) if factor != 1 else graph
