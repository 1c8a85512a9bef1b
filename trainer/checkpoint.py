"""Checkpoints: safetensors with one JSON card in the metadata; nothing in them is executed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..export.formats.atomic import atomic_path
from ..export.ir.errors import FormatError, InputError, UnknownNameError
from ..export.ir.missing import missing_file

if TYPE_CHECKING:
    from .data import Dataset
    from .models import Classifier

_KEY = "spikewright"  # one metadata key only: safetensors writes several in no fixed order
_SCHEMA = "spikewright/checkpoint/2"
_UNSEALED = "spikewright/checkpoint/1"
"""The schema before, of cards without digests."""
_LONGEST = 1 << 20
"""Characters of a card."""
_DEEPEST = 32
"""Levels of what a card nests; each stage of training keeps the recipe before it."""
BOUND = 16
"""How many times what a file holds a network may be built of, before its shapes are compared."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a checkpoint is and where it comes from.

    Attributes:
        model, options: what `models.create` rebuilds the architecture from.
        data: spec of the training data. licence: of the weights.
        data_licence: of that data. recipe: every option of the training, JSON-able.
        command: the command that makes the file again. seed: of that command.
        accuracies: shares of the test split by name, e.g. ``probe``, ``random_weights``.
        spike_rates: spikes per neuron and step on the test split, by neuron layer.
    """

    model: str
    options: Mapping[str, Any]
    data: str
    licence: str = "Apache-2.0"
    data_licence: str = "unknown"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    seed: int = 0
    accuracies: Mapping[str, float] = field(default_factory=dict)
    spike_rates: Mapping[str, float] = field(default_factory=dict)


def describe(
    model: Classifier,
    data: Dataset,
    *,
    recipe: Mapping[str, Any],
    command: str,
    seed: int,
    accuracies: Mapping[str, float],
    spike_rates: Mapping[str, float] | None = None,
) -> Card:
    """Return the card of a model trained on `data`."""
    return Card(
        model=model.name,
        options=dict(model.options),
        data=data.name,
        data_licence=data.licence,
        recipe=recipe,
        command=command,
        seed=seed,
        accuracies=accuracies,
        spike_rates=spike_rates or {},
    )


def continued(
    card: Card,
    data: Dataset,
    *,
    command: str,
    seed: int,
    accuracies: Mapping[str, float],
    spike_rates: Mapping[str, float],
    **stage: Mapping[str, Any],
) -> Card:
    """Return the card of a network that was trained on from the one with `card`.

    What was measured on the network before stays in its recipe; it says nothing about this one.

    Args:
        command: of this stage. stage: its name and options.
    """
    before = {**card.recipe, "accuracies": card.accuracies} if card.accuracies else card.recipe
    return replace(
        card,
        data=data.name,
        data_licence=data.licence,
        recipe={"before": dict(before), **stage},
        command=f"{card.command} && {command}" if card.command else command,
        seed=seed,
        accuracies=accuracies,
        spike_rates=spike_rates,
    )


def shipped() -> dict[str, Path]:
    """Return the shipped checkpoints by name."""
    folder = Path(__file__).parent / "checkpoints"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def shipped_graph(name: str) -> Path | None:
    """Return the archive of a shipped checkpoint's float graph; None where none is shipped."""
    path = Path(__file__).parent / "checkpoints" / f"{name}.spk"
    return path if name in shipped() and path.is_file() else None


def resolve(source: str | Path) -> Path:
    """Return the file of a shipped name, or of a path.

    Raises:
        UnknownNameError: for a name without a suffix that is not shipped.
        FormatError: for a path that is no file.
    """
    known = shipped()
    if str(source) in known:
        return known[str(source)]
    path = Path(source)
    if path.is_file():
        return path
    if path.suffix == "" and path.name == str(source):
        raise UnknownNameError.of("checkpoint", str(source), known)
    raise missing_file(path, "a .safetensors checkpoint")


def read_card(source: str | Path) -> Card:
    """Return the card of a checkpoint, by name or path; needs no torch.

    Raises:
        FormatError: for a file that is no checkpoint of this project.
    """
    path = resolve(source)
    return _parse_card(_card_text(path), str(path))


def _card_text(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"not a readable safetensors file: {error}", node=str(path)) from None
    if _KEY not in metadata:
        lowered = "a lowered network (.spk), a checkpoint of training is needed"
        said = lowered if path.suffix == ".spk" else "safetensors without a spikewright card"
        raise FormatError(said, node=str(path))
    return str(metadata[_KEY])


def _parse_card(text: str, where: str) -> Card:
    if len(text) > _LONGEST:
        said = f"damaged card: {len(text):,} characters, at most {_LONGEST:,} are read"
        raise FormatError(said, node=where)
    try:
        held = json.loads(text)
        schema = held.get("schema") if isinstance(held, dict) else None
        if schema not in (_SCHEMA, _UNSEALED):
            said = f"card of schema {_cut(schema)}, read here is {_SCHEMA!r}"
            raise FormatError(said, node=where)
        seal = held.pop("digest", None)
        if schema == _SCHEMA and seal != _digest(held):
            raise FormatError("damaged card: not what was written (its digest)", node=where)
        card = Card(**{k: v for k, v in held.items() if k not in _SEALING})
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"damaged card: {error}", node=where) from None
    for name in (f.name for f in fields(Card)):
        if reason := _wrong(name, getattr(card, name)):
            raise FormatError(f"damaged card: {reason}", node=where)
    return card


_SEALING = ("schema", "tensors")
"""What a card holds beside the fields of `Card`: `tensors` is the digest of those of the file."""


def _digest(card: Mapping[str, Any]) -> str:
    return sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _digest_of(tensors: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of tensors: names, types, shapes and bytes."""
    import torch

    found = sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _check_sealed(path: Path, tensors: Mapping[str, Any]) -> None:
    """Raise FormatError for tensors that are not those that the card was written with."""
    held = json.loads(_card_text(path))
    if held["schema"] == _SCHEMA and held.get("tensors") != _digest_of(tensors):
        raise FormatError("damaged: its tensors are not those of its card", node=str(path))


_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("model", "data", "licence", "data_licence", "command"), str),
    **dict.fromkeys(("options", "recipe", "accuracies", "spike_rates"), dict),
    "seed": int,
}
_SHARES = ("accuracies", "spike_rates")


def _wrong(name: str, value: Any) -> str | None:
    """Return what is wrong with a card's field, None where nothing is."""
    kind = _KINDS[name]
    if _depth(value) > _DEEPEST:
        return f"{name} nests more than {_DEEPEST} levels"
    if not isinstance(value, kind) or value is True or value is False:
        words = {str: "a text", dict: "an object", int: "a whole number"}
        return f"{name} is {_cut(value)}, needs {words[kind]}"
    if name in _SHARES and isinstance(value, dict):
        for key, share in value.items():
            if not _is_number(share):
                return f"{name} {key!r} is {_cut(share)}, needs a number"
    return None


def _depth(value: Any) -> int:
    """Return how many objects and lists a value of a card nests."""
    level, deep = [value], 0
    while inner := [item for item in level if isinstance(item, (dict, list)) and item]:
        level = [v for item in inner for v in (item.values() if isinstance(item, dict) else item)]
        deep += 1
    return deep


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _cut(value: Any) -> str:
    """Return a value of a card for a message, shortened."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def save(path: str | Path, model: Classifier, card: Card, *, force: bool = False) -> Path:
    """Write the model's tensors and the card in one step and return the path.

    The same tensors and card give the same bytes.

    Raises:
        FormatError: if the file exists and `force` is not set, or it cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in model.saved.state_dict().items()}
    return _write(Path(path), tensors, card, force=force)


def rewrite_card(path: str | Path, card: Card) -> Path:
    """Write a checkpoint, by name or path, again with another card; return the path.

    Its tensors stay as they are.

    Raises:
        FormatError: for a file that is no checkpoint, or cannot be written.
    """
    from safetensors.torch import load_file

    path = resolve(path)
    read_card(path)
    return _write(path, load_file(path), card, force=True)


def _write(path: Path, tensors: Mapping[str, Any], card: Card, *, force: bool) -> Path:
    from safetensors.torch import save as to_bytes

    held = {"schema": _SCHEMA, "tensors": _digest_of(tensors), **asdict(card)}
    held = json.loads(json.dumps(held))  # as it is read again, which its digest is of
    text = json.dumps({**held, "digest": _digest(held)}, sort_keys=True)
    with atomic_path(path, force=force) as temporary:
        temporary.write_bytes(to_bytes(dict(tensors), metadata={_KEY: text}))
    return path


def load(source: str | Path) -> tuple[Classifier, Card]:
    """Return the model in eval mode and the card of a checkpoint, by name or path.

    Raises:
        UnknownNameError: for a name that is not shipped, or an architecture that is not known.
        FormatError: for a file that is missing, damaged, or whose tensors are not the
            architecture's, named with the first tensor that differs.
    """
    import torch
    from safetensors.torch import load_file

    from .models import create

    path = resolve(source)
    card = read_card(path)
    if ".py:" in card.model:
        raise FormatError(
            f"weights of your own code {card.model}, which a checkpoint does not run",
            node=str(path),
            remedy=f"give {card.model} --weights {path}",
        )
    tensors = load_file(path)
    try:
        with torch.device("meta"), _no_larger_than(tensors):
            model = create(card.model, **card.options)
    except (InputError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(
            f"damaged card: options of {card.model}: {said}", node=str(path)
        ) from None
    check_tensors(model, tensors, str(path))
    _check_sealed(path, tensors)
    if _filled_by_tensors(model):
        model.to_empty(device="cpu")
    else:
        model = create(card.model, **card.options)
    model.saved.load_state_dict(tensors)
    return model.eval(), card


def _filled_by_tensors(model: Classifier) -> bool:
    """Return whether a model without values has them all once its saved tensors are loaded.

    Not so with a buffer that is not saved or a tensor that is a mere attribute: building sets it;
    nor with tied weights, which `to_empty` would part.
    """
    from torch import Tensor

    named = (model.named_parameters, model.named_buffers)
    held = [id(tensor) for each in named for _, tensor in each(remove_duplicate=False)]
    saved = {id(tensor) for tensor in model.saved.state_dict(keep_vars=True).values()}
    mere = any(isinstance(value, Tensor) for m in model.modules() for value in vars(m).values())
    return not mere and len(held) == len(set(held)) and saved.issuperset(held)


@contextmanager
def _no_larger_than(tensors: Mapping[str, Any]) -> Iterator[None]:
    """Within the context no network may be built of many times what `tensors` hold.

    Raises:
        InputError: as soon as one is, so that a card cannot ask for a network without bounds; one
            that is a little larger than its file is left to `check_tensors`, which names a tensor.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    held, built, parts = sum(tensor.numel() for tensor in tensors.values()), 0, 0

    def count(_module: Any, _name: str, parameter: Any) -> None:
        nonlocal built, parts
        built += 0 if parameter is None else parameter.numel()
        parts += 1
        if built > BOUND * held or parts > BOUND * len(tensors):
            found = f"at least {built:,} weights in {parts:,} tensors"
            raise InputError(f"{found}, the file holds {held:,} in {len(tensors):,}")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def check_tensors(model: Classifier, tensors: Mapping[str, Any], where: str) -> None:
    """Raise FormatError unless `tensors` are those of `model`.

    Not so is one that is missing, too many, of another shape or type, or not finite.
    """
    wanted = model.saved.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise FormatError(f"no tensor {name!r}, which {model.name} has", node=where)
        if tensors[name].shape != tensor.shape:
            shapes = f"{list(tensors[name].shape)}, {model.name} has {list(tensor.shape)}"
            raise FormatError(f"tensor {name!r} of shape {shapes}", node=where)
        if tensors[name].dtype != tensor.dtype:
            types = f"{tensors[name].dtype}, {model.name} has {tensor.dtype}".replace("torch.", "")
            raise FormatError(f"tensor {name!r} of type {types}", node=where)
        if not tensors[name].isfinite().all():
            raise FormatError(f"tensor {name!r} holds NaN or infinity", node=where)
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        raise FormatError(f"tensor {extra[0]!r}, which {model.name} has not", node=where)
