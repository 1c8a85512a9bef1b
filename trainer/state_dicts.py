"""State dicts in files, as torch or safetensors write them, and modules that take them.

Nothing in a file is executed (`weights_only`), tensors of any device come to the CPU. What a
training script adds is taken off: a dictionary around the state dict, and the prefixes of
DataParallel (``module.``), torch.compile (``_orig_mod.``) or a training class's own attribute.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..export.ir.errors import FormatError
from ..export.ir.missing import missing_file

StateDict: TypeAlias = dict[str, Any]
AROUND = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
"""Under these names checkpoints of training scripts hold the state dict, the likeliest first."""
STATE_DICT = "torch.save(model.state_dict(), PATH)"
PICKLE, ZIP = b"\x80", b"PK"
_NAMED = 3
_DEEPEST = 4
"""Dictionaries around a state dict that are looked into: a file may hold itself."""


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Put the state dict of a file into a module.

    Raises:
        FormatError: for a file that cannot be read, or tensors that the module does not have, or
            has in other shapes.
    """
    tensors = fitted(read_state_dict(path), module)
    own = module.state_dict()
    problems = _problems(tensors, own)
    if problems:
        raise FormatError(
            f"does not fit the module: {'; '.join(problems)}",
            node=str(path),
            remedy="give the weights of this very architecture",
        )
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n", 1)[-1].split())
        raise FormatError(f"does not fit the module: {reason}", node=str(path)) from None


def read_state_dict(path: str | Path) -> StateDict:
    """Return the tensors of a .pt, .pth, .bin, .ckpt or .safetensors file by name.

    Raises:
        FormatError: for a file that is missing, damaged, or holds more than tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise missing_file(file, "a file of weights")
    with file.open("rb") as opened:
        start = opened.read(2)
    if start == ZIP or start[:1] == PICKLE:
        return _inner(_torch_file(file), file)
    return _safetensors(file)


def _safetensors(file: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError) as error:
        reason = f"neither a torch file nor readable safetensors ({error})"
        raise FormatError(reason, node=str(file), remedy=f"save it with {STATE_DICT}") from None


def _torch_file(file: Path) -> Any:
    remedy = f"save the weights alone, with {STATE_DICT}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript, which is refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        held = re.search(r"GLOBAL (\S+)", str(error))
        what = f"a pickled {held[1]}" if held else "pickled objects"
        reason = f"holds {what}, which only running its code could read"
        raise FormatError(reason, node=str(file), remedy=remedy) from None
    except RuntimeError as error:
        if "TorchScript" not in str(error):
            reason = f"damaged: {str(error).split('. ')[0]}"
            raise FormatError(reason, node=str(file), remedy="save it anew") from None
        reason = "a TorchScript archive, whose code cannot be followed"
        raise FormatError(reason, node=str(file), remedy=remedy) from None
    except Exception as error:  # a damaged pickle fails in any way
        reason = f"damaged: {type(error).__name__}"
        raise FormatError(reason, node=str(file), remedy="save it anew") from None


def _inner(read: Any, file: Path) -> StateDict:
    """Return the state dict in what a file holds, from inside the dictionaries around it."""
    found = _inside(read)
    if found is not None:
        return found
    what = f"a dictionary of {_listed(map(str, read))}" if isinstance(read, Mapping) else ""
    what = what or f"a {type(read).__name__}"
    raise FormatError(
        f"holds {what}, not a state dict", node=str(file), remedy=f"save it with {STATE_DICT}"
    )


def _inside(read: Any, depth: int = 0) -> StateDict | None:
    """Return the innermost state dict: a loss or an epoch may lie beside it as a tensor, too."""
    if not isinstance(read, Mapping) or depth > _DEEPEST:
        return None
    for name in AROUND:
        found = _inside(read.get(name), depth + 1)
        if found is not None:
            return found
    if any(isinstance(value, Tensor) for value in read.values()):
        return {str(name): value for name, value in read.items()}
    return None


def fitted(tensors: StateDict, module: nn.Module) -> StateDict:
    """Return a state dict with the names that the module has, prefixes taken off where it has none.

    What layers of other frameworks hold from their last run is the module's own: a network is
    lowered from rest.
    """
    kept = {f"{path}.{name}": value for path, name, value in _held_states(module)}
    wanted = set(module.state_dict()) | set(kept)
    plain = {name.replace("_orig_mod.", ""): value for name, value in tensors.items()}
    plain = _stripped(plain, "module.")
    candidates = [tensors, plain]
    heads = {name.split(".", 1)[0] for name in plain}
    if len(heads) == 1:
        candidates.append(_stripped(plain, f"{heads.pop()}."))
    parted = [_parted({**found, **kept}, wanted) for found in candidates]
    best = candidates[parted.index(min(parted))]
    return {**{n: v for n, v in best.items() if n not in kept}, **_present(kept, module)}


def _held_states(module: nn.Module) -> Iterable[tuple[str, str, Tensor]]:
    """Yield path, name and value of the states that sinabs' layers hold as buffers."""
    for path, layer in module.named_modules():
        if type(layer).__module__.startswith("sinabs."):
            for name, value in layer.named_buffers(recurse=False):
                yield path, name, value


def _present(kept: StateDict, module: nn.Module) -> StateDict:
    own = module.state_dict()
    return {name: value for name, value in kept.items() if name in own}


def _stripped(tensors: StateDict, prefix: str) -> StateDict:
    if not all(name.startswith(prefix) for name in tensors):
        return tensors
    return {name[len(prefix) :]: value for name, value in tensors.items()}


def _parted(tensors: Mapping[str, Any], wanted: set[str]) -> int:
    return len(wanted ^ set(tensors))


def _problems(tensors: StateDict, own: Mapping[str, Any]) -> list[str]:
    """Return what keeps a state dict from the module, each of three kinds in a few words."""
    lacking, beyond = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    shapes = [
        f"{name} is {_shape(tensors[name])}, the module's {_shape(own[name])}"
        for name in own
        if name in tensors and _shape(tensors[name]) != _shape(own[name])
    ]
    found = []
    if lacking:
        found.append(f"it lacks {_listed(name for name in own if name in lacking)}")
    if beyond:
        found.append(f"the module has no {_listed(name for name in tensors if name in beyond)}")
    return [*found, *([_listed(shapes)] if shapes else [])]


def _shape(value: Any) -> list[int] | str:
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _listed(names: Iterable[str]) -> str:
    """Return names as a list, the first of many."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more
