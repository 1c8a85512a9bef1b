"""Whether a layer computes what the class that describes it computes.

A table, or a `to_node`, speaks of one class. A subclass with a method of its own in the place of
one of that class's, or an object whose method was replaced, may compute anything.
"""

from __future__ import annotations

from typing import Any

KEEPS_VALUES = frozenset(
    (
        *("extra_repr", "reset_parameters", "zero_grad", "requires_grad_", "from_float"),
        *("train", "eval", "to", "type", "cuda", "cpu", "float", "half", "double", "bfloat16"),
        *("parameters", "named_parameters", "buffers", "named_buffers", "apply", "share_memory"),
        *("state_dict", "load_state_dict", "get_extra_state", "set_extra_state"),
        *("_load_from_state_dict", "_save_to_state_dict", "_get_name", "_apply", "_init_weights"),
    )
)
"""Methods that do not enter the values of forward(); those like ``__init__`` do not either.

``__call__`` is one of them, because the tracer runs it, and reads what it does around forward().
"""


def overrides(module: Any, described: type) -> list[str]:
    """Return the methods of `described` that `module` has in another form, sorted."""
    classes = type(module).__mro__
    above = classes[: classes.index(described)] if described in classes else classes
    replaced = {name for cls in above for name in vars(cls) if _is_method(vars(cls)[name])}
    replaced |= {name for name, value in vars(module).items() if callable(value)}
    return sorted(n for n in replaced if _enters_values(n) and _is_method(_of(described, n)))


def describes_itself(module: Any) -> bool:
    """Whether a layer's `to_node` speaks of its forward(), not of a parent's that it replaced."""
    if not hasattr(module, "to_node"):
        return False
    if "forward" in vars(module):
        return "to_node" in vars(module)
    order = [cls for cls in type(module).__mro__ if {"to_node", "forward"} & set(vars(cls))]
    return not order or "to_node" in vars(order[0]) or "to_node" in vars(module)


def _is_method(value: Any) -> bool:
    return callable(value) or isinstance(value, (staticmethod, classmethod, property))


def _of(cls: type, name: str) -> Any:
    return getattr(cls, name, None)


def _enters_values(name: str) -> bool:
    dunder = name.startswith("__") and name.endswith("__")
    return not dunder and name not in KEEPS_VALUES
