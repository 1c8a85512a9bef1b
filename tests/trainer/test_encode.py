"""Pictures as spikes: what the trainer shows a network is what every executor is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spikewright import api
from spikewright.export.ir import InputError, UnknownNameError
from spikewright.sim.encode import encode
from spikewright.trainer.encode import drawn, presented
from spikewright.trainer.models import create

X = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
X[0, 0, 0] = 0


@pytest.mark.parametrize("encoding", ["rate", "latency"])
def test_the_trainer_shows_what_executors_are_given(encoding: str) -> None:
    model = create("if_mlp_digits", encoding=encoding)
    graph = api.lower(model, level="float")
    assert graph.input.encoding == encoding
    shown = presented(torch.from_numpy(X[2:]), 8, encoding, seed=3, first=2)
    assert np.array_equal(shown.numpy(), encode(graph, X, 8, seed=3)[:, 2:])


def test_training_draws_anew_at_the_same_rates() -> None:
    x = torch.from_numpy(X).expand(200, 5, 1, 8, 8).flatten(0, 1)
    spikes = drawn(x, 8, "rate", torch.Generator().manual_seed(0))
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    rates = spikes.mean(0).view(200, -1).mean(0).numpy()
    assert np.abs(rates - X.reshape(-1)).max() < 0.05
    assert not spikes.view(8, 200, 5, -1)[:, :, 0, :8].any()


def test_what_an_integrate_and_fire_network_cannot_be() -> None:
    with pytest.raises(UnknownNameError, match="rate"):
        create("if_mlp_digits", encoding="rates")
    with pytest.raises(InputError, match="halved 4 times"):
        create("if_convnet_digits", channels=(2, 2, 2, 2))
    assert create("if_soft_digits").encoding == "direct"
