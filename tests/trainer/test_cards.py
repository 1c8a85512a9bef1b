"""Cards written again: the tensors keep their bytes, a record of another network is refused."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from spikewright.trainer import checkpoint
from spikewright.trainer.recipes import cards


def record(finetuned):
    accuracy = {"float": finetuned, "int8": 0.75, "int4": 0.5, "int4_qat": 0.7}
    return {"accuracy": accuracy, "card": {"accuracies": {"finetuned": finetuned}}}


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "net.safetensors"
    shutil.copy(checkpoint.resolve("digits-if"), path)
    return path, tmp_path / "record.json"


def test_the_card_is_completed_and_the_tensors_stay(files, capsys):
    path, told = files
    before, tensors = checkpoint.read_card(path), load_file(path)
    told.write_text(json.dumps(record(before.accuracies["finetuned"])))
    assert cards.main([str(path), str(told)]) == 0
    after = checkpoint.read_card(path)
    assert after.accuracies["integer_8_bits"] == 0.75 and after.accuracies["integer_4_bits"] == 0.5
    assert after.command == before.command and "integer_8_bits 0.7500" in capsys.readouterr().out
    for name, tensor in load_file(path).items():
        assert tensor.numpy().tobytes() == tensors[name].numpy().tobytes(), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(record(0.1)), "another network"),
        ("{}", "no record of a checkpoint"),
        ("[]", "no record of a checkpoint"),
        ("no json", "not a readable record"),
    ],
)
def test_other_records_are_refused(files, capsys, text, said):
    path, told = files
    held = path.read_bytes()
    told.write_text(text)
    assert cards.main([str(path), str(told)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and path.read_bytes() == held


@pytest.mark.parametrize("name", ["cifar10-resnet", "cifar10-spikformer"])
def test_shipped_cards_tell_integers_and_the_whole_address_of_the_data(name):
    card = checkpoint.read_card(name)
    assert card.data_licence.endswith("https://www.cs.toronto.edu/~kriz/cifar.html")
    assert abs(card.accuracies["integer_8_bits"] - card.accuracies["finetuned"]) < 0.003


def test_a_checkpoint_is_taken_by_its_name(files, monkeypatch):
    path, told = files
    monkeypatch.setattr(checkpoint, "shipped", lambda: {"mine": path})
    card = checkpoint.read_card("mine")
    told.write_text(json.dumps(record(card.accuracies["finetuned"])))
    assert cards.main(["mine", str(told)]) == 0
    assert checkpoint.read_card(path).accuracies["integer_8_bits"] == 0.75


def test_a_missing_record_is_named(files, capsys):
    path, told = files
    assert cards.main([str(path), str(told)]) == 2
    assert f"{told}: not a readable record" in capsys.readouterr().err
