"""Surrogates: G is the antiderivative of g, and the options are checked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikewright.export.ir.errors import InputError, UnknownNameError
from spikewright.trainer.surrogate import Atan, Rectangle, Sigmoid, create

KINDS = [Rectangle(1.0), Rectangle(0.5), Sigmoid(4.0), Sigmoid(1.5), Atan(2.0), Atan(3.0)]
# Points off the rectangle's kinks at ±width/2.
POINTS = torch.tensor([-3.0, -0.7, -0.3, -0.1, 0.0, 0.13, 0.2, 0.4, 0.9, 2.5], dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_finite_difference_of_the_antiderivative_is_the_gradient(kind):
    h = 1e-6
    slope = (kind.antiderivative(POINTS + h) - kind.antiderivative(POINTS - h)) / (2 * h)
    torch.testing.assert_close(slope, kind.gradient(POINTS), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_autograd_through_the_antiderivative_is_the_gradient(kind):
    y = POINTS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(kind.antiderivative(y).sum(), y)
    torch.testing.assert_close(slope, kind.gradient(POINTS))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_antiderivative_runs_from_0_to_1_through_one_half(kind):
    ends = kind.antiderivative(torch.tensor([-1e12, 0.0, 1e12], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))


@given(y=st.floats(-5, 5), width=st.floats(0.25, 4))
def test_rectangle_stays_in_its_range(y, width):
    value = float(Rectangle(width).antiderivative(torch.tensor(y)))
    assert 0.0 <= value <= 1.0


def test_create_binds_the_parameter_of_each_kind():
    assert create("rectangle", width=0.5) == Rectangle(0.5)
    assert create("sigmoid", alpha=3.0) == Sigmoid(3.0)
    assert create(Atan(1.0)) == Atan(1.0)


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("rectangel", {}, UnknownNameError, "rectangle"),
        ("sigmoid", {"width": 1.0}, InputError, "no width"),
        ("atan", {"alpha": 0.0}, InputError, "alpha 0.0"),
    ],
)
def test_bad_options_are_refused(name, options, error, text):
    with pytest.raises(error, match=text):
        create(name, **options)
