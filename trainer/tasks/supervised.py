"""Training with labels: the control from random weights, fine-tuning from pretrained ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..data import Dataset
from ..encode import repeat
from ..evaluate import accuracy, check_fits, images_of, labels_of
from ..loop import LoopOptions, LoopRecord, fit
from ..models import Classifier
from ..resume import StateFile
from ..views import distort, policy


@dataclass(frozen=True, slots=True)
class SupervisedResult:
    """The trained model (the argument itself), its test accuracy and the loop's record."""

    model: Classifier
    accuracy: float
    record: LoopRecord


def train_supervised(
    model: Classifier,
    train: Dataset,
    test: Dataset,
    loop: LoopOptions | None = None,
    *,
    views: str = "none",
    time_steps: int | None = None,
    progress: bool = True,
    state: StateFile | None = None,
) -> SupervisedResult:
    """Train all of `model` in place: cross entropy of the outputs' mean over time, Path A.

    Args:
        views: the view policy that distorts the training pictures.
        state: where to keep the state of the training, and whether to resume from it (`fit`).

    Raises:
        UnknownNameError: for an unknown view policy.
        InputError: for data of another shape or without labels, or a loss that is not finite.
    """
    loop = loop or LoopOptions()
    steps = time_steps or model.time_steps
    check_fits(model, train)
    distortion = policy(views)
    generator = Generator().manual_seed(loop.seed)
    images, labels = images_of(train), labels_of(train)

    def batch_loss(module: nn.Module, indices: Tensor) -> Tensor:
        pictures = distort(images[indices], distortion, generator)
        outputs: Tensor = module(repeat(pictures, steps)).float().mean(0)
        return F.cross_entropy(outputs, labels[indices])

    record = fit(
        model,
        batch_loss,
        len(train),
        loop,
        generator,
        label="supervised",
        progress=progress,
        state=state,
    )
    model.eval()
    return SupervisedResult(model, accuracy(model, test, steps), record)
