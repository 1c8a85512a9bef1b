"""Own code that folds time by hand, numpy examples, float archives on chips: what users meet."""

from pathlib import Path

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import UnknownNameError

from .test_commands import call, call_json

torch = pytest.importorskip("torch")
FOLDED = """
import torch
from torch import nn
from torch.nn import functional as F
from spikewright.trainer.neurons import LIF


class Folded(nn.Conv2d):
    def forward(self, x):
        lead = x.shape[:2]
        return F.conv2d(x.flatten(0, 1), 2 * self.weight).unflatten(0, lead)


def make():
    torch.manual_seed(0)
    return nn.Sequential(Folded(1, 2, 3), LIF(v_threshold=0.2))
"""


@pytest.fixture
def own(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "net.py").write_text(FOLDED)
    x = (np.random.default_rng(0).random((6, 5, 1, 6, 6)) < 0.4).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    return f"{tmp_path}/net.py:make", f"npz:{tmp_path}/x.npz"


def test_time_folded_by_hand_is_lowered_from_the_command_line_as_from_python(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, own: tuple[str, str]
) -> None:
    spec, data = own
    words = ("--input", "1,6,6", "--data", data, "--encode", "spikes", "--level", "float")
    ran = call_json(capsys, "run", spec, *words)
    space: dict[str, object] = {}
    exec(FOLDED, space)  # the same module, by hand
    module, x = space["make"](), np.load(tmp_path / "x.npz")["x"]  # type: ignore[operator]
    graph = sw.lower(module, x.swapaxes(0, 1), level="float", encoding="spikes")
    trace = sw.run(graph, x, executor="reference")
    with torch.no_grad():
        spikes = module(torch.from_numpy(x).transpose(0, 1)).numpy()
    (neuron,) = trace.neurons.values()
    assert np.array_equal(neuron.spikes, spikes) and spikes.any()
    assert ran["totals"]["spikes"] == int(spikes.sum())


def test_a_float_archive_is_lowered_for_a_chip_as_its_network_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "f.spk"
    sw.write(sw.lower("digits", level="float"), path)
    on = ("--data", "digits", "--limit", "8")
    for target in ("loihi1", "generic-45nm"):
        one = call_json(capsys, "estimate", str(path), *on, "--target", target)
        two = call_json(capsys, "estimate", "digits", *on, "--target", target)
        assert one == two
    assert call_json(capsys, "check", str(path), "--target", "loihi1")["fits"]
    assert call(capsys, "run", str(path), *on)[0] == 0


def test_misspelt_arguments_of_lower_get_their_near_names() -> None:
    graph = sw.lower("digits", level="float")
    with pytest.raises(UnknownNameError, match="write encoding="):
        sw.lower(graph, encode="spikes")
    with pytest.raises(UnknownNameError, match="did you mean bits"):
        sw.lower(graph, bit=4)


def test_remedies_of_a_fit_are_spelled_as_in_python() -> None:
    text = str(sw.check(sw.lower("digits"), "loihi2"))
    assert 'target="loihi2"' in text and "--target" not in text
