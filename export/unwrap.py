"""What a user hands over as a module: torch's wrappers taken off, what is no module refused.

`torch.compile`, DataParallel and DistributedDataParallel hold the module that they run; inside
another module as well. What they wrap is what is lowered, under the source paths that it has
without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from .ir import InputError
from .ir.arguments import described
from .overridden import overrides

WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
}
"""By class, the name under which a wrapper holds what it runs."""
SCRIPTED = ("torch.jit.", "torch.export.", "torch.fx.experimental.")
PACKED = ("ExportedProgram",)


def unwrapped(module: Any, name: str = "source") -> Any:
    """Return the module without wrappers, itself where there are none; nothing is changed in it.

    Args:
        name: of the argument, for errors.

    Raises:
        InputError: for what is no torch.nn.Module that can be followed, with what to give instead.
    """
    while (inner := _inside(module)) is not None:
        module = inner
    _refuse_others(module, name)
    return _without(module, {})


def _inside(module: Any) -> Any | None:
    """Return what a wrapper runs, None for a module that is no wrapper.

    Raises:
        InputError: for a wrapper that does more than to run it, which would be lost.
    """
    for cls in type(module).__mro__:
        name = WRAPPERS.get(f"{cls.__module__}.{cls.__qualname__}")
        if name is not None:
            _refuse_own_part(module, cls, name)
            return getattr(module, name)
    return None


def _refuse_own_part(module: Any, wrapper: type, inside: str) -> None:
    parts = [f"{name}() of its own" for name in _replaced(module, wrapper)]
    if module._forward_hooks or module._forward_pre_hooks:
        parts.append("hooks")
    if parts:
        raise InputError(
            f"a wrapper with {' and '.join(parts)}, which what it wraps has not",
            node=type(module).__name__,
            remedy=f"give the module inside (.{inside}), or put what the wrapper adds into that",
        )


def _replaced(module: Any, wrapper: type) -> list[str]:
    """Return the methods by which a wrapper, or its subclass, computes its values another way."""
    above = type(module).__mro__[: type(module).__mro__.index(wrapper)]
    called = ["__call__"] if any("__call__" in vars(cls) for cls in above) else []
    ours = vars(module).get("forward")
    compiled = _is_torchs(ours) and "forward" not in {n for cls in above for n in vars(cls)}
    replaced = [n for n in overrides(module, wrapper) if not (n == "forward" and compiled)]
    return called + replaced


def _is_torchs(function: Any) -> bool:
    """Whether torch wrote a function: torch.compile's wrapper holds its forward() as a value."""
    written = str(getattr(function, "__globals__", {}).get("__name__", type(function).__module__))
    return written.startswith("torch.")


def _without(module: Any, made: dict[int, Any]) -> Any:
    """Return `module`, or a shallow copy of it whose children are not wrapped.

    Args:
        made: by the id of what was looked at; a module in two places stays one.
    """
    if id(module) in made:
        return made[id(module)]
    made[id(module)] = module
    if _inside(module) is not None:
        found = _without(_inside(module), made)
    else:
        children = {name: _without(m, made) for name, m in _children(module).items()}
        same = all(m is _children(module)[name] for name, m in children.items())
        found = module if same else _with_children(module, children)
    made[id(module)] = found
    return found


def _children(module: Any) -> Mapping[str, Any]:
    return {name: m for name, m in module._modules.items() if m is not None}


def _with_children(module: Any, children: Mapping[str, Any]) -> Any:
    """Return a copy that shares its parameters with `module`, and has other children."""
    again = copy(module)
    again.__dict__["_modules"] = {**module._modules, **children}
    return again


def _refuse_others(module: Any, argument: str) -> None:
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    if name.startswith(SCRIPTED) or type(module).__name__ in PACKED:
        raise InputError(
            f"a {type(module).__name__} has no Python code to follow",
            node=type(module).__name__,
            remedy="give the torch.nn.Module that it was made from, or export that to ONNX",
        )
    if hasattr(module, "named_modules") and not isinstance(module, type):
        return
    raise InputError(_is_no_module(module), node=argument, remedy=_instead(module))


def _is_no_module(given: Any) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__}, not an instance of it"
    if _is_state_dict(given):
        return f"a state dict ({described(given)}), without the network that it belongs to"
    return f"{described(given)}, a torch.nn.Module is needed"


def _instead(given: Any) -> str:
    if isinstance(given, type):
        return f"give {given.__name__}(...)"
    if _is_state_dict(given):
        return "build the network, call its load_state_dict(...), and give it with sample="
    if callable(given):
        return "give what it returns, a torch.nn.Module"
    return "give a torch.nn.Module, a Graph, a name or a path"


def _is_state_dict(given: Any) -> bool:
    values = list(given.values()) if isinstance(given, Mapping) else []
    return bool(values) and all(hasattr(v, "shape") or isinstance(v, Mapping) for v in values)
