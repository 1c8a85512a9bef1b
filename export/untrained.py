"""Doubts about a module's weights: whether they look as they were when it was built."""

from __future__ import annotations

from typing import Any

from .ir.errors import DoubtWarning, warn


def doubt_weights(module: Any) -> None:
    """Warn of a module that nobody seems to have trained.

    Seen by its attribute `untrained` (our architectures tell), or by a BatchNorm whose running
    statistics are those it was built with: in eval mode it normalises by a mean and a variance
    that no data had.
    """
    name = type(module).__name__
    if getattr(module, "untrained", False) is True:
        line = f"{name} has random weights, as it was created: train it, or load a checkpoint"
        warn(line, DoubtWarning)
        return
    fresh = [path for path, layer in module.named_modules() if _saw_no_data(layer)]
    if fresh:
        more = f" and {len(fresh) - 1} more" if len(fresh) > 1 else ""
        line = (
            f"{name}: the BatchNorm {fresh[0] or name}{more} saw no data: random weights? "
            "train it, or load its weights"
        )
        warn(line, DoubtWarning)


def _saw_no_data(layer: Any) -> bool:
    batches = getattr(layer, "num_batches_tracked", None)
    if batches is None or getattr(layer, "running_mean", None) is None or int(batches):
        return False
    return not bool(layer.running_mean.any()) and bool((layer.running_var == 1).all())
