"""Energy per event: a synaptic operation, a neuron and step, a spike, a packet, a hop.

    synapse = e_synop * synaptic operations
    neuron  = e_access * neurons * steps + e_update * updated + e_active * fired
              + e_inactive * (neurons * steps - fired)
    spike   = e_spike * fired
    packet  = e_packet * packets between cores
    hop     = e_ew * hops east-west + e_ns * hops north-south

A table has the constants that its source gives; the others are 0. `davies` bills active and
inactive updates, `sanafe` access, update and spike (SANA-FE's closed form, Boyle et al., 2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..export.ir import Array
from .activity import Activity
from .target import CostTable

PARTS = ("synapse", "neuron", "spike", "packet", "hop")


def energy_pj(counts: Mapping[str, Any], neuron_steps: Any, table: CostTable) -> dict[str, Any]:
    """Return the energy of each part in pJ, of counts by name (numbers or arrays).

    Args:
        counts: `synops`, `updated`, `fired`, `packets_out`, `hops_ew`, `hops_ns`.
        neuron_steps: mapped neurons times steps.
    """
    cost = table.value
    fired = counts["fired"]
    return {
        "synapse": counts["synops"] * cost("synop_pj"),
        "neuron": neuron_steps * cost("neuron_access_pj")
        + counts["updated"] * cost("neuron_update_pj")
        + fired * cost("neuron_active_pj")
        + (neuron_steps - fired) * cost("neuron_inactive_pj"),
        "spike": fired * cost("spike_pj"),
        "packet": counts["packets_out"] * cost("packet_pj"),
        "hop": counts["hops_ew"] * cost("hop_ew_pj") + counts["hops_ns"] * cost("hop_ns_pj"),
    }


def layer_energy_pj(activity: Activity, table: CostTable) -> dict[str, dict[str, Array]]:
    """Return, per layer and part, the energy of each step in pJ, [time], mean over samples.

    A packet is billed to the layer that receives it.
    """
    found = {}
    for layer, counts in activity.layer_counts.items():
        means = {name: values / activity.samples for name, values in counts.items()}
        neurons = activity.layer_neurons.get(layer, 0)
        found[layer] = energy_pj(means, neurons, table)
    return found
