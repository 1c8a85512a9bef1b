"""`create`: an architecture by name, with options over its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...export.ir.errors import InputError, UnknownNameError
from .classifier import Classifier
from .spiking_resnet import ResNetOptions, SpikingResNet

# Each entry: the options in which it differs from `ResNetOptions`.
MODELS: Mapping[str, Mapping[str, Any]] = {
    "spiking_resnet": {},
    "spiking_resnet_digits": {"input_shape": (1, 8, 8), "pool": 2},
    "spiking_convnet_digits": {"input_shape": (1, 8, 8), "pool": 1, "residual": "none"},
    "spiking_resnet_small": {"widths": (32, 64, 256), "blocks": (1, 1, 1), "stem_stride": 2},
}


def create(name: str, *, seed: int = 0, **options: Any) -> Classifier:
    """Return the architecture `name` with random weights drawn from `seed`.

    `options` (fields of `ResNetOptions`) override the entry's own. The global random state of
    torch is left as it was.

    Raises:
        UnknownNameError: for an unknown model or option, naming the near ones.
        InputError: for an option outside its range.
    """
    if name not in MODELS:
        raise UnknownNameError.of("model", name, MODELS)
    known = ResNetOptions.__dataclass_fields__
    for option in options:
        if option not in known:
            raise UnknownNameError.of(f"option of {name}", option, known)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpikingResNet(ResNetOptions(**{**MODELS[name], **options}), name)


def create_for(
    sample_shape: tuple[int, ...],
    classes: int | None = None,
    name: str | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> Classifier:
    """Return an architecture whose input (and head, where `classes` is given) fit some data.

    Args:
        sample_shape: (channels, y, x) of the data's samples.
        name: None takes the digits' network for frames of its shape, else `spiking_resnet_small`.
        options: as in `create`.

    Raises:
        UnknownNameError, InputError: as `create`; InputError for samples that are no frames.
    """
    if len(sample_shape) != 3:
        found = f"samples of shape {list(sample_shape)}"
        raise InputError(f"{found}, needs [channel, y, x]", node=name or "model")
    if name is None:
        digits = sample_shape == MODELS["spiking_resnet_digits"]["input_shape"]
        name = "spiking_resnet_digits" if digits else "spiking_resnet_small"
    fitted: dict[str, Any] = {"input_shape": sample_shape}
    if classes is not None:
        fitted["classes"] = classes
    return create(name, seed=seed, **{**fitted, **options})
