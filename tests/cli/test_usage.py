"""Wrong requests are refused before anything is done, in one line that says what is allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .test_bad_input import refused
from .test_commands import call

USAGE = {
    "below": (("run", "digits", "-T", "0"), "error: --time-steps 0, allowed 1 and up"),
    "above": (("run", "digits", "--bits", "9"), "error: --bits 9, allowed 2 to 8"),
    "no number": (("run", "digits", "--limit", "x"), "error: --limit x, allowed 1 and up"),
    "near option": (("run", "digits", "--bit", "3"), "did you mean --bits"),
    "far option": (("run", "digits", "--qqqq", "3"), "see spikewright run --help"),
    "command": (("nonsense",), "no such command 'nonsense'"),
    "no source": (("run",), "missing argument 'source'"),
    "no value": (("run", "digits", "--bits"), "'--bits' requires an argument"),
    "epochs": (("train", "pretrain", "--epochs", "0"), "error: --epochs 0, allowed 1 and up"),
}
REFUSED = {
    "page": (("report", "digits", "-o", "{dir}/a.json"), "ends in .html or .htm"),
    "page json": (("report", "digits", "-o", "{dir}/dir.html", "--force"), "a folder has this"),
    "trace": (("run", "digits", "--trace", "{dir}/t.foo"), "a trace ends in .npz"),
    "nir": (("export", "digits", "--to", "nir", "-o", "{dir}/a.onnx"), "of nir ends in .nir"),
    "onnx": (("export", "digits", "--to", "onnx", "-o", "{dir}/a"), "name it a.onnx"),
    "scan": (("export", "digits", "--to", "onnx", "-o", "{dir}/ef.onnx", "--force"), "a folder"),
    "checkpoint": (
        ("train", "pretrain", "--data", "digits", "-o", "{dir}/q.spk"),
        "a checkpoint ends in .safetensors",
    ),
    "no folder": (
        ("train", "pretrain", "--data", "digits", "-o", "{dir}/none/q.safetensors"),
        "cannot write: no folder",
    ),
    "precision": (
        (
            "train",
            "pretrain",
            "--data",
            "digits",
            "--precision",
            "fp8",
            "-o",
            "{dir}/q.safetensors",
        ),
        "bf16-mixed",
    ),
    "twice": (("verify", "digits", "--executors", "native,native"), "proves nothing"),
    "weights": (("run", "digits", "--weights", "x"), "--weights cannot act"),
    "input": (("run", "digits", "--input", "3,3"), "--input cannot act"),
    "dialect": (("run", "digits", "--dialect", "norse"), "it is for .nir sources"),
    "dt": (("run", "{dir}/a.nir", "--dt", "0"), "--dt 0.0, allowed above 0"),
    "arithmetic": (
        ("export", "digits", "--to", "nir", "--arithmetic", "integer", "-o", "{dir}/a.nir"),
        "only on --to onnx",
    ),
    "order": (("run", "digits", "--event-order", "random"), "give --timing event"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_wrong_command_line_is_one_line(capsys: pytest.CaptureFixture[str], case: str) -> None:
    words, says = USAGE[case]
    assert says in refused(capsys, *words)


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str
) -> None:
    for folder in ("dir.json", "ef.scan.onnx"):
        (tmp_path / folder).mkdir()
    words, says = REFUSED[case]
    assert says in refused(capsys, *(word.format(dir=tmp_path) for word in words))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dir.json", "ef.scan.onnx"]


def test_what_does_nothing_to_integers_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    net = str(tmp_path / "net.spk")
    code, out, _ = call(capsys, "lower", "digits", "-o", net)
    assert code == 0 and f"wrote {net}" in out and "e+0" not in out
    words = ("--data", "digits", "--limit", "2", "--scale", "mse")
    code, _, err = call(capsys, "run", net, *words)
    assert code == 2 and "--scale cannot act here, the network holds integers already" in err


def test_equal_floats_are_not_promised(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--level", "float", "--limit", "2", "--executors", "reference,onnxruntime")
    _, _, err = call(capsys, "verify", "digits", *words)
    assert "need not be equal" in err


def test_executors_by_a_comma_separated_string() -> None:
    from spikewright import api

    graph = api.lower("digits")
    x = np.zeros((1, *graph.input.shape), np.float32)
    found = api.verify(graph, x, "reference,onnxruntime", time_steps=1)
    assert found.executors == ("reference", "onnxruntime")
