"""BatchNorm and neuron as one: what the two layers give, forward, backward and in statistics."""

import os

import pytest
import torch

from spikewright.trainer.encode import repeat
from spikewright.trainer.functional import LIFParameters, fused, fused_norm
from spikewright.trainer.layers import SeqBatchNorm2d, SeqConv2d, conv_norm_neuron
from spikewright.trainer.models import create
from spikewright.trainer.neurons import MixedLIF, dual_path


@pytest.fixture(autouse=True)
def _extension():
    if fused._extension() is None:
        assert not os.environ.get("SPIKEWRIGHT_REQUIRE_NATIVE"), "the extension is not built"
        pytest.skip("the trainer's extension is not built")


def layers(channels=12, **neuron):
    torch.manual_seed(0)
    conv, norm = SeqConv2d(3, channels, 3, 1, 1, bias=False), SeqBatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-0.5, 1)
    conv.to(memory_format=torch.channels_last)
    return conv, norm, MixedLIF(**neuron)


def run(monkeypatch, fuse, x, dual=False, bf16=False, **neuron):
    """Return output, gradients and running statistics of one training step."""
    monkeypatch.setenv(fused.FUSED_VARIABLE, "1" if fuse else "0")
    conv, norm, mixed = layers(**neuron)
    mixed.dual = dual
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = conv_norm_neuron(conv, norm, mixed, x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9))
    (out.float() * weights).sum().backward()
    found = [out.detach().float(), conv.weight.grad, norm.weight.grad, norm.bias.grad]
    return [*found, norm.running_mean, norm.running_var, norm.num_batches_tracked.float()]


def pictures(time_steps, static):
    x = torch.rand(6, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    if static:
        return repeat(x.to(memory_format=torch.channels_last), time_steps)
    steps = torch.rand(time_steps * 6, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    return steps.to(memory_format=torch.channels_last).unflatten(0, (time_steps, 6))


@pytest.mark.parametrize("static", [True, False], ids=["one frame", "frames"])
@pytest.mark.parametrize("dual", [True, False], ids=["dual", "spikes"])
@pytest.mark.parametrize(
    "neuron",
    [
        {},
        {"reset": "soft", "compare": ">=", "channels": 300},
        {"tau": 3.0, "decay_input": True, "v_threshold": 0.4, "width": 1.5},
        {"surrogate": "sigmoid", "v_reset": -0.3},
        {"surrogate": "atan"},
    ],
    ids=str,
)
def test_one_pass_gives_what_the_two_layers_give(neuron, dual, static, monkeypatch):
    plain = run(monkeypatch, False, pictures(4, static), dual, **neuron)
    one = run(monkeypatch, True, pictures(4, static), dual, **neuron)
    assert 0.02 < float((plain[0] > 0).float().mean()) < 0.98
    # Sums are float64 here and float32 there, so a potential within an ulp of its threshold, or of
    # the surrogate's edge, may fall to the other side: few do, and all else is equal to rounding.
    for a, b in zip(plain, one, strict=True):
        assert float((a - b).norm()) <= 0.02 * float(a.norm())
        assert float((a - b).abs().median()) <= 1e-5 * float(a.abs().max())


def test_it_is_what_a_training_step_takes(monkeypatch):
    """The fused path is reached, also through a whole network in dual training."""
    calls = []
    whole = fused_norm._moments
    monkeypatch.setattr(fused_norm, "_moments", lambda x: (calls.append(x.shape), whole(x))[1])
    model = create("spiking_resnet", widths=(8, 16), blocks=(1, 1), input_shape=(3, 8, 8))
    model.to(memory_format=torch.channels_last).train()
    x = torch.rand(4, 3, 8, 8).to(memory_format=torch.channels_last)
    with dual_path(model):
        model(repeat(x, 3)).sum().backward()
    assert len(calls) == 6 and calls[0][0] == 1 and calls[1][0] == 3
    model.eval()
    model(repeat(x, 3))
    assert len(calls) == 6


def test_neurons_of_others_run_for_themselves():
    class Doubled(MixedLIF):
        def forward(self, *frames, **statistics):
            return 2 * super().forward(*frames, **statistics)

    conv, norm, _ = layers()
    x = pictures(3, static=True)
    assert conv_norm_neuron(conv, norm, Doubled(), x).detach().max() == 2
    assert conv_norm_neuron(conv, norm, torch.nn.ReLU(), x).detach().min() == 0


def test_bfloat16_rounds_where_the_layers_round(monkeypatch):
    plain = run(monkeypatch, False, pictures(4, static=False), bf16=True)
    one = run(monkeypatch, True, pictures(4, static=False), bf16=True)
    assert float((plain[0] != one[0]).float().mean()) < 2e-3
    for a, b in zip(plain[1:], one[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05 * float(a.abs().max()))


def test_threads_change_no_bit(monkeypatch):
    before, found = torch.get_num_threads(), []
    x = torch.rand(3, 8, 5, 40, 40).flatten(0, 1).to(memory_format=torch.channels_last)
    steps = x.unflatten(0, (3, 8))
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            norm, leaf = SeqBatchNorm2d(5), steps.detach().requires_grad_()
            out = fused_norm.fused_norm_lif(leaf, norm, LIFParameters(), 3, 8)
            out.backward(steps)
            found.append([out, leaf.grad, norm.weight.grad, norm.running_mean])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_what_it_does_not_take_goes_through_the_two_layers():
    x, p = torch.rand(2, 4, 8, 6, 5), LIFParameters()
    last = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (2, 4))
    norm = SeqBatchNorm2d(8)
    assert fused_norm.can_fuse_norm(last, norm, p, mixed=True)
    assert not fused_norm.can_fuse_norm(x, norm, p, mixed=True)
    assert not fused_norm.can_fuse_norm(last, SeqBatchNorm2d(8, momentum=None), p, mixed=False)
    assert not fused_norm.can_fuse_norm(last, norm.eval(), p, mixed=True)
