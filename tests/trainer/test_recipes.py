"""The CIFAR-10 recipe on small digits: every stage runs, a broken run goes on, the card tells."""

from dataclasses import replace

import pytest
import torch

from spikewright.export.ir.errors import FormatError
from spikewright.trainer import checkpoint
from spikewright.trainer.data import load
from spikewright.trainer.loop import LoopOptions
from spikewright.trainer.models import create
from spikewright.trainer.recipes import cifar10
from spikewright.trainer.tasks import PretrainOptions, SupervisedOptions

LOOP = LoopOptions(epochs=2, batch=64)
TINY = cifar10.Recipe(
    model="spiking_resnet_digits",
    options={"widths": (8, 16), "time_steps": 2, "stem_stride": 2, "pool": 1},
    pretrain=PretrainOptions(projector=16, loop=LOOP),
    pretrain_images=128,
    finetune=(
        SupervisedOptions(time_steps=1, loop=replace(LOOP, epochs=6)),
        SupervisedOptions(time_steps=2, loop=LOOP),
    ),
)


@pytest.fixture(scope="module")
def splits():
    return cifar10.Splits(load("digits", limit=512), load("digits", "test", limit=200), "finetuned")


@pytest.fixture(scope="module")
def trained(splits, tmp_path_factory):
    out = tmp_path_factory.mktemp("recipe") / "net.safetensors"
    return out, *cifar10.train_recipe(TINY, splits, out, command="again", progress=False)


def test_the_network_learns_and_the_card_tells_how(trained):
    _, model, card = trained
    assert card.accuracies["finetuned"] > 0.5
    assert card.recipe["pretrain_images"] == 128 and card.recipe["training_images"] == 512
    assert [stage["time_steps"] for stage in card.recipe["finetune"]] == [1, 2]
    assert card.command == "again" and card.recipe["hours"] >= 0
    assert set(card.spike_rates) and model.time_steps == 2


def test_what_is_kept_beside_the_output_is_gone_on_from(trained, splits):
    out, model, _ = trained
    kept = out.with_name("net.pretrained.safetensors")
    pretrained, _ = checkpoint.load(kept)
    fresh = create(TINY.model, seed=0, **TINY.options)
    assert not torch.equal(
        pretrained.state_dict()["conv1.weight"], fresh.state_dict()["conv1.weight"]
    )
    again, _ = cifar10.train_recipe(TINY, splits, out, progress=False)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"options": {**TINY.options, "surrogate": "atan"}}, "its model differ"),
        ({"pretrain": replace(TINY.pretrain, projector=8)}, "its options differ"),
        ({"pretrain_images": 64}, "its images and data differ"),
        ({}, "its data differ"),
    ],
)
def test_what_another_recipe_kept_is_refused(trained, splits, changed, said):
    out, _, _ = trained
    if not changed:
        dark = replace(splits.train, x=splits.train.x * 0.5)
        splits = replace(splits, train=dark)
    with pytest.raises(FormatError, match=said) as caught:
        cifar10.train_recipe(replace(TINY, **changed), splits, out, progress=False)
    assert "give another OUT" in str(caught.value)


def test_validation_images_are_left_out_of_training(monkeypatch):
    monkeypatch.setattr(cifar10, "HELD_OUT", 100)
    splits = cifar10.Splits.of("digits", validate=True, limit=300)
    assert (len(splits.train), len(splits.test), splits.name) == (200, 100, "finetuned_validation")
    seen = {x.tobytes() for x in splits.train.x}
    assert sum(x.tobytes() in seen for x in splits.test.x) == 0


def test_every_recipe_fits_its_size():
    for name, recipe in cifar10.RECIPES.items():
        model = create(recipe.model, **recipe.options)
        size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
        assert size < 4_000_000, name
        assert recipe.finetune[-1].time_steps == model.time_steps <= 4


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cifar10.main(["cifar10-resnte", "digits", "out.safetensors"])
    assert "cifar10-resnet" in capsys.readouterr().err


@pytest.mark.parametrize("hours", ["x", None, -1.0])
def test_hours_that_are_no_number_are_named(trained, splits, hours, tmp_path):
    kept = trained[0].with_name(f"{trained[0].stem}.pretrained.safetensors")
    mine = tmp_path / kept.name
    mine.write_bytes(kept.read_bytes())
    card = checkpoint.read_card(mine)
    checkpoint.rewrite_card(mine, replace(card, recipe={**card.recipe, "hours": hours}))
    with pytest.raises(FormatError, match="damaged card: hours is"):
        cifar10.train_recipe(TINY, splits, tmp_path / trained[0].name, progress=False)
