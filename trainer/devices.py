"""Statistics over devices: what a loss compares is the batch of all devices, not its own part."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def gather_batch(fabric: Any, z: Tensor) -> Tensor:
    """Return [T, world * B, D]: the embeddings [T, B, D] of every device, in the order of ranks.

    Every device then computes the loss of the whole batch. The gradient of the gathering sums
    over devices and DDP takes the mean over them, so weights get that whole loss's gradient.

    Args:
        fabric: a lightning Fabric. On one device z comes back as it is.
    """
    if fabric.world_size == 1:
        return z
    parts: Tensor = fabric.all_gather(z.contiguous(), sync_grads=True)
    return parts.transpose(0, 1).flatten(1, 2)
