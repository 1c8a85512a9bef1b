"""T of a module: from its example input or its own loop, alike from Python and the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.cli import main as cli
from spikewright.export.ir import InputError

torch = pytest.importorskip("torch")

from spikewright.trainer.neurons import LIF  # noqa: E402

CODE = """
import torch
from spikewright.trainer.neurons import LIF
import snntorch

class Repeats(torch.nn.Module):
    '''Loops over 7 steps of one frame.'''
    input_shape = (5,)
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = torch.nn.Linear(5, 4), snntorch.Leaky(0.9)
    def forward(self, x):
        mem, out = self.lif.reset_mem(), []
        for _ in range(7):
            spk, mem = self.lif(self.fc(x), mem)
            out.append(spk)
        return torch.stack(out)

class Frames(Repeats):
    '''Loops over the frames of its input.'''
    def forward(self, x):
        mem, out = self.lif.reset_mem(), []
        for step in range(x.size(0)):
            spk, mem = self.lif(self.fc(x[step]), mem)
            out.append(spk)
        return torch.stack(out)

class Fixed(Repeats):
    '''Loops over 7 frames of its input.'''
    def forward(self, x):
        mem, out = self.lif.reset_mem(), []
        for step in range(7):
            spk, mem = self.lif(self.fc(x[step]), mem)
            out.append(spk)
        return torch.stack(out)

class Says(Frames):
    time_steps = 9
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("snntorch")
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(CODE)
    return path


def module_of(path: Path, name: str) -> Any:
    found: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), found)
    return found[name]()


def inspected(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return `time_steps` of `inspect`, or the line on stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["spikewright", "inspect", *words, "--json"])
        try:
            cli.main()
        except SystemExit:
            return capsys.readouterr().err
    return json.loads(capsys.readouterr().out)["time_steps"]


@pytest.mark.parametrize(("name", "steps"), [("Repeats", 7), ("Says", 9), ("Frames", None)])
def test_a_module_has_its_own_steps_by_both_doors(
    capsys: pytest.CaptureFixture[str], own: Path, name: str, steps: int | None
) -> None:
    module = module_of(own, name)
    assert sw.lower(module, level="float").metadata.get("time_steps") == steps
    assert inspected(capsys, f"{own}:{name}", "--level", "float") == steps
    assert inspected(capsys, f"{own}:{name}", "--level", "float", "-T", "3") == 3


def test_a_loop_over_its_frames_has_those_of_its_example(own: Path) -> None:
    graph = sw.lower(module_of(own, "Frames"), torch.rand(6, 2, 5), level="float")
    assert graph.metadata["time_steps"] == 6


def test_a_loop_of_a_fixed_number_of_frames_says_how_many(
    capsys: pytest.CaptureFixture[str], own: Path
) -> None:
    assert "give an input of 7 steps (-T 7)" in inspected(
        capsys, f"{own}:Fixed", "--level", "float"
    )
    assert inspected(capsys, f"{own}:Fixed", "--level", "float", "-T", "7") == 7


def test_the_example_is_calibrated_on_as_samples_with_their_time() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), LIF())
    example = torch.rand(6, 4, 3)  # 6 steps of 4 samples
    graph = sw.lower(module, example)
    assert graph.metadata["time_steps"] == 6
    told = graph.metadata["calibration"]
    assert (told["samples"], told["time_steps"]) == (4, 6)
    same = sw.lower(module, example, calibrate=example.numpy().swapaxes(0, 1))
    assert sw.run(same, np.ones((1, 3))).output.tolist() == (
        sw.run(graph, np.ones((1, 3))).output.tolist()
    )
    assert told["spike_rates"] == same.metadata["calibration"]["spike_rates"]


def test_calibration_samples_of_swapped_axes_are_refused() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), LIF())
    with pytest.raises(InputError, match="the axes are swapped"):
        sw.lower(module, torch.rand(6, 4, 3), calibrate=np.random.default_rng(0).random((6, 4, 3)))


def test_t_is_shown_by_check_and_estimate() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), LIF())
    graph = sw.lower(module, torch.rand(6, 4, 3))
    fit = sw.check(graph, "loihi1")
    assert fit.to_json()["time_steps"] == 6 and "T = 6" in str(fit).splitlines()[0]
    for chip in ("loihi1", "generic-45nm", "xylo-imu"):
        cost = sw.estimate(graph, np.ones((2, 6, 3)), chip)
        assert cost.to_json()["time_steps"] == 6 and "T = 6" in str(cost).splitlines()[0]
    assert "T = 6" in str(graph)


def test_agreement_takes_samples_whatever_axes_the_module_has(own: Path) -> None:
    import snntorch

    samples = torch.rand(2, 6, 5)  # 2 samples of 6 steps
    assert sw.agreement(module_of(own, "Frames"), samples).equal
    graph = sw.lower(module_of(own, "Frames"), samples.swapaxes(0, 1), level="float")
    with pytest.raises(InputError, match="the axes are swapped"):
        sw.agreement(module_of(own, "Frames"), samples.swapaxes(0, 1), graph)
    step = torch.nn.Sequential(torch.nn.Linear(5, 4), snntorch.Leaky(0.9, init_hidden=True))
    assert sw.agreement(step, samples[:, 0], time_steps=6).equal
