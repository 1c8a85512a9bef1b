"""Resumption: killed at any step and resumed, a training ends in the same bytes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from spikewright import api
from spikewright.export.ir.errors import FormatError
from spikewright.trainer.data import load
from spikewright.trainer.loop import LoopOptions
from spikewright.trainer.models import Classifier, create
from spikewright.trainer.quantised import Quantised
from spikewright.trainer.resume import StateFile
from spikewright.trainer.tasks import PretrainOptions, SupervisedOptions, pretrain, train_supervised

ROOT = Path(__file__).parents[2]
START = f"import runpy; runpy.run_path({str(ROOT / 'conftest.py')!r})\n"
CALL = "from spikewright.cli.main import main; main()\n"
KILLED = """
import os, signal
from spikewright.trainer.resume import StateFile
write = StateFile.save
def written_then_killed(self, moving, at):
    write(self, moving, at)
    if at.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
StateFile.save = written_then_killed
"""
LOOP = LoopOptions(epochs=2, batch=64)
WITH_LABELS = SupervisedOptions(loop=LOOP)
OPTIONS = PretrainOptions(projector=16, time_augmentation="jitter", loop=LOOP)


class Cut(Exception):
    """Ends a training in its middle."""


class CutFile(StateFile):
    """A state file whose process dies right behind one writing."""

    def save(self, moving, at) -> None:
        super().save(moving, at)
        raise Cut


def tiny(**options: Any) -> Classifier:
    small = {"widths": (8, 8), "time_steps": 2, "stem_stride": 2, "pool": 1}
    return create("spiking_resnet_digits", **{**small, **options})


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_cut_off_after_any_step_it_ends_in_the_same_weights(step: int, tmp_path: Path) -> None:
    data, path = load("digits", limit=256), tmp_path / "net.state"
    whole = pretrain(tiny(), data, OPTIONS, progress=False)
    with pytest.raises(Cut):
        pretrain(tiny(), data, OPTIONS, progress=False, state=CutFile(path, every=step))
    resumed = pretrain(tiny(), data, OPTIONS, progress=False, state=StateFile(path, resume=True))
    assert resumed.record.losses == whole.record.losses and resumed.record.steps == 8
    found = weights(resumed.model)
    assert all(torch.equal(tensor, found[name]) for name, tensor in weights(whole.model).items())


def test_a_state_of_another_training_is_refused(tmp_path: Path) -> None:
    data, path = load("digits", limit=256), tmp_path / "net.state"
    with pytest.raises(Cut):
        train_supervised(
            tiny(), data, data, WITH_LABELS, progress=False, state=CutFile(path, every=2)
        )
    other = SupervisedOptions(loop=LoopOptions(epochs=3, batch=64))
    resume = StateFile(path, resume=True)
    with pytest.raises(FormatError, match="another training"):
        train_supervised(tiny(), data, data, other, progress=False, state=resume)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FormatError, match="not a readable training state"):
        train_supervised(tiny(), data, data, WITH_LABELS, progress=False, state=resume)


OTHERS: dict[str, tuple[Any, Any, Any, str]] = {
    "surrogate": ({"surrogate": "atan"}, {}, {}, "its network differ"),
    "threshold": ({"v_threshold": 0.9}, {}, {}, "its network differ"),
    "residual": ({"residual": "spiking"}, {}, {}, "its network"),
    "weights": ({"seed": 1}, {}, {}, "its starting weights differ"),
    "pictures": ({}, {"x": 0.5}, {}, "its data differ"),
    "labels": ({}, {"y": 1}, {}, "its data differ"),
    "options": ({}, {}, {"label_smoothing": 0.1}, "its options differ"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_it_is_said_in_what_another_training_differs(case: str, tmp_path: Path) -> None:
    network, changed, options, said = OTHERS[case]
    data, path = load("digits", limit=128), tmp_path / "net.state"
    cut = CutFile(path, every=1)
    with pytest.raises(Cut):
        train_supervised(tiny(), data, data, WITH_LABELS, progress=False, state=cut)
    arrays = {"x": data.x.copy(), "y": data.labels.copy()}
    for name, value in changed.items():
        arrays[name][0] = value
    other = replace(data, **arrays)
    resume, asked = StateFile(path, resume=True), replace(WITH_LABELS, **options)
    with pytest.raises(FormatError, match=said):
        train_supervised(tiny(**network), other, other, asked, progress=False, state=resume)


def test_other_bits_or_scales_are_another_training(tmp_path: Path) -> None:
    data, path = load("digits", limit=128), tmp_path / "net.state"

    def fewer(bits: int, scale: Any) -> Quantised:
        return Quantised(tiny(), api.lowering(bits=bits, calibrate=data.x, scale=scale))

    def run(bits: int, scale: Any, state: StateFile) -> None:
        network = fewer(bits, scale)
        train_supervised(network, data, data, WITH_LABELS, progress=False, state=state)

    with pytest.raises(Cut):
        run(4, "max", CutFile(path, every=1))
    with pytest.raises(FormatError, match="its network"):
        run(5, "max", StateFile(path, resume=True))
    with pytest.raises(FormatError, match="starting weights"):
        run(4, "mse", StateFile(path, resume=True))


@pytest.mark.parametrize("field", ["epoch", "seen", "scheduled", "seconds"])
def test_a_damaged_card_is_one_line(field: str, tmp_path: Path) -> None:
    data, path = load("digits", limit=128), tmp_path / "net.state"
    with pytest.raises(Cut):
        pretrain(tiny(), data, OPTIONS, progress=False, state=CutFile(path, every=1))
    with safe_open(str(path), framework="pt") as file:
        card = json.loads(file.metadata()["card"])
    save_file(load_file(path), path, {"card": json.dumps({**card, field: "x"})})
    with pytest.raises(FormatError, match="damaged training state") as caught:
        pretrain(tiny(), data, OPTIONS, progress=False, state=StateFile(path, resume=True))
    assert "\n" not in str(caught.value)


NO_STATES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "epoch": ({"epoch": 9, "losses": [1.0] * 9}, {}, "epoch 9 of 2"),
    "below": ({"epoch": -1}, {}, "epoch -1 of 2"),
    "fraction": ({"epoch": 0.5}, {}, "epoch is no whole number"),
    "step": ({"step": 3, "seen": [1.0] * 3}, {}, "step 3 of 2"),
    "seen": ({"seen": []}, {}, "0 losses of the epoch's 1 steps"),
    "losses": ({"losses": [1.0]}, {}, "1 losses of 0 epochs"),
    "nan": ({"seen": [float("nan")]}, {}, "no finite number"),
    "huge": ({"seen": [10**400]}, {}, "too large"),
    "scheduled": ({"scheduled": 3}, {}, "scheduled 3 behind 1 steps"),
    "no order": ({}, {"order": None}, "no order of samples"),
    "order": ({}, {"order": torch.zeros(128, dtype=torch.int64)}, "no permutation of 128"),
    "short": ({}, {"order": torch.arange(64)}, "no permutation of 128"),
    "moments": ({}, {"optimizer.0.exp_avg": None}, "optimizer.0.exp_avg"),
    "shape": ({}, {"optimizer.0.exp_avg": torch.zeros(3)}, "optimizer.0.exp_avg of shape"),
}


@pytest.mark.parametrize("case", NO_STATES)
def test_a_state_that_no_training_leaves_is_refused(case: str, tmp_path: Path) -> None:
    fields, changed, said = NO_STATES[case]
    data, path = load("digits", limit=128), tmp_path / "net.state"
    with pytest.raises(Cut):
        train_supervised(
            tiny(), data, data, WITH_LABELS, progress=False, state=CutFile(path, every=1)
        )
    with safe_open(str(path), framework="pt") as file:
        card = json.loads(file.metadata()["card"])
    tensors = {k: t for k, t in {**load_file(path), **changed}.items() if t is not None}
    save_file(tensors, path, {"card": json.dumps({**card, **fields})})
    resume = StateFile(path, resume=True)
    with pytest.raises(FormatError, match="damaged training state") as caught:
        train_supervised(tiny(), data, data, WITH_LABELS, progress=False, state=resume)
    line = str(caught.value)
    assert said in line and "delete it to begin anew" in line and "\n" not in line


def test_a_card_nested_without_end_is_one_line(tmp_path: Path) -> None:
    data, path = load("digits", limit=128), tmp_path / "net.state"
    save_file({"x": torch.zeros(1)}, path, {"card": "[" * 100_000})
    resume = StateFile(path, resume=True)
    with pytest.raises(FormatError, match="not a readable training state"):
        train_supervised(tiny(), data, data, WITH_LABELS, progress=False, state=resume)


def test_the_time_before_the_resumption_counts(tmp_path: Path) -> None:
    data, path = load("digits", limit=128), tmp_path / "net.state"
    with pytest.raises(Cut):
        pretrain(tiny(), data, OPTIONS, progress=False, state=CutFile(path, every=1))
    with safe_open(str(path), framework="pt") as file:
        card = json.loads(file.metadata()["card"])
    assert card["seconds"] > 0
    save_file(load_file(path), path, {"card": json.dumps({**card, "seconds": 1000.0})})
    state = StateFile(path, resume=True)
    record = pretrain(tiny(), data, OPTIONS, progress=False, state=state).record
    assert record.seconds < 1000 and record.seconds_in_all == 1000 + record.seconds


def command(out: Path, *words: str, code: str = START + CALL) -> list[str]:
    fixed = ("--data", "digits", "--limit", "256", "--epochs", "2", "--batch", "64")
    return [
        sys.executable, "-c", code, "train", "pretrain", *fixed, "--projector", "16",
        "--save-every", "1", "-o", str(out), *words,
    ]  # fmt: skip


def test_a_killed_process_resumes_to_the_same_file(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    subprocess.run(command(whole), check=True, env=environment, capture_output=True)
    state = tmp_path / "cut.safetensors.state"
    killed = subprocess.run(
        command(cut, code=START + KILLED + CALL), env=environment, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL and state.exists() and not cut.exists()
    refused = subprocess.run(command(cut), env=environment, capture_output=True, text=True)
    assert refused.returncode == 2 and "--resume" in refused.stderr
    subprocess.run(command(cut, "--resume"), check=True, env=environment, capture_output=True)
    assert digest(cut) == digest(whole) and not state.exists()
    assert load_file(cut)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
