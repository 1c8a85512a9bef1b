"""The fused neuron: equal to torch's operators in every bit, forward and backward."""

import math
import os
from dataclasses import dataclass, replace

import pytest
import torch

from spikewright.export.ir.errors import InputError
from spikewright.trainer.functional import LIFParameters, fused, lif, mixed_lif
from spikewright.trainer.surrogate import Atan, Rectangle, Sigmoid


@dataclass(frozen=True)
class Tent:
    """A surrogate of the user's own: g(y) = max(0, 1 - |y|)."""

    def gradient(self, y):
        return (1 - y.abs()).clamp(min=0)

    def antiderivative(self, y):
        low = y.clamp(-1, 1)
        return 0.5 + low - low * low.abs() / 2


@dataclass(frozen=True)
class Derived(Sigmoid):
    """One that shares a kernel's class but not its derivative."""

    def gradient(self, y):
        return 2 * super().gradient(y)

    def antiderivative(self, y):
        return 2 * super().antiderivative(y)


OTHERS = (Sigmoid(), Sigmoid(1.3), Atan(3.0), Tent(), Derived())
ALL = [
    LIFParameters(
        tau=tau,
        v_threshold=v_threshold,
        v_reset=v_reset,
        reset=reset,
        compare=compare,
        decay_input=decay,
        surrogate=Rectangle(width),
    )
    for tau, decay in ((2.0, False), (3.7, False), (3.7, True), (math.inf, False))
    for reset, v_reset in (("hard", 0.0), ("hard", -0.3), ("soft", 0.0))
    for compare in (">", ">=")
    for v_threshold, width in ((1.0, 1.0), (0.7, 1.3))
]
SHAPES = {"rows": (5, 6, 40), "one step": (1, 4, 7), "pictures": (3, 4, 8, 6, 5)}


@pytest.fixture(autouse=True)
def _extension():
    if fused._extension() is None:
        assert not os.environ.get("SPIKEWRIGHT_REQUIRE_NATIVE"), "the extension is not built"
        pytest.skip("the trainer's extension is not built")


def inputs(shape, dtype=torch.float32, channels_last=False, seed=0):
    x = 2.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.4
    x = x.to(dtype)
    if channels_last:
        x = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, shape[:2])
    return x


def run(neuron, x, p, monkeypatch, fuse):
    """Return the output and the gradient of x, for fixed gradients of the output."""
    monkeypatch.setenv(fused.FUSED_VARIABLE, "1" if fuse else "0")
    leaf = x.detach().requires_grad_()
    out = neuron(leaf, p)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype))
    return out.detach(), leaf.grad


@pytest.mark.parametrize("neuron", [lif, mixed_lif])
@pytest.mark.parametrize("p", ALL, ids=str)
def test_fused_equals_plain(neuron, p, monkeypatch):
    rates = []
    for shape in SHAPES.values():
        for channels_last in (False, len(shape) == 5):
            x = inputs(shape, channels_last=channels_last)
            plain = run(neuron, x, p, monkeypatch, fuse=False)
            found = run(neuron, x, p, monkeypatch, fuse=True)
            for a, b in zip(plain, found, strict=True):
                assert torch.equal(a, b)
            rates.append(float((found[0] > 0).float().mean()))
    assert 0.05 < sum(rates) / len(rates) < 0.95


@pytest.mark.parametrize("neuron", [lif, mixed_lif])
@pytest.mark.parametrize(
    "surrogate", [Sigmoid(), Sigmoid(1.3), Atan(3.0), Tent(), Derived()], ids=str
)
def test_other_surrogates_are_fused_around_their_own_operators(neuron, surrogate, monkeypatch):
    """Spikes in every bit; torch's sigmoid and atan may round a vector's tail otherwise."""
    for p in ALL[::3]:
        p = replace(p, surrogate=surrogate)
        for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 8e-3)):
            for channels_last in (False, True):
                x = inputs(SHAPES["pictures"], dtype, channels_last)
                plain = run(neuron, x, p, monkeypatch, fuse=False)
                found = run(neuron, x, p, monkeypatch, fuse=True)
                if neuron is lif:
                    assert torch.equal(plain[0], found[0])
                for a, b in zip(plain, found, strict=True):
                    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("neuron", [lif, mixed_lif])
def test_half_precision_rounds_only_what_leaves(neuron, monkeypatch):
    x = inputs((4, 6, 33), torch.bfloat16)
    for p in ALL[::5]:
        plain = run(neuron, x, p, monkeypatch, fuse=False)
        found = run(neuron, x, p, monkeypatch, fuse=True)
        assert torch.equal(plain[0], found[0]) and found[0].dtype == torch.bfloat16
        assert torch.equal(plain[1], found[1])


def test_a_frame_expanded_over_time_is_read_in_place(monkeypatch):
    frame = inputs((1, 6, 700))
    p = LIFParameters()
    plain, found = (
        run(mixed_lif, frame.expand(4, 6, 700), p, monkeypatch, fuse=on) for on in (False, True)
    )
    assert torch.equal(plain[0], found[0]) and torch.equal(plain[1], found[1])


def test_threads_change_no_bit(monkeypatch):
    x, before = inputs((4, 8, 9001)), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(run(mixed_lif, x, LIFParameters(), monkeypatch, fuse=True))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_what_it_does_not_take_goes_to_the_operators():
    p = LIFParameters()
    assert fused.can_fuse(inputs((2, 2, 3)), p)
    assert not fused.can_fuse(inputs((2, 2, 3), torch.float64), p)
    assert lif(inputs((2, 0, 3)), p).shape == (2, 0, 3)


def test_the_variable_takes_0_and_1(monkeypatch):
    for value in ("false", "2", "on"):
        monkeypatch.setenv(fused.FUSED_VARIABLE, value)
        with pytest.raises(InputError, match=f"SPIKEWRIGHT_FUSED: '{value}'; choose among 0, 1"):
            fused.can_fuse(torch.ones(2, 2), None)
