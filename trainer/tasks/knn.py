"""Nearest neighbours on Path A features: no fitting, so nothing but the features is judged."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...export.ir.errors import InputError
from ..data import Dataset
from ..evaluate import EVALUATION_BATCH, labels_of, path_a_features, reestimate_batchnorm
from ..models import Classifier


@torch.no_grad()
def knn_accuracy(
    model: Classifier,
    train: Dataset,
    test: Dataset,
    *,
    neighbours: int = 20,
    temperature: float = 0.07,
    time_steps: int | None = None,
) -> float:
    """Return the share of `test` that the weighted vote of its nearest `train` features names.

    BatchNorm is re-estimated on Path A over `train` first, as for the probe: two paths trained it.

    Votes weigh exp(cosine / temperature); 20 neighbours at 0.07 are close to Wu et al.,
    arXiv 1805.01978 (200 at 0.07 on ImageNet), with fewer neighbours for smaller sets.

    Raises:
        InputError: if there are fewer training samples than neighbours, no labels, or a
            temperature that is not above 0.
    """
    if not 1 <= neighbours <= len(train):
        asked = f"{neighbours} neighbours of {len(train)} samples"
        raise InputError(asked, node="knn", remedy=f"give -k 1 to {len(train)}")
    if not 0 < temperature < float("inf"):
        raise InputError(f"temperature {temperature}, allowed above 0, finite", node="knn")
    steps = time_steps or model.time_steps
    classes = max(train.classes, test.classes)  # raises without labels, before the features
    reestimate_batchnorm(model, train, steps)
    bank, queries = (path_a_features(model, data, steps) for data in (train, test))
    found = vote(bank, labels_of(train), queries, classes, neighbours, temperature)
    return float((found == labels_of(test)).float().mean())


def vote(
    bank: Tensor,
    labels: Tensor,
    queries: Tensor,
    classes: int,
    neighbours: int = 20,
    temperature: float = 0.07,
) -> Tensor:
    """Return the class [Q] that the nearest of bank [N, D] name for each of queries [Q, D]."""
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    votes = []
    for query in queries.split(EVALUATION_BATCH):
        similarity, index = (query @ bank.T).topk(neighbours, dim=1)
        weights = torch.zeros(len(query), classes)
        # Over the nearest one's vote: exp(1 / temperature) itself leaves float32 below 0.0113.
        shares = ((similarity - similarity[:, :1]) / temperature).exp()
        votes.append(weights.scatter_add_(1, labels[index], shares))
    return torch.cat(votes).argmax(1)
