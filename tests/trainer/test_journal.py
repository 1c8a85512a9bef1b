"""What a training tells: lines, warnings of collapse and of dead layers, the same across a cut."""

import json
import math

import pytest
import torch
from torch import nn

from spikewright.trainer.data import load
from spikewright.trainer.journal import Journal, effective_rank, embedding_deviation
from spikewright.trainer.loop import LoopOptions
from spikewright.trainer.models import create
from spikewright.trainer.neurons import LIF
from spikewright.trainer.resume import StateFile
from spikewright.trainer.tasks import PretrainOptions, pretrain

LOOP = LoopOptions(epochs=2, batch=64)
OPTIONS = PretrainOptions(projector=16, loop=LOOP)


def tiny():
    return create("spiking_resnet_digits", widths=(8, 8), time_steps=2, stem_stride=2, pool=1)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_hold_the_loss_the_speed_the_rates_and_the_spread(tmp_path):
    path, data, model = tmp_path / "run.jsonl", load("digits", limit=256), tiny()
    journal = Journal(path, every=3)
    record = pretrain(model, data, OPTIONS, progress=False, journal=journal).record
    found = lines(path)
    assert [line["step"] for line in found] == [1, 3, 6]
    assert [line["epoch"] for line in found] == [1, 1, 2]
    rates = [k for k in found[0] if k.startswith("spike_rate/")]
    assert len(rates) == sum(isinstance(m, LIF) for m in model.modules())
    assert all(0 <= found[0][name] <= 1 for name in rates)
    for line in found:
        assert line["images_per_s"] > 0 and math.isfinite(line["loss"])
        assert 0 < line["embedding_deviation"] <= 1.01 and 1 <= line["effective_rank"] <= 16.1
    assert record.steps == 8


def test_numbers_change_no_weight(tmp_path):
    data, weights = load("digits", limit=256), []
    for journal in (Journal(every=1000), Journal(tmp_path / "run.jsonl", every=1)):
        model = tiny()
        pretrain(model, data, OPTIONS, progress=False, journal=journal)
        weights.append(model.state_dict())
    assert all(torch.equal(t, weights[1][name]) for name, t in weights[0].items())


def test_a_resumed_training_drops_the_lines_that_it_repeats(tmp_path):
    class Cut(Exception):
        pass

    class CutFile(StateFile):
        def save(self, moving, at):
            super().save(moving, at)
            raise Cut

    path, state, data = tmp_path / "run.jsonl", tmp_path / "net.state", load("digits", limit=256)
    whole = Journal(tmp_path / "whole.jsonl", every=1)
    pretrain(tiny(), data, OPTIONS, progress=False, journal=whole)
    cut = CutFile(state, every=3)
    with pytest.raises(Cut):
        pretrain(tiny(), data, OPTIONS, progress=False, state=cut, journal=Journal(path, every=1))
    with path.open("a") as file:
        file.write('{"step": 4, "loss": 1.0}\n{"step": 5, "lo')  # killed in the middle of a line
    resume = StateFile(state, resume=True)
    pretrain(tiny(), data, OPTIONS, progress=False, state=resume, journal=Journal(path, every=1))
    assert [line["step"] for line in lines(path)] == list(range(1, 9))
    rates = [[line["lr"] for line in lines(one)] for one in (path, tmp_path / "whole.jsonl")]
    assert rates[0] == rates[1] and len(set(rates[0])) > 4, "the rate in force, also once resumed"


def test_dead_and_saturated_layers_are_named_once():
    told, journal = [], Journal()
    journal.tell = told.append
    net = nn.Sequential(LIF(v_threshold=1e6), LIF(v_threshold=-1e6))
    with journal.watching(net, 0):
        for step in (1, 2, 50, 100):
            journal.begin_step(step)
            net(torch.ones(2, 3, 4))
    assert len(told) == 2
    assert "0 is dead" in told[0] and "1 is saturated" in told[1]
    net(torch.ones(2, 3, 4))
    assert not any(layer._forward_hooks for layer in net)


def test_collapse_is_told():
    told, journal = [], Journal()
    journal.tell = told.append
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(500, 16, generator=generator)
    journal.embeddings(spread)
    assert not told
    journal.embeddings(torch.ones(500, 16) + 1e-4 * spread)
    assert len(told) == 1 and "collapsed" in told[0]


def test_spread_and_rank_by_their_definitions():
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    assert embedding_deviation(z) == pytest.approx(1.0, abs=0.02)
    assert effective_rank(z) == pytest.approx(8.0, abs=0.05)
    z[:, 2:] = 0.0
    assert effective_rank(z) == pytest.approx(2.0, abs=0.05)
    values = torch.linalg.svdvals(z)
    p = values[:2] / values.sum()
    assert effective_rank(z) == pytest.approx(float((-(p * p.log()).sum()).exp()), abs=0.01)
