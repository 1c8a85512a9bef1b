"""Pretraining without labels: two distorted views, two paths, a temporal loss; arXiv 2511.18542."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor, nn

from ...export.ir.errors import InputError
from ..data import Dataset
from ..encode import TimeAugmentation, check_time_augmentation, over_time
from ..evaluate import check_fits, images_of
from ..journal import Journal
from ..loop import LoopOptions, LoopRecord, Pass, fit
from ..losses import pair_loss, temporal_loss
from ..losses.temporal import Pairs, Reduction
from ..models import Classifier
from ..neurons import dual_path
from ..resume import StateFile
from ..views import check_range, distort, policy

Paths: TypeAlias = Literal["dual", "single"]


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """What is pretrained with; `loop` says how long and how fast.

    Unknown names and values out of range are refused here, before any data are read.

    Attributes:
        loss: `ctl`, `btl` or `non_cross`. pair: `ntxent`, `barlow` or `vicreg`; the paper does not
            state its pair loss, `ntxent` learned best here on small networks.
        pair_options: constants of the pair loss by name, e.g. ``{"temperature": 0.1}``; all of
            them are reconstructions.
        pairs: `all` or `cross` (without pairs within a view); reduction: `mean` over pairs, or
            `steps` for the published form. Both are reconstructions.
        paths: `dual` sends view A through Path A and view B through Path B; `single`, the
            baseline, sends both through Path A.
        views: name of the view policy, `auto` chooses by the number of channels.
        time_augmentation: `repeat` or `jitter`. time_steps: T, None for the model's own.
        projector: hidden and output width of the projection head, a reconstruction.
    """

    loss: str = "ctl"
    pair: str = "ntxent"
    pair_options: Mapping[str, float] = field(default_factory=dict)
    pairs: Pairs = "all"
    reduction: Reduction = "mean"
    paths: Paths = "dual"
    views: str = "auto"
    time_augmentation: TimeAugmentation = "repeat"
    time_steps: int | None = None
    projector: int = 256
    loop: LoopOptions = field(default_factory=LoopOptions)

    def __post_init__(self) -> None:
        temporal_loss(self.loss)
        if self.pairs not in get_args(Pairs) or self.reduction not in get_args(Reduction):
            found = f"pairs {self.pairs!r}, reduction {self.reduction!r}"
            raise InputError(f"{found}; allowed all or cross, mean or steps", node="pretrain")
        if self.loss == "non_cross" and self.pairs != "all":
            reason = f"pairs {self.pairs} cannot act here, the loss non_cross has pairs of its own"
            raise InputError(reason, node="pretrain", remedy="use the loss ctl or btl, or leave it")
        pair = pair_loss(self.pair, **self.pair_options)
        pair(torch.zeros(2, 2), torch.zeros(2, 2))  # raises for a constant out of range
        if self.paths not in get_args(Paths):
            raise InputError(f"paths {self.paths!r}, allowed dual or single", node="pretrain")
        if self.views != "auto":
            policy(self.views)
        check_time_augmentation(self.time_augmentation)
        for name in ("projector", "time_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} {value}, allowed 1 and up", node="pretrain")


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """The pretrained model (the argument itself), the loop's record, and T."""

    model: Classifier
    record: LoopRecord
    time_steps: int

    @property
    def loss(self) -> float:
        """The mean loss of the last epoch."""
        return self.record.losses[-1]


class ProjectedBackbone(nn.Module):
    """Backbone and a non-spiking MLP on each step's features: [T, B, C, y, x] to [T, B, D]."""

    def __init__(self, model: Classifier, width: int) -> None:
        super().__init__()
        self.model = model
        self.projector = nn.Sequential(
            nn.Linear(model.feature_count, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return projections [T, B, D]."""
        features = self.model.features(x)
        out: Tensor = self.projector(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        return out


def pretrain(
    model: Classifier,
    data: Dataset,
    options: PretrainOptions | None = None,
    *,
    progress: bool = True,
    state: StateFile | None = None,
    journal: Journal | None = None,
) -> PretrainResult:
    """Pretrain the backbone of `model` in place on the pictures of `data`; labels are not read.

    Args:
        state: where to keep the state of the training, and whether to resume from it (`fit`).
        journal: where numbers and warnings go (`fit`).

    Raises:
        UnknownNameError: for an unknown loss, pair loss, view policy or time augmentation.
        InputError: for data of another shape, a batch of 1, `btl` at T = 1, or a loss that
            leaves the finite numbers.
    """
    options = options or PretrainOptions()
    time_steps = options.time_steps or model.time_steps
    check_fits(model, data)
    temporal = temporal_loss(options.loss, pairs=options.pairs, reduction=options.reduction)
    pair = pair_loss(options.pair, **options.pair_options)
    blank = torch.zeros(time_steps, min(options.loop.batch, len(data)), 2)
    temporal(blank, blank, pair)  # raises for a batch or T that the loss does not take
    views = _policy_name(options.views, data)
    distortion = policy(views)
    generator = Generator().manual_seed(options.loop.seed)
    images = images_of(data)
    if views != "none":
        check_range(images, data.name, f"the distortion {views}")
    if options.time_augmentation != "repeat":
        check_range(images, data.name, f"the time augmentation {options.time_augmentation}")

    def batch_loss(module: nn.Module, indices: Tensor, one: Pass) -> Tensor:
        views = [distort(images[indices], distortion, generator) for _ in range(2)]
        frames = over_time(torch.cat(views), time_steps, options.time_augmentation, generator)
        z_a, z_b = (one.gather(z) for z in module(frames).float().chunk(2, dim=1))
        if one.journal.due:
            one.journal.embeddings(z_a[-1])
        return temporal(z_a, z_b, pair)

    module = _projected(model, options.projector, options.loop.seed)
    with dual_path(model) if options.paths == "dual" else nullcontext():
        record = fit(
            module,
            batch_loss,
            len(data),
            options.loop,
            generator,
            label="pretrain",
            about=f"T {time_steps} {options}",
            data=data.digest() if state else "",
            progress=progress,
            state=state,
            journal=journal,
        )
    model.eval()
    return PretrainResult(model, record, time_steps)


def _projected(model: Classifier, width: int, seed: int) -> ProjectedBackbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ProjectedBackbone(model, width)


def _policy_name(name: str, data: Dataset) -> str:
    if name != "auto":
        return name
    return "colour" if data.sample_shape[0] == 3 else "grey"
