"""Quantisation-aware training: what it evaluates is the integer network, spike for spike."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikewright import api
from spikewright.export.ir.errors import InputError, LoweringError
from spikewright.trainer.data import load
from spikewright.trainer.evaluate import accuracy, predict, spike_rates
from spikewright.trainer.loop import LoopOptions
from spikewright.trainer.models import create
from spikewright.trainer.quantised import Quantised, _Rounded, _whole
from spikewright.trainer.resume import StateFile
from spikewright.trainer.tasks import SupervisedOptions, train_supervised

SHORT = SupervisedOptions(loop=LoopOptions(epochs=1, batch=64, lr=2e-3))


@pytest.fixture(scope="module")
def digits():
    return load("digits", limit=512), load("digits", "test", limit=200)


def trained(digits, **options):
    model = create("spiking_resnet_digits", widths=(8, 16), time_steps=2, **options)
    train_supervised(model, *digits, SHORT, progress=False)
    return model


def lowering(digits, bits, scale="max"):
    return api.lowering(bits=bits, calibrate=digits[0].x, scale=scale)


@pytest.mark.parametrize(
    ("bits", "scale", "options"),
    [
        (2, "max", {}),
        (3, "mse", {"residual": "spiking"}),
        (4, "percentile", {"residual": "ms", "tau": 3.0}),
        (
            5,
            "max",
            {"decay_input": True, "compare": ">=", "surrogate": "sigmoid", "v_threshold": 0.3},
        ),
        (6, "max", {"reset": "soft"}),
        (8, "max", {"residual": "spiking"}),
    ],
)
def test_its_accuracy_is_that_of_the_integer_network(digits, bits, scale, options):
    model = trained(digits, **options)
    quantised = Quantised(model, lowering(digits, bits, scale), refresh=3)
    result = train_supervised(quantised, *digits, SHORT, progress=False)
    graph = api.lower(model, bits=bits, calibrate=digits[0].x, scale=scale)
    trace = api.run(graph, digits[1].x)
    assert np.array_equal(predict(quantised, digits[1], 2), trace.predictions)
    assert result.accuracy == float((trace.predictions == digits[1].labels).mean())
    rates = spike_rates(quantised, digits[1], 2)
    expected = {name: float((n.spikes != 0).mean()) for name, n in trace.neurons.items()}
    assert rates == pytest.approx(expected, abs=1e-12) and max(rates.values()) > 0.01


def test_spikformer_is_evaluated_in_integers(digits):
    options = {"input_shape": (1, 8, 8), "pools": (False,) * 4, "depth": 1, "dim": 32}
    model = create("spikformer_2_64", time_steps=2, **options)
    train_supervised(model, *digits, SHORT, progress=False)
    quantised = Quantised(model, lowering(digits, 4)).eval()
    graph = api.lower(model, bits=4, calibrate=digits[0].x)
    found = api.run(graph, digits[1].x).predictions
    assert np.array_equal(predict(quantised, digits[1], 2), found)


def test_folding_changes_no_prediction_of_the_float_network(digits):
    model = trained(digits)
    before = predict(model, digits[1], 2)
    x = torch.from_numpy(digits[1].x[:20]).expand(2, -1, -1, -1, -1)
    outputs = model(x)
    Quantised(model, lowering(digits, 8))
    torch.testing.assert_close(model(x), outputs, atol=1e-4, rtol=1e-4)
    assert np.array_equal(predict(model, digits[1], 2), before)


def test_it_trains_what_rounding_lost(digits):
    model = create("spiking_resnet_digits", widths=(8, 16), time_steps=2)
    floats, few = (SupervisedOptions(loop=LoopOptions(epochs=n, batch=64)) for n in (10, 20))
    train_supervised(model, *digits, floats, progress=False)
    quantised = Quantised(model, lowering(digits, 2)).eval()
    before = accuracy(quantised, digits[1], 2)
    result = train_supervised(quantised, *digits, few, progress=False)
    assert result.accuracy > before + 0.1


def test_gradients_pass_where_nothing_is_clipped():
    weight = torch.tensor([[0.2, -0.9], [0.04, 3.0]], requires_grad=True)
    rounded = _Rounded.apply(weight, torch.tensor([0.3, 0.1], dtype=torch.float64), 3)
    torch.testing.assert_close(rounded, torch.tensor([[0.3, -0.9], [0.0, 0.3]]))
    rounded.sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_it_resumes_exactly(digits, tmp_path):
    class Cut(Exception):
        pass

    class CutFile(StateFile):
        def save(self, moving, at):
            super().save(moving, at)
            raise Cut

    def run(state=None):
        model = create("spiking_resnet_digits", widths=(8, 8), time_steps=2)
        quantised = Quantised(model, lowering(digits, 4), refresh=3)
        train_supervised(quantised, *digits, SHORT, progress=False, state=state)
        return model.state_dict()

    whole, path = run(), tmp_path / "net.state"
    with pytest.raises(Cut):
        run(CutFile(path, every=4))
    resumed = run(StateFile(path, resume=True))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_what_cannot_be_is_refused(digits):
    model = trained(digits)
    quantised = Quantised(model, lowering(digits, 4))
    options = SupervisedOptions(reestimate=True)
    with pytest.raises(InputError, match="nothing is left to re-estimate"):
        train_supervised(quantised, *digits, options, progress=False)
    node = replace(quantised._graph.output, bias=None)
    unit = node.scale * 2**node.state_shift
    assert (_whole(torch.full((1, 1, 10), 3.1 * unit), node, node.scale, "y") == 3).all()
    with pytest.raises(LoweringError, match=r"0\.40 weight steps from a whole one"):
        _whole(torch.full((1, 1, 10), 3.4 * unit), node, node.scale, "y")
