"""Tasks on real digits, small and short: they learn, they are deterministic, they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikewright.export.ir.errors import InputError, UnknownNameError
from spikewright.trainer.data import Dataset, load
from spikewright.trainer.evaluate import (
    accuracy,
    batches,
    path_a_features,
    predict,
    reestimate_batchnorm,
    spike_rates,
)
from spikewright.trainer.loop import LoopOptions, fit
from spikewright.trainer.models import SpikingResNet, create
from spikewright.trainer.neurons import MixedLIF
from spikewright.trainer.resume import StateFile
from spikewright.trainer.tasks import (
    PretrainOptions,
    SupervisedOptions,
    compare_controls,
    knn_accuracy,
    linear_probe,
    pretrain,
    train_supervised,
)
from spikewright.trainer.tasks.knn import vote
from spikewright.trainer.tasks.probe import logistic_regression

TINY = {"widths": (8, 16), "time_steps": 2, "stem_stride": 2, "pool": 1}
SHORT = LoopOptions(epochs=2, batch=64)


@pytest.fixture(scope="module")
def digits():
    return load("digits", limit=512), load("digits", "test", limit=200)


def tiny(seed=0, **options) -> SpikingResNet:
    model = create("spiking_resnet_digits", seed=seed, **{**TINY, **options})
    assert isinstance(model, SpikingResNet)
    return model


def options_of(loop=SHORT, **options):
    return PretrainOptions(projector=32, loop=loop, **options)


def test_pretraining_lowers_its_loss_and_beats_random_weights(digits):
    loop = LoopOptions(epochs=8, batch=64)
    controls = compare_controls(
        "spiking_resnet_digits",
        digits[0],
        digits[1],
        options_of(loop),
        progress=False,
        **TINY,
    )
    losses = controls.pretraining.record.losses
    assert losses[-1] < 0.9 * losses[0]
    assert controls.pretraining.loss == losses[-1]
    accuracies = controls.accuracies
    assert accuracies["pretrained"] > accuracies["random_weights"] + 0.05
    assert accuracies["supervised"] > accuracies["random_weights"]
    assert accuracies["pretrained"] == accuracy(controls.pretrained.model, digits[1], 2)


@pytest.mark.parametrize("paths", ["dual", "single"])
def test_same_seed_same_weights(digits, paths):
    options = options_of(LoopOptions(epochs=1, batch=128), paths=paths)
    a, b = tiny(), tiny()
    torch.manual_seed(1)
    pretrain(a, digits[0], options, progress=False)
    torch.manual_seed(2)
    pretrain(b, digits[0], options, progress=False)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_dual_and_single_path_train_differently(digits):
    models = {}
    for paths in ("dual", "single"):
        models[paths] = tiny()
        loop = LoopOptions(epochs=1, batch=128)
        pretrain(models[paths], digits[0], options_of(loop, paths=paths), progress=False)
    assert not torch.equal(models["dual"].conv1.weight, models["single"].conv1.weight)
    neurons = [m for m in models["dual"].modules() if isinstance(m, MixedLIF)]
    assert neurons
    assert not any(neuron.dual for neuron in neurons)


@pytest.mark.parametrize("loss", ["btl", "non_cross"])
@pytest.mark.parametrize("pair", ["barlow", "vicreg"])
def test_every_loss_trains(digits, loss, pair):
    options = options_of(LoopOptions(epochs=1, batch=128, clip=1.0), loss=loss, pair=pair)
    result = pretrain(tiny(), digits[0], options, progress=False)
    assert np.isfinite(result.loss)
    assert result.record.steps == 4


def test_probe_folds_into_the_head_and_leaves_the_backbone(digits):
    model = tiny()
    before = [p.clone() for n, p in model.named_parameters() if not n.startswith("head")]
    result = linear_probe(model, *digits)
    after = [p for n, p in model.named_parameters() if not n.startswith("head")]
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))
    assert result.accuracy == accuracy(model, digits[1], 2)
    assert result.accuracy > result.accuracy_before  # the statistics were those of no data at all
    assert result.train_accuracy > 0.5


def test_logistic_regression_reaches_a_zero_gradient():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 5, generator=generator), torch.arange(200) % 3
    weight, bias = logistic_regression(x, y, 3, weight_decay=0.1)
    residual = torch.softmax(x @ weight.T + bias, 1) - torch.nn.functional.one_hot(y, 3)
    gradient = residual.T @ x / 200 + 0.1 * weight
    assert float(gradient.abs().max()) < 1e-4
    assert float(residual.mean(0).abs().max()) < 1e-4


def test_batchnorm_is_estimated_on_path_a_alone(digits):
    train = digits[0]
    model = tiny()
    reestimate_batchnorm(model, train, 2, batch=len(train))
    x = torch.from_numpy(train.x)
    current = torch.nn.functional.conv2d(x, model.conv1.weight, stride=2, padding=1)
    torch.testing.assert_close(model.bn1.running_mean, current.mean((0, 2, 3)))
    torch.testing.assert_close(model.bn1.running_var, current.var((0, 2, 3)))
    assert not model.bn1.training
    assert model.bn1.momentum == 0.1


def test_features_and_predictions_do_not_depend_on_the_batch(digits):
    model = tiny()
    reestimate_batchnorm(model, digits[0], 2)
    few, many = (path_a_features(model, digits[1], 2, batch=b) for b in (33, 200))
    torch.testing.assert_close(few, many)
    assert np.array_equal(predict(model, digits[1], 2, 199), predict(model, digits[1], 2, 200))


def test_no_batch_holds_a_single_rest():
    assert [len(b) for b in batches(torch.zeros(9, 1), 4)] == [4, 5]
    assert [len(b) for b in batches(torch.zeros(1, 1), 4)] == [1]
    assert [len(b) for b in batches(torch.zeros(8, 1), 4)] == [4, 4]


def test_knn_is_perfect_on_its_own_samples(digits):
    train = digits[0]
    model = tiny()
    reestimate_batchnorm(model, train, 2)
    assert knn_accuracy(model, train, train, neighbours=1) > 0.99
    assert 0.2 < knn_accuracy(model, *digits) < 1.0
    with pytest.raises(InputError, match="600 neighbours of 512 samples; give -k 1 to 512"):
        knn_accuracy(model, *digits, neighbours=600)


def test_votes_of_a_low_temperature_stay_finite(digits):
    """The nearest is of class 2, the next two of class 1."""
    bank = torch.tensor([[1.0, 0.0], [0.999, 0.045], [0.998, 0.063], [0.0, 1.0]])
    labels, query = torch.tensor([2, 1, 1, 0]), torch.tensor([[1.0, 0.0]])
    found = [int(vote(bank, labels, query, 3, 3, t)) for t in (0.07, 0.0001)]
    assert found == [1, 2]
    with pytest.raises(InputError, match=r"temperature 0\.0, allowed above 0"):
        knn_accuracy(tiny(), *digits, temperature=0.0)


def test_missing_test_labels_are_noticed_before_the_training(digits, tmp_path):
    state = StateFile(tmp_path / "net.state", every=1)
    blind = replace(digits[1], y=None)
    with pytest.raises(InputError, match="no labels"):
        train_supervised(tiny(), digits[0], blind, progress=False, state=state)
    assert not state.path.exists()


def test_supervised_training_learns(digits):
    result = train_supervised(
        tiny(),
        digits[0],
        digits[1],
        SupervisedOptions(views="grey", loop=LoopOptions(epochs=12, batch=64)),
        progress=False,
    )
    assert result.accuracy > 0.6
    assert result.record.losses[-1] < result.record.losses[0]


def test_spike_rates_name_every_neuron(digits):
    model = tiny()
    reestimate_batchnorm(model, digits[0], 2)
    rates = spike_rates(model, digits[1], 2)
    assert set(rates) == {n for n, m in model.named_modules() if isinstance(m, MixedLIF)}
    assert all(0 < rate < 0.6 for rate in rates.values())


def test_a_diverging_loss_stops(digits):
    model = tiny()
    with torch.no_grad():
        model.conv1.weight.fill_(torch.nan)
    with pytest.raises(InputError, match="the loss is nan in epoch 1, step 1"):
        pretrain(model, digits[0], options_of(), progress=False)


def colour_data():
    return Dataset(np.zeros((4, 3, 8, 8), np.float32), None, "npz:colour", "train")


def bright(data):
    return replace(data, x=data.x * 255)


def test_weights_that_the_last_step_spoils_stop():
    """The loss before it was finite, and no loss follows it."""
    module = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(module.weight)

    def loss(module, _indices, _one):  # a root's slope at 0 has no bound
        return module.weight.abs().sum().sqrt()

    once, generator = LoopOptions(epochs=1, batch=4), torch.Generator()
    with pytest.raises(InputError, match="weight is not finite after the last step: training div"):
        fit(module, loss, 4, once, generator, progress=False)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda d: pretrain(tiny(), colour_data()), InputError, "takes \\[1, 8, 8\\]"),
        (lambda d: pretrain(tiny(), d, options_of(loss="ctx")), UnknownNameError, "mean ctl"),
        (lambda d: pretrain(tiny(), d, options_of(pair="barlo")), UnknownNameError, "barlow"),
        (lambda d: pretrain(tiny(), d, options_of(views="gray")), UnknownNameError, "grey"),
        (lambda d: pretrain(tiny(), d, options_of(paths="both")), InputError, "dual or single"),
        (
            lambda d: pretrain(tiny(time_steps=1), d, options_of(loss="btl"), progress=False),
            InputError,
            "needs 2 time steps",
        ),
        (
            lambda d: pretrain(
                tiny(), d, options_of(LoopOptions(batch=1), pair="barlow"), progress=False
            ),
            InputError,
            "batch 1",
        ),
        (lambda d: linear_probe(tiny(classes=9), d, d), InputError, "10 classes"),
        (lambda d: LoopOptions(epochs=0), InputError, "epochs 0"),
        (lambda d: LoopOptions(weight_decay=float("inf")), InputError, "weight_decay inf"),
        (lambda d: LoopOptions(warmup_steps=-1), InputError, "warmup_steps -1"),
        (lambda d: linear_probe(tiny(), d, replace(d, y=None)), InputError, "no labels"),
        (
            lambda d: train_supervised(create("if_mlp_digits"), bright(d), d),
            InputError,
            "the rate code of if_mlp_digits needs 0 to 1",
        ),
        (
            lambda d: train_supervised(create("if_mlp_digits"), d, bright(d)),
            InputError,
            "the rate code of if_mlp_digits needs 0 to 1",
        ),
        (lambda d: options_of(time_augmentation="jiter"), UnknownNameError, "mean jitter"),
        (lambda d: SupervisedOptions(views="gray"), UnknownNameError, "grey"),
        (lambda d: pretrain(tiny(), bright(d), options_of()), InputError, "divide them by 255"),
        (
            lambda d: pretrain(
                tiny(), bright(d), options_of(views="none", time_augmentation="jitter")
            ),
            InputError,
            "time augmentation jitter needs 0 to 1",
        ),
        (
            lambda d: train_supervised(tiny(), bright(d), d, SupervisedOptions(views="shift")),
            InputError,
            "values 0 to 255, the distortion shift needs 0 to 1",
        ),
        (lambda d: LoopOptions(lr=0.0), InputError, "lr 0.0"),
    ],
)
def test_bad_requests_are_one_line(digits, call, error, text):
    with pytest.raises(error, match=text) as caught:
        call(digits[0])
    assert "\n" not in str(caught.value)


def test_reestimation_weights_a_batch_by_its_samples(digits):
    """Of pictures all alike but the last two, those two count as two."""
    alike = np.repeat(digits[0].x[:1], 64, 0)
    other = np.concatenate([alike, digits[0].x[1:3]])
    model = create("spiking_resnet_digits", seed=0)
    reestimate_batchnorm(model, Dataset(other, None, "other", "train"), 1, batch=64)
    expected = model.conv1(torch.from_numpy(other)[None]).mean((0, 1, 3, 4))
    assert torch.allclose(model.get_buffer("bn1.running_mean"), expected, atol=1e-4)
