"""Checkpoints: the same bytes, the same outputs, and one line for each damaged file."""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from spikewright.export.ir.errors import FormatError, UnknownNameError
from spikewright.trainer import checkpoint
from spikewright.trainer.data import load as load_data
from spikewright.trainer.models import create


def small(seed=0):
    return create("spiking_resnet_digits", seed=seed, widths=(4, 8), time_steps=2).eval()


def card_of(model):
    return checkpoint.describe(
        model,
        load_data("digits", limit=2),
        recipe={"loss": "ctl"},
        command="none",
        seed=0,
        accuracies={"probe": 0.5},
    )


def rewrite(path, *, card=None, tensors=None):
    """Write the checkpoint again with another card text or other tensors."""
    tensors = load_file(path) if tensors is None else tensors
    text = json.dumps(card) if isinstance(card, dict) else card
    save_file(tensors, path, metadata=None if text is None else {"spikewright": text})


@pytest.fixture
def saved(tmp_path):
    model = small()
    return model, checkpoint.save(tmp_path / "net.safetensors", model, card_of(model))


def card_json(path):
    card = dataclasses.asdict(checkpoint.read_card(path))
    return {"schema": "spikewright/checkpoint/1", **card}


def test_round_trip_gives_the_same_outputs(saved):
    model, path = saved
    loaded, card = checkpoint.load(path)
    x = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), loaded(x))
    assert card.model == "spiking_resnet_digits"
    assert card.accuracies == {"probe": 0.5}
    assert "CC BY 4.0" in card.data_licence
    assert loaded.time_steps == 2
    assert not loaded.training


def test_same_model_same_bytes(saved, tmp_path):
    model, path = saved
    again = checkpoint.save(tmp_path / "again.safetensors", model, card_of(model))
    assert path.read_bytes() == again.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "net.safetensors"]


def test_an_existing_file_needs_force(saved):
    model, path = saved
    with pytest.raises(FormatError, match="give force=True"):
        checkpoint.save(path, model, card_of(model))
    checkpoint.save(path, small(1), card_of(model), force=True)
    loaded = checkpoint.load(path)[0]
    assert not torch.equal(loaded.head.weight, model.head.weight)


def test_a_missing_folder_is_refused(saved, tmp_path):
    with pytest.raises(FormatError, match="cannot write"):
        checkpoint.save(tmp_path / "no" / "net.safetensors", saved[0], card_of(saved[0]))


def test_truncated_and_foreign_files_are_refused(saved, tmp_path):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-100])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(1)}, foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("not safetensors at all")
    for file, reason in (
        (path, "not a readable safetensors"),
        (text, "not a readable safetensors"),
        (foreign, "without a spikewright card"),
    ):
        with pytest.raises(FormatError, match=reason) as caught:
            checkpoint.load(file)
        assert file.name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("card", "text"),
    [
        ("{", "damaged card"),
        ("[]", "schema null"),
        ({"schema": "spikewright/checkpoint/9"}, "checkpoint/9"),
        ({"schema": "spikewright/checkpoint/1", "colour": 1}, "damaged card"),
    ],
)
def test_damaged_cards_are_refused(saved, card, text):
    rewrite(saved[1], card=card)
    with pytest.raises(FormatError, match=text):
        checkpoint.load(saved[1])


def test_another_architecture_is_refused(saved):
    _, path = saved
    card = card_json(path)
    rewrite(path, card={**card, "options": {**card["options"], "widths": [8, 8]}})
    with pytest.raises(FormatError, match=r"tensor 'conv1\.weight' of shape"):
        checkpoint.load(path)
    rewrite(path, card={**card, "model": "spiking_resnt_digits"})
    with pytest.raises(UnknownNameError, match="did you mean spiking_resnet_digits"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", 3),
        ("options", ["a"]),
        ("data", None),
        ("recipe", "x"),
        ("command", {}),
        ("seed", True),
        ("seed", "0"),
        ("accuracies", {"probe": "high"}),
        ("accuracies", {"probe": float("nan")}),
        ("accuracies", {"probe": 10**400}),
        ("spike_rates", {"neuron1": None}),
        ("data_licence", []),
    ],
)
def test_fields_of_another_type_are_refused(saved, field, value):
    rewrite(saved[1], card={**card_json(saved[1]), field: value})
    with pytest.raises(FormatError, match=f"damaged card: {field}") as caught:
        checkpoint.read_card(saved[1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"widths": "wide"}, "options of spiking_resnet_digits"),
        ({"widths": None}, "options of spiking_resnet_digits"),
        ({"tau": "slow"}, "options of spiking_resnet_digits"),
        ({"pool": -1}, "pool: int -1, allowed whole numbers from 0 up"),
        ({"widths": [100_000, 100_000]}, "at least .* weights"),
        ({"classes": 10**12}, "at least 32,000,000,001,292 weights"),
        ({"classes": 10**40}, "options of spiking_resnet_digits"),
        ({"blocks": [10**9, 1]}, "at least .* tensors"),
    ],
)
def test_hostile_options_are_refused_before_anything_is_built(saved, options, text):
    card = card_json(saved[1])
    rewrite(saved[1], card={**card, "options": {**card["options"], **options}})
    with pytest.raises(FormatError, match=text) as caught:
        checkpoint.load(saved[1])
    assert saved[1].name in str(caught.value) and "\n" not in str(caught.value)


def sealed(path):
    with safe_open(path, "np") as file:
        return json.loads(file.metadata()["spikewright"])


def test_a_card_or_tensors_that_were_changed_are_noticed(saved):
    path, held = saved[1], sealed(saved[1])
    assert held["schema"] == "spikewright/checkpoint/2"
    for change in ({"data": "npz:/etc/secret.npz"}, {"digest": 3}, {"tensors": "0"}, {"more": 1}):
        rewrite(path, card={**held, **change})
        with pytest.raises(FormatError, match=r"damaged card: not what was written \(its digest\)"):
            checkpoint.read_card(path)
    tensors = load_file(path)
    tensors["head.bias"][0] += 1
    rewrite(path, card=held, tensors=tensors)
    checkpoint.read_card(path)
    with pytest.raises(FormatError, match="tensors are not those of its card"):
        checkpoint.load(path)


def test_cards_are_bounded(saved):
    path, deep, whole = saved[1], {}, card_json(saved[1])
    for _ in range(40):
        deep = {"before": deep}
    rewrite(path, card={**whole, "recipe": deep})
    with pytest.raises(FormatError, match="recipe nests more than 32 levels"):
        checkpoint.read_card(path)
    rewrite(path, card={**whole, "command": "x" * (1 << 20)})
    with pytest.raises(FormatError, match="characters, at most 1,048,576"):
        checkpoint.read_card(path)
    rewrite(path, card='{"a":' * 100_000)
    with pytest.raises(FormatError, match="damaged card"):
        checkpoint.read_card(path)


def test_tensors_of_another_type_are_refused(saved):
    card, tensors = card_json(saved[1]), load_file(saved[1])
    rewrite(saved[1], card=card, tensors={**tensors, "head.bias": tensors["head.bias"].half()})
    with pytest.raises(FormatError, match=r"'head\.bias' of type float16, .* has float32"):
        checkpoint.load(saved[1])


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_what_is_loaded_is_what_is_built_and_filled(name):
    loaded, card = checkpoint.load(name)
    model = create(card.model, **card.options).eval()
    model.saved.load_state_dict(load_file(checkpoint.resolve(name)))
    assert repr(loaded) == repr(model) and loaded.options == model.options
    x = torch.rand(2, 2, *model.input_shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), loaded(x))
    assert [p.requires_grad for p in model.parameters()] == [
        p.requires_grad for p in loaded.parameters()
    ]


def test_missing_extra_and_broken_tensors_are_refused(saved):
    _, path = saved
    card, tensors = card_json(path), load_file(path)
    broken = {**tensors, "head.bias": torch.full_like(tensors["head.bias"], torch.nan)}
    fewer = {name: t for name, t in tensors.items() if name != "bn1.bias"}
    for changed, text in (
        (fewer, "no tensor 'bn1.bias'"),
        ({**tensors, "zebra": torch.zeros(1)}, "tensor 'zebra'"),
        (broken, "tensor 'head.bias' holds NaN"),
    ):
        rewrite(path, card=card, tensors=changed)
        with pytest.raises(FormatError, match=text):
            checkpoint.load(path)


def test_a_mistyped_file_lists_the_near_ones(saved):
    with pytest.raises(FormatError, match=r"no such file; did you mean net\.safetensors"):
        checkpoint.resolve(saved[1].with_name("nett.safetensors"))


def test_names_and_paths_are_resolved():
    with pytest.raises(FormatError, match="no such file; there is no folder no"):
        checkpoint.resolve("no/such.safetensors")
    with pytest.raises(UnknownNameError):
        checkpoint.resolve("digit")


@pytest.mark.parametrize("kind", ["buffer", "tied", "plain"])
def test_what_the_file_does_not_fill_is_built(saved, kind, monkeypatch):
    from spikewright.trainer import models

    def other(name, **options):
        model = create(name, **options)
        if kind == "buffer":
            model.register_buffer("scale", torch.full((3,), 0.5), persistent=False)
        elif kind == "plain":
            model.scale = torch.full((3,), 0.5)
        else:
            model.again = model.head
        return model

    card = checkpoint.read_card(saved[1])
    path = saved[1].with_name("other.safetensors")
    model = other(card.model, **card.options)
    monkeypatch.setattr(models, "create", other)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    text = json.dumps({"schema": "spikewright/checkpoint/1", **dataclasses.asdict(card)})
    save_file(tensors, path, {"spikewright": text})
    loaded, _ = checkpoint.load(path)
    if kind == "tied":
        assert loaded.get_parameter("again.weight") is loaded.head.weight
        assert torch.equal(loaded.head.weight, model.head.weight)
    else:
        assert torch.equal(loaded.scale, torch.full((3,), 0.5))
