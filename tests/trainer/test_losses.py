"""Pair losses against their definitions; temporal losses: which pairs, counted how often."""

import math

import pytest
import torch

from spikewright.export.ir.errors import InputError, UnknownNameError
from spikewright.trainer.losses import (
    PAIR_LOSSES,
    barlow_twins,
    btl,
    ctl,
    non_cross,
    nt_xent,
    pair_loss,
    temporal_loss,
    vicreg,
)
from spikewright.trainer.tasks import PretrainOptions


def embeddings(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class CountedPair:
    """A symmetric pair loss that remembers how often it was asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, p, q):
        self.calls += 1
        return (p * q).sum()


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_pair_losses_are_symmetric(name):
    p, q = embeddings(16, 8), embeddings(16, 8, seed=1)
    loss = pair_loss(name)
    torch.testing.assert_close(loss(p, q), loss(q, p))


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_pair_losses_prefer_equal_embeddings(name):
    p, q = embeddings(16, 8), embeddings(16, 8, seed=1)
    loss = pair_loss(name)
    assert float(loss(p, p)) < float(loss(p, q))


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_pair_losses_refuse_a_batch_of_one(name):
    with pytest.raises(InputError, match="batch 1"):
        pair_loss(name)(embeddings(1, 8), embeddings(1, 8))


def test_barlow_twins_by_its_definition():
    p, q = embeddings(20, 3), embeddings(20, 3, seed=1)
    expected = 0.0
    for d in range(3):
        for e in range(3):
            a, b = p[:, d] - p[:, d].mean(), q[:, e] - q[:, e].mean()
            c = float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt())
            expected += (c - 1) ** 2 if d == e else 5e-3 * c**2
    assert float(barlow_twins(p, q, eps=0.0)) == pytest.approx(expected / 3)


def test_nt_xent_by_its_definition():
    p, q, temperature = embeddings(5, 4), embeddings(5, 4, seed=1), 0.5
    z = torch.cat([p, q])
    z = z / z.norm(dim=1, keepdim=True)
    expected = 0.0
    for i in range(10):
        scores = [math.exp(float(z[i] @ z[j]) / temperature) for j in range(10)]
        partner = scores[(i + 5) % 10]
        expected -= math.log(partner / (sum(scores) - scores[i])) / 10
    assert float(nt_xent(p, q, temperature=temperature)) == pytest.approx(expected)


def test_vicreg_by_its_parts():
    p, q = embeddings(12, 3), embeddings(12, 3, seed=1)
    mse = float((p - q).square().mean())
    spread, redundancy = 0.0, 0.0
    for z in (p, q):
        c = torch.cov(z.T)
        spread += float((1 - (c.diagonal() + 1e-4).sqrt()).clamp(min=0).mean()) / 2
        redundancy += float((c.square().sum() - c.diagonal().square().sum()) / 3)
    expected = 25 * mse + 25 * spread + redundancy
    assert float(vicreg(p, q)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "time_steps", "pairs", "ordered"),
    [
        (ctl, 4, "all", 2 * 4 * 7),
        (ctl, 4, "cross", 2 * 16),
        (ctl, 1, "all", 2),
        (btl, 4, "all", 12),
        (btl, 2, "all", 12),
        (btl, 4, "cross", 8),
    ],
)
def test_pair_counts(loss, time_steps, pairs, ordered):
    pair = CountedPair()
    z = embeddings(2, time_steps, 6, 3)
    loss(z[0], z[1], pair, pairs=pairs)
    assert 2 * pair.calls == ordered  # each unordered pair once


def test_ctl_sums_every_ordered_pair_over_t():
    z = embeddings(2, 3, 6, 4)
    flat = [z[v, t] for v in (0, 1) for t in range(3)]
    terms = [barlow_twins(p, q) for p in flat for q in flat if p is not q]
    torch.testing.assert_close(ctl(z[0], z[1], barlow_twins), torch.stack(terms).sum() / 3)
    mean = ctl(z[0], z[1], barlow_twins, reduction="mean")
    torch.testing.assert_close(mean, torch.stack(terms).mean())


@pytest.mark.parametrize("pairs", ["all", "cross"])
@pytest.mark.parametrize("reduction", ["steps", "mean"])
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_ctl_and_btl_are_one_at_two_steps(pairs, reduction, name):
    z, pair = embeddings(2, 2, 8, 4), pair_loss(name)
    options = {"pairs": pairs, "reduction": reduction}
    assert torch.equal(ctl(z[0], z[1], pair, **options), btl(z[0], z[1], pair, **options))


def test_btl_sees_the_first_and_the_last_step_only():
    z = embeddings(2, 5, 8, 4)
    middle = z.clone()
    middle[:, 1:4] = 7.0
    assert torch.equal(btl(z[0], z[1], vicreg), btl(middle[0], middle[1], vicreg))


def test_non_cross_is_the_mean_over_equal_steps():
    z, pair = embeddings(2, 3, 8, 4), CountedPair()
    expected = sum((z[0, t] * z[1, t]).sum() for t in range(3)) / 3
    torch.testing.assert_close(non_cross(z[0], z[1], pair), expected)
    assert pair.calls == 3


def test_btl_at_one_step_is_refused():
    z = embeddings(2, 1, 8, 4)
    with pytest.raises(InputError, match="needs 2 time steps, found 1"):
        btl(z[0], z[1], vicreg)


@pytest.mark.parametrize(
    ("make", "near"),
    [
        (lambda: temporal_loss("ctll"), "ctl"),
        (lambda: pair_loss("barlo"), "barlow"),
        (lambda: pair_loss("ntxent", temprature=1.0), "temperature"),
    ],
)
def test_unknown_names_list_the_near_ones(make, near):
    with pytest.raises(UnknownNameError, match=f"did you mean {near}"):
        make()


@pytest.mark.parametrize("options", [{"pairs": "both"}, {"reduction": "sum"}])
def test_unknown_choices_are_refused(options):
    z = embeddings(2, 2, 4, 3)
    with pytest.raises(InputError, match="allowed"):
        ctl(z[0], z[1], vicreg, **options)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ntxent", "temperature", 0.0),
        ("ntxent", "temperature", -0.2),
        ("ntxent", "temperature", float("nan")),
        ("ntxent", "temperature", "hot"),
        ("barlow", "off_diagonal", -1.0),
        ("barlow", "eps", -1e-5),
        ("vicreg", "covariance", float("inf")),
        ("vicreg", "eps", 0.0),
    ],
)
def test_constants_out_of_range_are_refused(name, option, value):
    z = embeddings(2, 1, 8, 4)
    with pytest.raises(InputError, match=f"{option} .*allowed"):
        pair_loss(name, **{option: value})(z[0, 0], z[1, 0])
    with pytest.raises(InputError, match=f"{option} .*allowed"):
        PretrainOptions(pair=name, pair_options={option: value})
