"""The training commands: from an architecture, from the user's own code, with shares of labels."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from spikewright.cli.main import app
from spikewright.trainer import checkpoint
from spikewright.trainer.data import load

from .test_bad_input import refused
from .test_commands import call, call_json

OWN = """
from torch import nn
from spikewright.trainer.layers import SeqBatchNorm2d, SeqConv2d
from spikewright.trainer.neurons import MixedLIF


class Net(nn.Module):
    input_shape, time_steps = (1, 8, 8), 2

    def __init__(self):
        super().__init__()
        self.conv, self.bn = SeqConv2d(1, 8, 3, 2, 1, bias=False), SeqBatchNorm2d(8)
        self.neuron, self.flatten = MixedLIF(), nn.Flatten(2)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.flatten(self.neuron(self.bn(self.conv(x)))))


def net():
    return Net()


def headless():
    return nn.Sequential(SeqConv2d(1, 8, 3), MixedLIF())
"""
SHORT = ("--epochs", "1", "--limit", "256", "--batch", "64", "--data", "digits")


def test_fine_tuning_an_architecture_on_a_validation_split(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    found = call_json(
        capsys, "train", "finetune", "spiking_resnet_digits", *SHORT, "--validation", "100",
        "--views", "crop_flip", "--label-smoothing", "0.1", "--ema", "0.9", "--optimizer", "sgd",
        "--lr", "0.1", "--clip", "5", "-T", "2", "--reestimate", "-o", str(path),
    )  # fmt: skip
    assert found["epochs"] == 1 and 0 <= found["accuracy"] <= 1
    card = call_json(capsys, "inspect", str(path))
    assert card["level"] == "float"
    tuned = tmp_path / "tuned.safetensors"
    words = ("--labels", "0.1", "--precision", "bf16-mixed", "--channels-last")
    call_json(capsys, "train", "finetune", str(path), *SHORT, *words, "-o", str(tuned))
    probe = call_json(capsys, "train", "probe", str(tuned), "--labels", "0.1", "--limit", "256")
    assert probe["labelled"] < 40 and probe["accuracy"] > 0.1
    knn = call_json(capsys, "train", "knn", str(tuned), "--limit", "256")
    assert knn["accuracy"] > 0.1
    for judged in (probe, knn):
        assert judged["epochs"] == 0 and judged["images_per_s"] > 0
        assert judged["checkpoint"] is None


def test_a_card_tells_of_its_own_network_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Accuracies of other weights stay in the recipe; the command leads to the file."""
    tuned, probed = tmp_path / "tuned.safetensors", tmp_path / "probed.safetensors"
    call_json(capsys, "train", "finetune", "digits", *SHORT, "-o", str(tuned))
    card, before = checkpoint.read_card(tuned), checkpoint.read_card("digits")
    assert set(card.accuracies) == {"finetuned"} and set(before.accuracies) > {"probe"}
    assert card.recipe["before"]["accuracies"] == before.accuracies
    words = ("--limit", "256", "--labels", "0.5", "-o", str(probed))
    call_json(capsys, "train", "probe", str(tuned), *words)
    last = checkpoint.read_card(probed)
    assert set(last.accuracies) == {"probe"} and last.recipe["probe"]["labels"] == 0.5
    assert last.spike_rates != card.spike_rates  # BatchNorm was re-estimated
    assert last.command.startswith(f"{card.command} && spikewright train probe tuned.safetensors")


def test_own_code_is_pretrained_probed_and_lowered(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, path = tmp_path / "own.py", tmp_path / "own.safetensors"
    code.write_text(OWN)
    spec = f"{code}:net"
    call_json(capsys, "train", "pretrain", "--model", spec, *SHORT, "-o", str(path))
    probed = tmp_path / "probed.safetensors"
    words = ("--weights", str(path), "--data", "digits", "--limit", "256", "-o", str(probed))
    assert call_json(capsys, "train", "probe", spec, *words)["accuracy"] > 0.3
    spk = tmp_path / "own.spk"
    lowered = ("--weights", str(probed), "--calibrate", "digits", "-o", str(spk))
    call_json(capsys, "lower", spec, *lowered)
    assert call_json(capsys, "run", str(spk), "--data", "digits")["accuracy"] > 0.3
    line = refused(capsys, "train", "probe", str(probed), "--data", "digits")
    assert "--weights" in line
    line = refused(capsys, "train", "knn", f"{code}:headless", "--input", "1,8,8")
    assert "no nn.Linear" in line


def test_training_for_few_bits_tells_the_integer_accuracy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    start, tuned = tmp_path / "start.safetensors", tmp_path / "tuned.safetensors"
    fast = ("--time-steps", "2", "--data", "digits", "--limit", "512", "--batch", "32")
    words = ("spiking_resnet_digits", *fast, "--epochs", "3", "-o", str(start))
    call_json(capsys, "train", "finetune", *words)
    words = (str(start), *fast, "--bits", "3", "--epochs", "1", "-o", str(tuned))
    found = call_json(capsys, "train", "finetune", *words)
    run = call_json(
        capsys, "run", str(tuned), "--bits", "3", "--data", "digits", "--limit", "512"
    )  # fmt: skip
    assert found["accuracy"] == run["accuracy"] > 0.3


def test_of_an_npz_without_a_test_split_a_tenth_is_judged_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, path = load("digits", limit=200), tmp_path / "own.npz"
    np.savez(path, x=data.x, y=data.labels)
    code, out, err = call(capsys, "train", "knn", "digits", "--data", f"npz:{path}")
    assert code == 0 and "of 20 held-out samples" in out
    assert "has no test split; a tenth, 20 samples, is held out as it" in err
    found = call_json(capsys, "train", "probe", "digits", "--data", f"npz:{path}")
    assert (found["labelled"], found["samples"]) == (180, 20)
    words = ("--data", f"npz:{path}", "--epochs", "1", "-o", str(tmp_path / "net.safetensors"))
    code, _, err = call(capsys, "train", "pretrain", *words)
    assert code == 0 and "is held out as it" in err
    test = load("digits", "test", limit=30)
    np.savez(path, x=data.x, y=data.labels, x_test=test.x, y_test=test.labels)
    code, out, err = call(capsys, "train", "knn", "digits", "--data", f"npz:{path}")
    assert code == 0 and "of 30 test samples" in out and "note" not in err


PRETRAIN = ("train", "pretrain", "--data", "digits", "--limit", "64", "-o", "{dir}/a.safetensors")
FINETUNE = ("train", "finetune", "digits", "--limit", "64", "-o", "{dir}/a.safetensors")
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown model": ((*PRETRAIN, "--model", "spiking_resnet_digit"), "spiking_resnet_digits"),
    "unknown loss": ((*PRETRAIN, "--loss", "ctll"), "did you mean ctl"),
    "unknown pair loss": ((*PRETRAIN, "--pair", "barlow_twins"), "did you mean barlow"),
    "unknown views": ((*FINETUNE, "--views", "crop_flp"), "did you mean crop_flip"),
    "unknown time augmentation": (
        (
            "train",
            "pretrain",
            "--data",
            "cifar10:/no/such",
            "--time-augmentation",
            "jiter",
            "-o",
            "{dir}/a.safetensors",
        ),
        "did you mean jitter",
    ),
    "more neighbours than samples": (
        ("train", "knn", "digits", "--limit", "64", "-k", "65"),
        "65 neighbours of 64 samples; give -k 1 to 64",
    ),
    "too few labels": (
        ("train", "probe", "digits", "--labels", "0.0001"),
        "give a share of 0.0082 or more",
    ),
    "a file that is not there": (("train", "knn", "{own}/own.safetensors"), "no such file; check"),
    "unknown optimizer": ((*FINETUNE, "--optimizer", "adam"), "did you mean adamw"),
    "unknown precision": ((*FINETUNE, "--precision", "bf16"), "did you mean bf16-mixed"),
    "unknown option": ((*PRETRAIN, "--epoch", "3"), "--epochs"),
    "weights of a named architecture": (
        ("train", "probe", "spikformer_2_64", "--weights", "{digits}", "--data", "digits"),
        "--weights cannot act here",
    ),
    "a learning rate that overflows": ((*FINETUNE, "--lr", "1e38"), "allowed above 0, to 1e+36"),
    "data of the wrong kind": ((*FINETUNE, "--data", "cifar10:{own}"), "cifar10"),
    "one sample a batch": ((*PRETRAIN, "--pair", "barlow", "--batch", "1"), "batch 1"),
    "one time step": ((*PRETRAIN, "--loss", "btl", "-T", "1"), "needs 2 time steps, found 1"),
    "another architecture": (
        ("train", "probe", "{own}/own.py:net", "--weights", "{digits}", "--data", "digits"),
        "digits.safetensors",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_requests_are_one_line_and_write_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str
) -> None:
    out, own = tmp_path / "out", tmp_path / "own"
    out.mkdir()
    own.mkdir()
    (own / "own.py").write_text(OWN)
    words, says = WRONG[case]
    places = {"dir": out, "own": own, "digits": checkpoint.resolve("digits")}
    assert says in refused(capsys, *(w.format(**places) for w in words))
    assert not list(out.iterdir())


def test_a_loss_that_is_no_number_ends_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (w.format(dir=tmp_path) for w in FINETUNE)
    code, out, err = call(capsys, *words, "--lr", "1e30", "--epochs", "20")
    last = err.splitlines()[-1]  # behind the progress
    assert code == 2 and not out and not list(tmp_path.iterdir())
    assert last.startswith("error: ") and "training diverged" in last and "--lr" in last


def test_the_commands_of_the_training_page_parse() -> None:
    page = Path(__file__).parents[2] / "docs" / "training.md"
    lines = re.findall(r"^spikewright (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) > 10
    group: Any = typer.main.get_command(app)
    for line in lines:
        command, words = group, shlex.split(line, comments=True)
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        command.make_context("spikewright", words)


@pytest.mark.parametrize("command", ["finetune", "probe", "knn", "pretrain"])
def test_own_code_that_does_not_take_the_samples_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "from spikewright.trainer.layers import SeqConv2d\n"
        "from spikewright.trainer.neurons import MixedLIF\n\n"
        "def make():\n"
        "    layers = [SeqConv2d(1, 2, 3), MixedLIF(), nn.Flatten(2), nn.Linear(72, 10)]\n"
        "    return nn.Sequential(*layers)\n"
    )
    np.savez(tmp_path / "x.npz", x=np.zeros((40, 8), np.float32), y=np.arange(40) % 10)
    source, out = f"{tmp_path}/net.py:make", ["-o", str(tmp_path / "a.safetensors")]
    words = ["--model", source, *out] if command == "pretrain" else [source]
    words += out if command == "finetune" else []
    code, _, err = call(
        capsys, "train", command, *words, "--input", "8", "--data", f"npz:{tmp_path}/x.npz"
    )
    assert code == 2
    assert "net.py:make: does not take [time, batch, ...] of samples [8]" in err.splitlines()[-1]
