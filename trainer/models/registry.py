"""`create`: an architecture by name, with options over its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...export.ir.arguments import checked, optional, shape, text
from ...export.ir.errors import InputError, UnknownNameError
from ..arguments import SEED, SIZE, checked_options
from .classifier import Classifier
from .if_net import IFNet, IFNetOptions
from .spikformer import Spikformer, SpikformerOptions
from .spiking_resnet import ResNetOptions, SpikingResNet

RESNET18: Mapping[str, Any] = {"widths": (64, 128, 256, 512), "blocks": (2, 2, 2, 2)}
RESNET34: Mapping[str, Any] = {"widths": (64, 128, 256, 512), "blocks": (3, 4, 6, 3)}
IMAGENET: Mapping[str, Any] = {"input_shape": (3, 224, 224), "classes": 1000}
_PATCHES: Mapping[str, Any] = {**IMAGENET, "pools": (True,) * 4, "qkv_bias": False, "heads": 8}

# Each entry: the options in which it differs from the defaults of its kind.
RESNETS: Mapping[str, Mapping[str, Any]] = {
    "spiking_resnet": {},
    "spiking_resnet_digits": {"input_shape": (1, 8, 8), "pool": 2},
    "spiking_convnet_digits": {"input_shape": (1, 8, 8), "pool": 1, "residual": "none"},
    "spiking_resnet_small": {"widths": (32, 64, 256), "blocks": (1, 1, 1), "stem_stride": 2},
    "spiking_resnet18": RESNET18,
    "spiking_resnet34": RESNET34,
    "spiking_resnet18_imagenet": {**RESNET18, **IMAGENET, "stem": "imagenet"},
    "spiking_resnet34_imagenet": {**RESNET34, **IMAGENET, "stem": "imagenet"},
}
SPIKFORMERS: Mapping[str, Mapping[str, Any]] = {
    "spikformer_2_64": {"depth": 2, "dim": 64, "heads": 4},
    "spikformer_4_384": {"depth": 4, "dim": 384, "heads": 12},
    "spikformer_8_512": {**_PATCHES, "depth": 8, "dim": 512},
    "spikformer_16_512": {**_PATCHES, "depth": 16, "dim": 512},
}
IF_NETS: Mapping[str, Mapping[str, Any]] = {
    "if_mlp_digits": {},
    "if_convnet_digits": {"channels": (8, 16), "hidden": ()},
    "if_soft_digits": {"hidden": (16, 96), "encoding": "direct", "reset": "soft"},
}
MODELS: Mapping[str, Mapping[str, Any]] = {**RESNETS, **SPIKFORMERS, **IF_NETS}
KINDS: tuple[tuple[Mapping[str, Any], Any, Any], ...] = (
    (RESNETS, ResNetOptions, SpikingResNet),
    (SPIKFORMERS, SpikformerOptions, Spikformer),
    (IF_NETS, IFNetOptions, IFNet),
)
"""Names, and the options and the class of the networks that they name."""


@checked({"name": text, "seed": SEED})
def create(name: str, *, seed: int = 0, **options: Any) -> Classifier:
    """Return the architecture `name` with random weights drawn from `seed`.

    `options` (fields of `ResNetOptions`, `SpikformerOptions` or `IFNetOptions`) override the
    entry's own. The global random state of torch is left as it was.

    Raises:
        UnknownNameError: for an unknown model or option, naming the near ones.
        InputError: for an option outside its range.
    """
    if name not in MODELS:
        raise UnknownNameError.of("model", name, MODELS)
    kind, network = next((k, n) for names, k, n in KINDS if name in names)
    known = kind.__dataclass_fields__
    for option in options:
        if option not in known:
            raise UnknownNameError.of(f"option of {name}", option, known)
    types = {key: str(field.type) for key, field in known.items()}
    chosen = {**MODELS[name], **checked_options(options, types)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built: Classifier = network(kind(**chosen), name)
    built.note_drawn()
    return built


@checked({"sample_shape": shape, "classes": optional(SIZE), "name": optional(text), "seed": SEED})
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
