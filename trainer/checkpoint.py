"""Checkpoints: safetensors with one JSON card in the metadata; nothing in them is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..export.formats.atomic import atomic_path
from ..export.ir.errors import FormatError, UnknownNameError

if TYPE_CHECKING:
    from .data import Dataset
    from .models import Classifier

_KEY = "spikewright"  # one metadata key only: safetensors writes several in no fixed order
_SCHEMA = "spikewright/checkpoint/1"


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


def shipped() -> dict[str, Path]:
    """Return the shipped checkpoints by name."""
    folder = Path(__file__).parent / "checkpoints"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


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
    raise FormatError("a folder" if path.is_dir() else "no such file", node=str(path))


def read_card(source: str | Path) -> Card:
    """Return the card of a checkpoint, by name or path; needs no torch.

    Raises:
        FormatError: for a file that is no checkpoint of this project.
    """
    from safetensors import SafetensorError, safe_open

    path = resolve(source)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"not a readable safetensors file: {error}", node=str(path)) from None
    if _KEY not in metadata:
        lowered = "a lowered network (.spk), a checkpoint of training is needed"
        said = lowered if path.suffix == ".spk" else "safetensors without a spikewright card"
        raise FormatError(said, node=str(path))
    return _parse_card(metadata[_KEY], str(path))


def _parse_card(text: str, where: str) -> Card:
    try:
        fields = dict(json.loads(text))
        schema = fields.pop("schema", None)
        if schema != _SCHEMA:
            raise FormatError(f"card of schema {schema!r}, read here is {_SCHEMA!r}", node=where)
        return Card(**fields)
    except (ValueError, TypeError) as error:
        raise FormatError(f"damaged card: {error}", node=where) from None


def save(path: str | Path, model: Classifier, card: Card, *, force: bool = False) -> Path:
    """Write the model's tensors and the card in one step and return the path.

    The same tensors and card give the same bytes.

    Raises:
        FormatError: if the file exists and `force` is not set, or it cannot be written.
    """
    from safetensors.torch import save as to_bytes

    target = Path(path)
    text = json.dumps({"schema": _SCHEMA, **asdict(card)}, sort_keys=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.saved.state_dict().items()}
    with atomic_path(target, force=force) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={_KEY: text}))
    return target


def load(source: str | Path) -> tuple[Classifier, Card]:
    """Return the model in eval mode and the card of a checkpoint, by name or path.

    Raises:
        UnknownNameError: for a name that is not shipped, or an architecture that is not known.
        FormatError: for a file that is missing, damaged, or whose tensors are not the
            architecture's, named with the first tensor that differs.
    """
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
    model = create(card.model, **card.options)
    load_tensors(model, load_file(path), str(path))
    return model.eval(), card


def load_tensors(model: Classifier, tensors: Mapping[str, Any], where: str) -> None:
    """Copy `tensors` into `model`, all or nothing.

    Raises:
        FormatError: for a tensor that is missing, too many, of another shape, or not finite.
    """
    wanted = model.saved.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise FormatError(f"no tensor {name!r}, which {model.name} has", node=where)
        if tensors[name].shape != tensor.shape:
            shapes = f"{list(tensors[name].shape)}, {model.name} has {list(tensor.shape)}"
            raise FormatError(f"tensor {name!r} of shape {shapes}", node=where)
        if not tensors[name].isfinite().all():
            raise FormatError(f"tensor {name!r} holds NaN or infinity", node=where)
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        raise FormatError(f"tensor {extra[0]!r}, which {model.name} has not", node=where)
    model.saved.load_state_dict(dict(tensors))
