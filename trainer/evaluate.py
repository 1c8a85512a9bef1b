"""Path A of a trained network: BatchNorm re-estimated, features, accuracy, spike rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..export.ir.errors import InputError
from .data import Dataset
from .encode import presented
from .models import Classifier
from .neurons import LIF

EVALUATION_BATCH = 512


def check_fits(model: Classifier, data: Dataset) -> None:
    """Raise InputError unless the samples have the shape, and the labels the range, of `model`."""
    if data.sample_shape != tuple(model.input_shape):
        raise InputError(
            f"samples of shape {list(data.sample_shape)}, {model.name} takes "
            f"{list(model.input_shape)}",
            node=data.name,
        )
    if data.y is not None and data.classes > model.head.out_features:
        found = f"{data.classes} classes, {model.name} has {model.head.out_features}"
        raise InputError(found, node=data.name, remedy=f"create it with classes={data.classes}")


def images_of(data: Dataset) -> Tensor:
    """Return the samples as a float32 tensor [N, C, y, x]."""
    return torch.from_numpy(np.ascontiguousarray(data.x, np.float32))


def labels_of(data: Dataset) -> Tensor:
    """Return the labels as an int64 tensor [N]."""
    return torch.from_numpy(np.ascontiguousarray(data.labels))


def batches(x: Tensor, batch: int) -> Iterator[Tensor]:
    """Yield x [N, ...] in order, `batch` at a time; a last rest of one sample joins its left."""
    sizes = [batch] * (len(x) // batch) + ([len(x) % batch] if len(x) % batch else [])
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    yield from x.split(sizes)


def shown(model: Classifier, data: Dataset, time_steps: int, batch: int) -> Iterator[Tensor]:
    """Yield the samples as the model takes them, [T, B, C, y, x], in order."""
    first = 0
    for x in batches(images_of(data), batch):
        yield presented(x, time_steps, model.encoding, first=first)
        first += len(x)


@torch.no_grad()
def reestimate_batchnorm(
    model: Classifier, data: Dataset, time_steps: int, batch: int = EVALUATION_BATCH
) -> None:
    """Replace every BatchNorm's running statistics by those of Path A alone over `data`.

    Dual training mixes spikes with analog values in them. Mean over the batches of each batch's
    statistics, each by its number of samples; the weights stay, and the mode is eval afterwards.
    """
    check_fits(model, data)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    for x in shown(model, data, time_steps, batch):
        seen += x.shape[1]
        for norm in norms:
            norm.momentum = x.shape[1] / seen
        model.features(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def path_a_features(
    model: Classifier, data: Dataset, time_steps: int, batch: int = EVALUATION_BATCH
) -> Tensor:
    """Return the features of Path A, mean over time, [N, feature_count]."""
    check_fits(model, data)
    model.eval()
    parts = [model.features(x).mean(0) for x in shown(model, data, time_steps, batch)]
    return torch.cat(parts)


@torch.no_grad()
def predict(
    model: Classifier, data: Dataset, time_steps: int, batch: int = EVALUATION_BATCH
) -> NDArray[np.int64]:
    """Return the predicted class of each sample: argmax of the outputs' mean over time."""
    check_fits(model, data)
    model.eval()
    parts = [model(x).mean(0).argmax(1) for x in shown(model, data, time_steps, batch)]
    return torch.cat(parts).numpy()


def accuracy(model: Classifier, data: Dataset, time_steps: int) -> float:
    """Return the share of samples that Path A classifies correctly."""
    return float((predict(model, data, time_steps) == data.labels).mean())


@torch.no_grad()
def spike_rates(model: Classifier, data: Dataset, time_steps: int) -> Mapping[str, float]:
    """Return spikes per neuron and step on `data`, by neuron layer (healthy: 0.01 to 0.4)."""
    counts: dict[str, tuple[float, int]] = {}

    def count(name: str, _module: nn.Module, _inputs: object, spikes: Tensor) -> None:
        total, values = counts.get(name, (0.0, 0))
        counts[name] = (total + float(spikes.sum()), values + spikes.numel())

    model.eval()
    hooks = [
        module.register_forward_hook(partial(count, name))
        for name, module in model.saved.named_modules()
        if isinstance(module, LIF)
    ]
    try:
        path_a_features(model, data, time_steps)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total / values for name, (total, values) in counts.items()}
