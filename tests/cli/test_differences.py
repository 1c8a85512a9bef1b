"""`--differences`: a module that computes something else than its graph, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import spikewright as sw
from spikewright.export.ir import InputError
from spikewright.trainer import checkpoint

from .test_commands import call

OWN = """
import torch
from torch import nn

class Noisy(nn.Module):
    input_shape = (3,)
    def forward(self, x):
        return x * torch.rand(3)
"""


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "own.py", str(tmp_path / "n.spk")
    path.write_text(OWN, encoding="utf-8")
    command = ("lower", f"{path}:Noisy", "--level", "float", "-o", out)
    code, _, err = call(capsys, *command)
    assert code == 2 and "--differences warn" in err
    code, _, err = call(capsys, *command, "--differences", "warn")
    assert code == 0 and "computes" in err
    code, _, err = call(capsys, "lower", "n.nir", "--differences", "warn", "-o", f"{out}2.spk")
    assert code == 2 and "--differences cannot act here" in err


def test_a_name_without_a_shipped_graph_is_traced_and_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InputError, match="differences cannot act here, the float graph is shipped"):
        sw.read("digits", differences="warn")
    monkeypatch.setattr(checkpoint, "shipped_graph", lambda name: None)
    assert "agreement" in sw.read("digits", differences="warn").metadata
