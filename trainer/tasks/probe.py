"""The linear probe: a head fitted on frozen features of Path A, then part of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import Dataset
from ..evaluate import accuracy, labels_of, path_a_features, reestimate_batchnorm
from ..models import Classifier


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe's outcome; accuracies are shares of the test split.

    Attributes:
        model: the classifier (the argument itself), its head now the probe.
        accuracy: with BatchNorm re-estimated on Path A; accuracy_before: with the statistics as
            training left them.
        train_accuracy: on the samples that the head was fitted on, after re-estimation.
    """

    model: Classifier
    accuracy: float
    accuracy_before: float
    train_accuracy: float


def linear_probe(
    model: Classifier,
    train: Dataset,
    test: Dataset,
    *,
    unlabelled: Dataset | None = None,
    time_steps: int | None = None,
    weight_decay: float = 1e-3,
) -> ProbeResult:
    """Fit the head of `model` in place by logistic regression on mean features over time.

    The backbone keeps its weights; its BatchNorm statistics are re-estimated on Path A alone, on
    `unlabelled`, and the probe is fitted before and after that.

    Args:
        unlabelled: more pictures for BatchNorm than `train`, which is the default.
        weight_decay: of the regression, on features scaled to unit variance overall.

    Raises:
        InputError: for data of another shape or without labels.
    """
    steps = time_steps or model.time_steps
    for labelled in (train, test):
        labels_of(labelled)  # raises before features are computed
    fit_head(model, train, steps, weight_decay)
    before = accuracy(model, test, steps)
    reestimate_batchnorm(model, unlabelled or train, steps)
    fit_head(model, train, steps, weight_decay)
    return ProbeResult(model, accuracy(model, test, steps), before, accuracy(model, train, steps))


def fit_head(model: Classifier, train: Dataset, time_steps: int, weight_decay: float) -> None:
    """Fit the head of `model` in place on its own Path A features of `train`."""
    features = path_a_features(model, train, time_steps)
    fit_head_on(model, features, labels_of(train), weight_decay)


def fit_head_on(model: Classifier, features: Tensor, labels: Tensor, weight_decay: float) -> None:
    """Fit the head of `model` in place on features [N, feature_count] and int64 labels [N]."""
    mean = features.mean(0)
    # One scale for all features, not one each: a seldom active feature would otherwise get a
    # large weight, and the head's integer weights share one scale.
    scale = (features - mean).square().mean().sqrt().clamp(min=1e-6)
    weight, bias = logistic_regression(
        (features - mean) / scale, labels, model.head.out_features, weight_decay
    )
    with torch.no_grad():
        model.head.weight.copy_(weight / scale)
        model.head.bias.copy_(bias - (weight / scale) @ mean)


def logistic_regression(
    x: Tensor, y: Tensor, classes: int, weight_decay: float, iterations: int = 200
) -> tuple[Tensor, Tensor]:
    """Return weight [classes, D] and bias [classes] minimising cross entropy + decay/2 |W|^2.

    x: [N, D], y: int64 [N]. L-BFGS on the whole set from zero, so it is deterministic.
    """
    weight = nn.Parameter(torch.zeros(classes, x.shape[1]))
    bias = nn.Parameter(torch.zeros(classes))
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, y) + weight_decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()
