"""The shipped checkpoints: small, told about by their cards, and equal on every executor."""

import numpy as np
import pytest

from spikewright import api
from spikewright.export.ir import InputError
from spikewright.sim.event import EventDriven
from spikewright.sim.run import run
from spikewright.trainer import checkpoint
from spikewright.trainer.data import load

CIFAR10 = sorted(name for name in checkpoint.shipped() if name.startswith("cifar10-"))


def test_there_is_one_for_cifar10():
    assert CIFAR10 == ["cifar10-resnet", "cifar10-spikformer"]


@pytest.mark.parametrize("name", CIFAR10)
def test_the_card_tells_data_recipe_hours_and_accuracy(name):
    assert checkpoint.resolve(name).stat().st_size <= 4_000_000
    card = checkpoint.read_card(name)
    assert card.data == "cifar10" and "Krizhevsky" in card.data_licence
    assert card.command.startswith("python -m spikewright.trainer.recipes.cifar10")
    assert card.recipe["hours"] > 0 and card.recipe["pretrain"]["loss"] == "ctl"
    assert 0.1 < card.accuracies["finetuned"] < 1
    assert all(0.01 < rate < 0.5 for rate in card.spike_rates.values()), card.spike_rates


@pytest.mark.parametrize("name", CIFAR10)
def test_integers_are_equal_on_every_executor(name):
    images = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)
    graph = api.lower(name, calibrate=images)
    verification = api.verify(graph, images[:1])
    assert verification.equal and verification.samples == 1
    trace = api.run(graph, images[:1])
    assert all(0 < trace.neurons[node].spikes.mean() < 1 for node in graph.neurons)


@pytest.mark.parametrize(
    ("name", "target"),
    [("digits-if", "odin"), ("digits-if-conv", "speck2f"), ("digits-if-soft", "xylo-a3")],
)
def test_integrate_and_fire_fits_chips_without_leak_or_bias(name: str, target: str) -> None:
    """On the chip's own numbers, where thresholds are tested after every event and where not."""
    assert checkpoint.resolve(name).stat().st_size < 100_000
    card, test = checkpoint.read_card(name), load("digits", "test")
    assert card.command.startswith("spikewright train finetune if_") and card.data == "digits"
    graph = api.lower(name, target=target)
    assert api.check(graph, target).fits
    accuracies = [run(graph, test.x, 8).accuracy(test.y)]
    if "event_calibration" in graph.metadata:
        accuracies.append(run(graph, test.x, 8, executor_name=EventDriven()).accuracy(test.y))
    assert min(accuracies) > 0.9, accuracies


@pytest.mark.parametrize("name", CIFAR10)
def test_lowering_without_its_pictures_says_what_to_give(name):
    with pytest.raises(InputError, match='give calibrate="cifar10:PATH"'):
        api.lower(name)
