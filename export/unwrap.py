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
    """Return what a wrapper runs, None for a module that is no wrapper."""
    for cls in type(module).__mro__:
        name = WRAPPERS.get(f"{cls.__module__}.{cls.__qualname__}")
        if name is not None:
            return getattr(module, name)
    return None


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
