"""The state that layers hold inside themselves, a framework's or a user's: kept and put back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from .foreign import class_name, is_stateful

REST = {"snntorch": "reset_mem", "spikingjelly": "reset", "sinabs": "reset_states"}
"""The method by which a layer of each package returns to rest; norse hands its state along."""
TABLES = ("_buffers", "_memories")
"""Dictionaries in which a layer keeps its state by name."""
MACHINERY = "_"
"""So start the attributes in which torch itself keeps a module's parts and hooks."""


@contextmanager
def kept_state(module: Any) -> Iterator[Kept]:
    """Within the context layers that hold state start at rest; then they hold what they held.

    Of every layer: attributes and buffers, the contents of lists and of tensors changed in place.
    """
    kept = Kept([_Held(path, m) for path, m in module.named_modules() if hasattr(m, "__dict__")])
    try:
        kept.rest()
        yield kept
    finally:
        kept.restore()


@dataclass(frozen=True)
class Kept:
    """What each layer held."""

    layers: list[_Held]

    def rest(self) -> None:
        """Bring the layers that have a way to rest there."""
        for layer in self.layers:
            reset = _reset_of(layer.module)
            if reset is not None:
                reset()

    def restore(self) -> None:
        """Give every layer what it held."""
        for layer in self.layers:
            layer.restore()

    def changed(self) -> list[str]:
        """Return the source paths of what layers without a way to rest hold otherwise by now."""
        return [
            f"{layer.path}.{name}".lstrip(".")
            for layer in self.layers
            if _reset_of(layer.module) is None and not hasattr(layer.module, "to_node")
            for name in layer.changed()
        ]


@dataclass
class _Held:
    """The attributes of one layer, and what its lists and tensors held."""

    path: str
    module: Any
    attributes: dict[str, Any] = field(init=False)
    tables: dict[str, dict[str, Any]] = field(init=False)
    lists: dict[str, Any] = field(init=False)
    tensors: list[tuple[str, Any, int, Any]] = field(init=False)

    def __post_init__(self) -> None:
        own = vars(self.module)
        self.attributes = dict(own)
        self.tables = {key: dict(own[key]) for key in TABLES if key in own}
        values = {k: v for k, v in own.items() if not k.startswith(MACHINERY) or k in self.tables}
        self.lists = {
            k: v.copy() for k, v in values.items() if isinstance(v, (list, dict, set, deque))
        }
        every = {**values, **{k: v for table in self.tables.values() for k, v in table.items()}}
        self.tensors = [
            (k, v, v._version, v.detach().clone()) for k, v in every.items() if _is_state(v)
        ]

    def restore(self) -> None:
        own = vars(self.module)
        for key in own.keys() - self.attributes.keys():
            del own[key]
        for key, value in self.attributes.items():
            # What a hook makes anew at each call, such as a normalised weight, stays the newest.
            made = _is_state(value) and bool(self.module._forward_pre_hooks)
            if own.get(key, self) is not value and not made:
                own[key] = value
        for key, values in {**self.lists, **self.tables}.items():
            _refill(own[key], values)
        for _, tensor, version, values in self.tensors:
            if tensor._version != version:
                tensor.detach().copy_(values)

    def changed(self) -> list[str]:
        """Return the names of numbers, texts and tensors that are others by now."""
        own = vars(self.module)
        others = [k for k, v in own.items() if _is_other(v, self.attributes.get(k, self))]
        for key, table in self.tables.items():
            others += [k for k, v in own[key].items() if _is_other(v, table.get(k, self))]
        inside = [k for k, tensor, version, _ in self.tensors if tensor._version != version]
        return sorted({k for k in (*others, *inside) if not k.startswith(MACHINERY)})


def _is_other(now: Any, before: Any) -> bool:
    if now is before:
        return False
    plain = (bool, int, float, complex, str, type(None))
    return not (isinstance(now, plain) and isinstance(before, plain) and now == before)


def _refill(held: Any, values: Any) -> None:
    """Give a list or table, which others may refer to, the contents it had."""
    if held == values if isinstance(held, set) else _same_items(held, values):
        return
    held.clear()
    (held.update if isinstance(held, (dict, set)) else held.extend)(values)


def _same_items(held: Any, values: Any) -> bool:
    if len(held) != len(values):
        return False
    if isinstance(held, dict):
        return all(key in values and values[key] is value for key, value in held.items())
    return all(a is b for a, b in zip(held, values, strict=True))


def _is_state(value: Any) -> bool:
    """Whether a value is a tensor that a step could change in place, weights apart."""
    import torch

    return (
        isinstance(value, torch.Tensor)
        and not isinstance(value, torch.nn.Parameter)
        and not torch.nn.parameter.is_lazy(value)
        and not value.is_inference()
    )


def _reset_of(module: Any) -> Callable[[], Any] | None:
    """Return what brings a layer to rest: a framework's method, or a user's own neuron's."""
    if is_stateful(module):
        return getattr(module, REST.get(class_name(module).split(".")[0], ""), None)
    if not hasattr(module, "to_node"):
        return None
    own = (getattr(module, name, None) for name in dict.fromkeys(REST.values()))
    return next((method for method in own if _takes_nothing(method)), None)


def _takes_nothing(method: Any) -> bool:
    if not callable(method):
        return False
    taken = signature(method).parameters.values()
    return all(
        p.default is not Parameter.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in taken
    )
