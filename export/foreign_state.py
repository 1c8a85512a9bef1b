"""The state that other frameworks' layers hold inside themselves, kept and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .foreign import class_name, is_stateful

REST = {"snntorch": "reset_mem", "spikingjelly": "reset", "sinabs": "reset_states"}
"""The method by which a layer of each package returns to rest; norse hands its state along."""


@contextmanager
def kept_state(module: Any) -> Iterator[None]:
    """Within the context other frameworks' layers start at rest; then they hold what they held."""
    layers = [m for m in module.modules() if is_stateful(m)]
    held = [(dict(vars(m)), {key: dict(vars(m)[key]) for key in _tables(m)}) for m in layers]
    try:
        for layer in layers:
            _rest(layer)
        yield
    finally:
        for layer, (attributes, tables) in zip(layers, held, strict=True):
            vars(layer).clear()
            vars(layer).update(attributes)
            for key, values in tables.items():
                vars(layer)[key].clear()
                vars(layer)[key].update(values)


def _tables(layer: Any) -> list[str]:
    """Return the dictionaries that a layer keeps its state in."""
    return [key for key in ("_buffers", "_memories") if key in vars(layer)]


def _rest(layer: Any) -> None:
    method = REST.get(class_name(layer).split(".")[0], "")
    if hasattr(layer, method):
        getattr(layer, method)()
