"""Neurons: the equivalences that must hold exactly, and gradients against finite differences."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikewright.export.ir.errors import InputError
from spikewright.trainer.functional import (
    LIFParameters,
    lif,
    lif_step,
    membrane_potential,
    path_b_step,
)
from spikewright.trainer.neurons import IF, LIF, MixedLIF, dual_path
from spikewright.trainer.surrogate import Atan, Rectangle, Sigmoid

ALL = [
    LIFParameters(tau=tau, reset=reset, compare=compare, decay_input=decay)
    for tau, decay in ((2.0, False), (2.0, True), (4.0, True), (math.inf, False))
    for reset in ("hard", "soft")
    for compare in (">", ">=")
]


def inputs(*shape, seed=0, dtype=torch.float32):
    """Inputs that make about a third of the neurons fire."""
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(*shape, generator=generator, dtype=dtype) + 0.4


@pytest.mark.parametrize("p", ALL, ids=str)
def test_all_steps_at_once_equal_one_step_after_the_other(p):
    x, v, steps = inputs(6, 3, 5), torch.zeros(3, 5), []
    for x_t in x:
        s, v = lif_step(x_t, v, p)
        steps.append(s)
    spikes = lif(x, p)
    assert torch.equal(spikes, torch.stack(steps))
    assert 0.05 < float(spikes.mean()) < 0.95


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_hand_counted_train(reset):
    p = LIFParameters(tau=2.0, reset=reset)
    x = torch.tensor([0.8, 0.8, 0.2, 1.5])[:, None]
    # hard: u = .8, 1.2*, .2, 1.6*; soft: after 1.2 stays .2, so u = .8, 1.2*, .3, 1.65*
    expected = {"hard": [0.8, 1.2, 0.2, 1.6], "soft": [0.8, 1.2, 0.3, 1.65]}[reset]
    torch.testing.assert_close(membrane_potential(x, p)[:, 0], torch.tensor(expected))
    assert lif(x, p)[:, 0].tolist() == [0.0, 1.0, 0.0, 1.0]


def test_compare_decides_at_the_threshold():
    x = torch.ones(1, 1)
    assert lif(x, LIFParameters(compare=">")).item() == 0.0
    assert lif(x, LIFParameters(compare=">=")).item() == 1.0


def test_v_reset_is_where_the_potential_starts_again():
    x = torch.tensor([[2.0], [0.0]])
    u = membrane_potential(x, LIFParameters(tau=2.0, v_reset=-0.5))
    assert u[:, 0].tolist() == [2.0, -0.25]


def test_mixed_lif_in_eval_is_lif_spike_for_spike():
    x = inputs(5, 4, 3, 8, 8)
    mixed, plain = MixedLIF().eval(), LIF().eval()
    with dual_path(mixed):
        assert torch.equal(mixed(x), plain(x))


def test_mixed_lif_without_dual_is_lif_while_training():
    x = inputs(5, 4, 3)
    assert torch.equal(MixedLIF().train()(x), LIF()(x))


def test_mixed_lif_in_dual_training_gives_spikes_then_analog_values():
    x = inputs(5, 4, 3)
    mixed = MixedLIF().train()
    with dual_path(mixed):
        out = mixed(x)
    assert torch.equal(out[:, :2], LIF()(x[:, :2]))
    v, p = torch.zeros(2, 3), LIFParameters()
    for t in range(5):
        analog, v = path_b_step(x[t, 2:], v, p)
        assert torch.equal(out[t, 2:], analog)
    assert not mixed.dual
    assert float((out[:, 2:] % 1 != 0).float().mean()) > 0, "Path B was never between 0 and 1"


def test_an_odd_batch_holds_no_two_views():
    mixed = MixedLIF().train()
    with dual_path(mixed), pytest.raises(InputError, match="batch 3"):
        mixed(inputs(2, 3, 4))


@pytest.mark.parametrize("surrogate", [Rectangle(), Rectangle(2.0), Sigmoid(), Atan()], ids=str)
def test_finite_difference_of_path_b_is_the_surrogate_gradient_of_path_a(surrogate):
    p = LIFParameters(surrogate=surrogate)
    u = torch.linspace(-1.93, 3.07, 101, dtype=torch.float64)  # off the rectangles' kinks
    at_rest, h = torch.zeros_like(u), 1e-6
    above, below = path_b_step(u + h, at_rest, p)[0], path_b_step(u - h, at_rest, p)[0]
    x = u.clone().requires_grad_()
    (slope_a,) = torch.autograd.grad(lif_step(x, at_rest, p)[0].sum(), x)
    torch.testing.assert_close((above - below) / (2 * h), slope_a, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("p", ALL, ids=str)
def test_gradient_over_all_steps_equals_autograd_through_single_steps(p):
    p = replace(p, surrogate=Atan(), v_reset=-0.25)
    together = inputs(5, 2, 6, seed=2, dtype=torch.float64).requires_grad_()
    apart = together.detach().clone().requires_grad_()
    weights = inputs(5, 2, 6, seed=4, dtype=torch.float64)
    v, steps = torch.zeros(2, 6, dtype=torch.float64), []
    for x_t in apart:
        s, v = lif_step(x_t, v, p)
        steps.append(s)
    (a,) = torch.autograd.grad((lif(together, p) * weights).sum(), together)
    (b,) = torch.autograd.grad((torch.stack(steps) * weights).sum(), apart)
    torch.testing.assert_close(a, b)
    assert float(a.abs().max()) > 0


def test_gradient_over_time_is_the_detached_recursion():
    p = LIFParameters(tau=2.0, surrogate=Sigmoid())
    x = inputs(4, 1, 7, seed=3, dtype=torch.float64).requires_grad_()
    (grad,) = torch.autograd.grad(lif(x, p).sum(), x)
    u = membrane_potential(x.detach(), p)
    slope, kept = p.surrogate.gradient(u - 1), 0.5 * (u <= 1).double()
    expected = torch.zeros_like(u)
    carry = torch.zeros_like(u[0])
    for t in reversed(range(4)):
        carry = slope[t] + kept[t] * carry
        expected[t] = carry
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("tau", [2.0, 3.0, 10.0])
def test_decay_input_is_the_input_scaled_by_one_over_tau(tau):
    x = inputs(32, 16, 64, seed=5)
    p = LIFParameters(tau=tau, decay_input=True)
    q = LIFParameters(tau=tau)
    u_p, u_q = membrane_potential(x, p), membrane_potential(x / tau, q)
    assert torch.equal(u_p > 1, u_q > 1)
    # One rounding a step, kept by 1 - 1/tau: at most tau ulp of the largest value add up.
    ulp = float(np.spacing(np.float32(u_q.abs().max())))
    assert float((u_p - u_q).abs().max()) <= tau * ulp


def test_if_keeps_all_of_its_potential():
    x = torch.tensor([0.4, 0.4, 0.4, 0.4])[:, None]
    assert IF()(x)[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tau": 0.5}, "tau 0.5"),
        ({"tau": math.nan}, "tau nan"),
        ({"tau": math.inf, "decay_input": True}, "decay_input"),
        ({"v_threshold": math.nan}, "v_threshold"),
        ({"reset": "none"}, "hard or soft"),
        ({"compare": "<"}, "> or >="),
    ],
)
def test_bad_constants_are_refused(options, text):
    with pytest.raises(InputError, match=text):
        LIF(**options)


def test_to_node_holds_the_constants_of_path_a():
    node = MixedLIF(4.0, 0.5, -0.1, reset="hard", compare=">=").to_node((3, 8, 8))
    assert node.shape == (3, 8, 8)
    assert (node.beta, node.tau, node.v_threshold) == (0.75, None, 0.5)
    assert (node.v_reset, node.reset, node.compare) == (-0.1, "hard", ">=")
    decaying = LIF(4.0, decay_input=True).to_node((2,))
    assert (decaying.beta, decaying.tau) == (None, 4.0)
    assert IF().to_node((2,)).beta == 1.0
