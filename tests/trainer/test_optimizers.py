"""Optimisers and averages by their equations; accumulation equals one large batch."""

import pytest
import torch
from torch import nn

from spikewright.export.ir.errors import InputError, UnknownNameError
from spikewright.trainer.average import Average
from spikewright.trainer.loop import LoopOptions, fit
from spikewright.trainer.optimizers import LARS, OPTIMIZERS, create_optimizer


def linear(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(4, 3)


def fitted(**options):
    module, x = linear(), torch.randn(24, 4, generator=torch.Generator().manual_seed(1))

    def loss(module, indices, one):
        return module(x[indices]).square().mean()

    generator = torch.Generator().manual_seed(2)
    loop = LoopOptions(**{"epochs": 2, "lr": 0.1, "warmup_steps": 0, **options})
    return module, fit(module, loss, 24, loop, generator, progress=False)


def test_lars_takes_the_published_step():
    module = linear()
    optimizer = create_optimizer("lars", module, 0.5, 0.1)
    before = [p.detach().clone() for p in module.parameters()]
    velocity = [torch.zeros_like(p) for p in before]
    for step in range(2):
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, 0.3 + step)
        optimizer.step()
        for k, w in enumerate(before):
            d = torch.full_like(w, 0.3 + step)
            rate = 0.5
            if w.ndim > 1:
                d = d + 0.1 * w
                rate *= 1e-3 * float(w.norm() / d.norm())
            velocity[k] = 0.9 * velocity[k] + rate * d
            before[k] = w - velocity[k]
    for expected, found in zip(before, module.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    assert isinstance(optimizer, LARS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name):
    lr = 0.5 if name == "lars" else 0.1
    _, record = fitted(optimizer=name, batch=8, epochs=6, lr=lr)
    assert record.losses[-1] < record.losses[0]


def test_accumulated_passes_make_the_step_of_one_large_batch():
    (a, one), (b, two) = fitted(batch=12), fitted(batch=6, accumulate=2)
    torch.testing.assert_close(a.weight, b.weight)
    assert one.steps == two.steps == 4
    torch.testing.assert_close(torch.tensor(one.losses), torch.tensor(two.losses))


def test_the_average_follows_its_equation():
    module = linear()
    average, expected = Average(module, 0.5), module.weight.detach().clone()
    for step in range(1, 9):
        with torch.no_grad():
            module.weight.add_(step)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    average.copy_to_module()
    torch.testing.assert_close(module.weight.detach(), expected)


def test_the_module_ends_with_its_average():
    (plain, _), (averaged, _) = fitted(), fitted(ema=0.9)
    assert not torch.equal(plain.weight, averaged.weight)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"optimizer": "adam"}, UnknownNameError, "did you mean adamw"),
        ({"precision": "bf16"}, UnknownNameError, "did you mean bf16-mixed"),
        ({"accumulate": 0}, InputError, "accumulate 0"),
        ({"clip": 0.0}, InputError, "clip 0.0"),
        ({"ema": 1.0}, InputError, "ema 1.0"),
        ({"weight_decay": -1.0}, InputError, "weight_decay -1.0"),
    ],
)
def test_bad_options_are_one_line(options, error, text):
    with pytest.raises(error, match=text) as caught:
        LoopOptions(**options)
    assert "\n" not in str(caught.value)
