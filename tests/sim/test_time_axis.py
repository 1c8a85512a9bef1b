"""T: the network's own, the samples', or the one asked for; never another without a word."""

from __future__ import annotations

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.ir import Graph, Input, InputError, Linear, Neuron, Output
from spikewright.sim.time_axis import DEFAULT_TIME_STEPS, steps_for

FREE = Graph.chain(
    {
        "in": Input((3,), "spikes", 1.0, 0, 1),
        "a": Linear(np.array([[1, 2, 3]] * 2, np.int8)),
        "n": Neuron((2,), np.int32(300)),
        "out": Output("spike_count"),
    },
    "integer",
)
EIGHT = FREE.replace(metadata={"time_steps": 8})
"""A network that was trained on 8 steps."""


def samples(*lead: int) -> np.ndarray:
    return np.ones((*lead, 3), np.int64)


def test_static_samples_take_the_networks_steps() -> None:
    assert steps_for(EIGHT, samples(5)) == 8
    assert steps_for(FREE, samples(5)) == DEFAULT_TIME_STEPS


def test_a_network_without_a_t_takes_that_of_its_samples() -> None:
    assert steps_for(FREE, samples(5, 20)) == 20
    assert steps_for(EIGHT, samples(5, 8)) == 8


@pytest.mark.parametrize("verb", ["run", "verify", "estimate", "compare"])
def test_samples_of_other_steps_are_refused(verb: str) -> None:
    target = {"estimate": ("loihi1",)}.get(verb, ())
    with pytest.raises(
        InputError, match=r"in: samples of 20 time steps, .* T = 8; give time_steps=20 "
    ):
        getattr(sw, verb)(EIGHT, samples(5, 20), *target)
    with pytest.raises(InputError, match=r"samples of 5 time steps, .* T = 8; give time_steps=5"):
        getattr(sw, verb)(EIGHT, samples(20, 5), *target)


def test_swapped_axes_are_named() -> None:
    with pytest.raises(InputError, match=r"\[8, 5, 3\]: axis 0 .* T = 8, .* swapped; .*sample, ti"):
        sw.run(EIGHT, samples(8, 5))


def test_steps_asked_for_are_taken_of_longer_samples() -> None:
    assert sw.run(EIGHT, samples(5, 20), time_steps=20).time_steps == 20
    assert sw.run(EIGHT, samples(5, 20), time_steps=8).time_steps == 8
    assert sw.run(EIGHT, samples(5), time_steps=3).time_steps == 3


def test_samples_of_another_shape_stay_a_matter_of_shape() -> None:
    with pytest.raises(InputError, match=r"data of shape \[5, 20, 4\], the network takes"):
        sw.run(EIGHT, np.ones((5, 20, 4), np.int64))
