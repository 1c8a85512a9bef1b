"""Latency of a step: the slowest core, then the barrier over all tiles.

A core updates its neurons and sends their packets one after the other, and serves the packets that
enter it one after the other; both go on at the same time:

    step = max over cores of max(neurons + packets out, packets in + synaptic operations) + barrier

To what a core serves the first packet's way is added (the sender's port and an average hop), to
what a core sends the last packet's way and service. Packets do not hold each other up on the links.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..export.ir import Array
from .target import CostTable

TILES = 32
"""The largest Loihi 1 has (Davies et al., 2018): where `barrier_max_ns` holds."""
BARRIERS = (
    (29, "barrier_29_tiles_ns"),
    (4, "barrier_4_tiles_ns"),
    (2, "barrier_2_tiles_ns"),
    (1, "barrier_1_tile_ns"),
)


def step_ns(counts: Mapping[str, Array], neurons: Array, table: CostTable, tiles: int) -> Array:
    """Return the latency [time, batch] of steps with counts [time, batch, core]."""
    cost = table.value
    idle = neurons - counts["fired"]
    update = neurons * cost("neuron_access_ns") + counts["updated"] * cost("neuron_update_ns")
    update = update + counts["fired"] * (cost("spike_ns") + cost("neuron_active_ns"))
    update = update + idle * cost("neuron_inactive_ns")
    way = _way(counts, table)
    serve = counts["packets_in"] * cost("packet_in_ns") + counts["synops"] * cost("synop_ns")
    one = serve.sum(axis=-1, keepdims=True)
    one = one / np.maximum(counts["packets_in"].sum(axis=-1, keepdims=True), 1)
    send = update + counts["packets_out"] * cost("packet_out_ns")
    send = send + np.where(counts["packets_out"] > 0, way + one, 0)
    serve = serve + np.where(counts["packets_in"] > 0, cost("packet_out_ns") + way, 0)
    slowest: Array = np.maximum(send, serve).max(axis=-1)
    return slowest + barrier_ns(table, tiles)


def _way(counts: Mapping[str, Array], table: CostTable) -> Array:
    """Return the hops of an average packet of a step in ns, [time, batch, 1]."""
    packets = np.maximum(counts["packets_out"].sum(axis=-1, keepdims=True), 1)
    hops = counts["hops_ew"].sum(axis=-1, keepdims=True) * table.value("hop_ew_ns")
    hops = hops + counts["hops_ns"].sum(axis=-1, keepdims=True) * table.value("hop_ns_ns")
    way: Array = hops / packets
    return way


def barrier_ns(table: CostTable, tiles: int) -> float:
    """Return the barrier of a step: by the table of tiles, or linear between 1 and 32 tiles."""
    for least, name in BARRIERS:
        if tiles >= least and name in table.constants:
            return table.value(name)
    low, high = table.value("barrier_min_ns"), table.value("barrier_max_ns")
    return low + (high - low) * (min(tiles, TILES) - 1) / (TILES - 1)
