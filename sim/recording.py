"""How much a recording takes, so that a run that cannot be held is refused before it starts."""

from __future__ import annotations

import os
from math import prod

from ..export.ir import Graph, InputError
from .trace import Record

BATCH_BYTES = 1 << 30
"""What the recording of one batch may take: larger batches are run in parts, of equal values."""
VALUE_BYTES = 4


def bytes_per_sample(graph: Graph, time_steps: int, record: Record) -> int:
    """Return the bytes that a trace holds of one sample: spikes, and v and u for `states`."""
    neurons = graph.neurons.values()
    if record == "output":
        values = 0
    elif record == "spikes":
        values = sum(prod(n.shape) for n in neurons)
    else:
        values = sum(prod(n.shape) * (3 if n.current_based else 2) for n in neurons)
    outputs = prod(graph.shapes[graph.output_name])
    return (values + outputs) * time_steps * VALUE_BYTES


def fitting_batch(graph: Graph, time_steps: int, record: Record, batch: int, held: int) -> int:
    """Return the batch, smaller where its recording would pass `BATCH_BYTES`.

    Args:
        held: how many samples' recordings are in memory at the end (0: counted and dropped).

    Raises:
        InputError: for a recording larger than this machine's memory.
    """
    one = bytes_per_sample(graph, time_steps, record)
    needed, memory = one * max(1, held), physical_memory()
    if memory is not None and needed > memory:
        raise InputError(
            f"{max(1, held)} samples of {time_steps} time steps record {_gib(needed)}, "
            f"this machine has {_gib(memory)}",
            node="run",
            remedy="take fewer time steps or samples, or record less",
        )
    return max(1, min(batch, BATCH_BYTES // max(1, one)))


def physical_memory() -> int | None:
    """Return the bytes of memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _gib(count: int) -> str:
    return f"{count / (1 << 30):,.1f} GiB"
