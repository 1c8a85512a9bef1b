"""Where a module's example input has its time, and how long it is."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from spikewright.export.layout import Layout  # noqa: E402
from spikewright.export.trace import trace  # noqa: E402
from spikewright.trainer.layers import SeqConv2d  # noqa: E402
from spikewright.trainer.neurons import LIF  # noqa: E402


def test_a_multi_step_module_has_the_steps_of_its_example() -> None:
    module = torch.nn.Sequential(SeqConv2d(1, 2, 3, padding=1), LIF())
    assert trace(module, torch.rand(8, 4, 1, 6, 6)).metadata["time_steps"] == 8


def test_a_module_without_time_has_none() -> None:
    assert "time_steps" not in trace(torch.nn.Linear(3, 2), torch.rand(8, 3)).metadata


@pytest.mark.parametrize(
    ("layout", "example"),
    [
        (Layout("steps"), "tbx"),
        (Layout("batch first"), "btx"),
        (Layout("squeezed", batch=2), "squeezed"),
    ],
)
def test_samples_of_every_layout_and_back(layout: Layout, example: str) -> None:
    samples = torch.arange(2 * 3 * 5).reshape(2, 3, 5)  # 2 samples, 3 steps of 5
    laid = {
        "tbx": samples.transpose(0, 1),
        "btx": samples,
        "squeezed": samples.reshape(6, 5),
    }[example]
    assert torch.equal(layout.samples(laid), samples)
    assert torch.equal(layout.example(samples), laid)
    assert layout.steps(laid) == 3


def test_a_step_module_has_the_steps_of_its_loop_only() -> None:
    frame = torch.rand(2, 5)
    assert Layout("step").steps(frame) is None
    assert Layout("step", own=7).steps(frame) == 7
    assert torch.equal(Layout("step", own=7).samples(frame), frame)


@pytest.mark.parametrize("how", [{"batch_size": 2}, {"num_timesteps": 3}])
def test_a_squeezed_module_splits_its_first_axis_as_its_layer_does(how: dict[str, int]) -> None:
    sinabs = pytest.importorskip("sinabs.layers")
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), sinabs.IAFSqueeze(**how))
    assert trace(module, torch.rand(6, 5)).metadata["time_steps"] == 3
