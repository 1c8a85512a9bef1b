"""The controls that belong beside every pretraining figure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..data import Dataset
from ..models import Classifier, create
from .pretrain import PretrainOptions, PretrainResult, pretrain
from .probe import ProbeResult, linear_probe
from .supervised import SupervisedOptions, SupervisedResult, train_supervised


@dataclass(frozen=True, slots=True)
class Controls:
    """One architecture three ways; accuracies are shares of the test split.

    Attributes:
        random: a probe on random weights. pretrained: a probe after pretraining without labels.
        supervised: the whole network trained with labels, as many epochs.
    """

    pretraining: PretrainResult
    random: ProbeResult
    pretrained: ProbeResult
    supervised: SupervisedResult

    @property
    def accuracies(self) -> dict[str, float]:
        """The three test accuracies by name."""
        return {
            "random_weights": self.random.accuracy,
            "pretrained": self.pretrained.accuracy,
            "supervised": self.supervised.accuracy,
        }


def compare_controls(
    name: str,
    train: Dataset,
    test: Dataset,
    options: PretrainOptions | None = None,
    *,
    supervised_epochs: int | None = None,
    progress: bool = True,
    **model_options: object,
) -> Controls:
    """Return the architecture `name` probed at random, pretrained and probed, and supervised.

    All three start from the same weights (those of the loop's seed).

    Args:
        supervised_epochs: None trains with labels as long as the pretraining.

    Raises:
        UnknownNameError, InputError: as `models.create`, `pretrain`, `linear_probe`.
    """
    options = options or PretrainOptions()
    steps = options.time_steps

    def fresh() -> Classifier:
        return create(name, seed=options.loop.seed, **model_options)

    random = linear_probe(fresh(), train, test, time_steps=steps)
    pretraining = pretrain(fresh(), train, options, progress=progress)
    pretrained = linear_probe(pretraining.model, train, test, time_steps=steps)
    loop = replace(options.loop, epochs=supervised_epochs or options.loop.epochs)
    with_labels = SupervisedOptions(time_steps=steps, loop=loop)
    supervised = train_supervised(fresh(), train, test, with_labels, progress=progress)
    return Controls(pretraining, random, pretrained, supervised)
