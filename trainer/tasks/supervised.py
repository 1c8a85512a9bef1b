"""Training with labels: the control from random weights, fine-tuning from pretrained ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ...export.ir.errors import InputError
from ..data import Dataset
from ..encode import drawn
from ..evaluate import accuracy, check_fits, images_of, labels_of, reestimate_batchnorm
from ..journal import Journal
from ..loop import LoopOptions, LoopRecord, Pass, fit
from ..models import Classifier
from ..quantised import Quantised
from ..resume import StateFile
from ..views import check_range, distort, policy


@dataclass(frozen=True, slots=True)
class SupervisedOptions:
    """How a network is trained with labels; `loop` says how long and how fast.

    Attributes:
        views: the policy that distorts the training pictures, e.g. `crop_flip`.
        label_smoothing: the share of the target spread over all classes.
        time_steps: T, None for the model's own.
        reestimate: estimate BatchNorm anew on the training pictures, undistorted, at the end.
    """

    views: str = "none"
    label_smoothing: float = 0.0
    time_steps: int | None = None
    reestimate: bool = False
    loop: LoopOptions = field(default_factory=LoopOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            found = f"label_smoothing {self.label_smoothing}, allowed 0 to below 1"
            raise InputError(found, node="train")
        policy(self.views)


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
    options: SupervisedOptions | None = None,
    *,
    progress: bool = True,
    state: StateFile | None = None,
    journal: Journal | None = None,
) -> SupervisedResult:
    """Train all of `model` in place: cross entropy of the outputs' mean over time, Path A.

    Args:
        state: where to keep the state of the training, and whether to resume from it (`fit`).
        journal: where numbers and warnings go (`fit`).

    Raises:
        UnknownNameError: for an unknown view policy.
        InputError: for data of another shape or without labels, or a loss that is not finite.
    """
    options = options or SupervisedOptions()
    if options.reestimate and isinstance(model, Quantised):
        reason = "its BatchNorms are folded into the weights, nothing is left to re-estimate"
        raise InputError(reason, node=model.name, remedy="leave out --reestimate or --bits")
    steps = options.time_steps or model.time_steps
    check_fits(model, train)
    check_fits(model, test)
    distortion = policy(options.views)
    generator = Generator().manual_seed(options.loop.seed)
    images, labels = images_of(train), labels_of(train)
    labels_of(test)  # raises now, not behind the training
    if options.views != "none":
        check_range(images, train.name, f"the distortion {options.views}")
    if model.encoding != "direct":
        for data in (train, test):
            check_range(images_of(data), data.name, f"the {model.encoding} code of {model.name}")

    def batch_loss(module: nn.Module, indices: Tensor, one: Pass) -> Tensor:
        pictures = distort(images[indices], distortion, generator)
        outputs: Tensor = module(drawn(pictures, steps, model.encoding, generator)).float().mean(0)
        return F.cross_entropy(outputs, labels[indices], label_smoothing=options.label_smoothing)

    record = fit(
        model,
        batch_loss,
        len(train),
        options.loop,
        generator,
        label="supervised",
        about=f"T {steps} {options}",
        data=train.digest() if state else "",
        progress=progress,
        state=state,
        journal=journal,
    )
    model.eval()
    if options.reestimate:
        reestimate_batchnorm(model, train, steps)
    return SupervisedResult(model, accuracy(model, test, steps), record)
