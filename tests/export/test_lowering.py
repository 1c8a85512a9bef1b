"""Trace, fold and quantise: the same network at every level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from spikewright.export.fold import fold
from spikewright.export.ir import (
    PROFILES,
    Add,
    AvgPool,
    BatchNorm,
    Calibration,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    LoweringError,
    Neuron,
    Output,
    Scale,
    SumPool,
)
from spikewright.export.ir.nodes import MaxPool
from spikewright.export.quantise import quantise
from spikewright.export.trace import trace
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference
from spikewright.trainer import models
from spikewright.trainer.neurons import IF, LIF

CALIBRATION = Calibration(1.0)
RULES = ["none", "sew_add", "spiking", "ms"]


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorms the statistics of a trained net, so that folding is seen."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor, low, high in (
                (layer.running_mean, -0.3, 0.3),
                (layer.running_var, 0.3, 1.0),
                (layer.weight.data, 0.6, 2.0),
                (layer.bias.data, -0.1, 0.5),
            ):
                assert tensor is not None
                tensor.uniform_(low, high, generator=generator)
    return module.eval()


def frames(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.mark.parametrize("residual", RULES)
def test_the_traced_graph_computes_what_torch_computes(residual: str) -> None:
    module = randomised(models.create("spiking_resnet_digits", residual=residual))
    x = frames(5, 1, 8, 8)
    graph = trace(module, torch.zeros(3, 2, 1, 8, 8))
    with torch.no_grad():
        expected = module(torch.from_numpy(x).expand(3, *x.shape)).cumsum(0).numpy()
    found = Reference(dtype=np.float32).prepare(graph).run(encode(graph, x, 3))
    np.testing.assert_allclose(found.output, expected, rtol=1e-4, atol=1e-4)
    assert sum(n.spikes.sum() for n in found.neurons.values()) > 100


@pytest.mark.parametrize("residual", RULES)
def test_folding_keeps_every_spike_in_float64(residual: str) -> None:
    module = randomised(models.create("spiking_resnet_digits", residual=residual)).double()
    graph = trace(module, torch.zeros(3, 2, 1, 8, 8, dtype=torch.float64))
    folded = fold(graph)
    assert not folded.of_kind(BatchNorm, AvgPool)
    x = frames(5, 1, 8, 8)
    one, two = (
        Reference(dtype=np.float64).prepare(g).run(encode(g, x, 3)) for g in (graph, folded)
    )
    for name, neuron in one.neurons.items():
        assert np.array_equal(neuron.spikes, two.neurons[name].spikes), name
    np.testing.assert_allclose(one.output, two.output, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("residual", RULES)
@pytest.mark.parametrize("rule", ["max", "percentile", "mse"])
def test_integers_follow_the_float_network(residual: str, rule: str) -> None:
    module = randomised(models.create("spiking_resnet_digits", residual=residual))
    folded = fold(trace(module, torch.zeros(4, 2, 1, 8, 8)))
    integer = quantise(folded, PROFILES["generic"], CALIBRATION, rule)  # type: ignore[arg-type]
    x = frames(16, 1, 8, 8)
    real = Reference().prepare(folded).run(encode(folded, x, 4))
    whole = Reference().prepare(integer).run(encode(integer, x, 4))
    for name, neuron in real.neurons.items():
        differ = (neuron.spikes != whole.neurons[name].spikes).mean()
        assert differ < 0.06, (name, differ)
    scaled = whole.output[-1] * integer.output.scale
    assert np.abs(scaled - real.output[-1]).mean() < 0.2 * np.abs(real.output[-1]).mean() + 0.05


@pytest.mark.parametrize("compare", [">", ">="])
def test_integer_if_neurons_differ_in_no_spike(compare: str) -> None:
    """floor/ceil thresholds: IF with hard reset on int8 weights and spikes in is exact."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-127, 128, (20, 30)) * np.float64(0.013)
    weight[:, 0] = 127 * 0.013
    graph = Graph.chain(
        {
            "in": Input((30,), "spikes"),
            "fc": Linear(weight),
            "n": Neuron((20,), np.full(20, 0.81), beta=np.float64(1), compare=compare),  # type: ignore[arg-type]
            "out": Output("spike_count"),
        },
        "folded",
    )
    integer = quantise(graph, PROFILES["generic"], Calibration(1.0))
    x = rng.integers(0, 2, (6, 40, 30))
    one, two = (
        Reference(dtype=np.float64).prepare(g).run(encode(g, x, 40)) for g in (graph, integer)
    )
    assert one.neurons["n"].spikes.sum() > 200
    assert np.array_equal(one.neurons["n"].spikes, two.neurons["n"].spikes)


def test_loihi_format_is_kept() -> None:
    module = randomised(models.create("spiking_convnet_digits"))
    graph = quantise(
        fold(trace(module, torch.zeros(4, 2, 1, 8, 8))), PROFILES["loihi2"], CALIBRATION
    )
    for node in graph.neurons.values():
        assert node.v_threshold.size == 1 and int(node.v_threshold) % 64 == 0
        assert (node.compare, node.state_bits, node.state_shift) == (">", 24, 6)
        assert node.bias is None or not (node.bias % 64).any()


def test_at_least_becomes_above_on_a_target_that_only_has_above() -> None:
    graph = Graph.chain(
        {
            "in": Input((4,), "spikes"),
            "fc": Linear(np.eye(4)),
            "n": Neuron((4,), np.float64(2), beta=np.float64(1), compare=">="),
            "out": Output("spike_count"),
        },
        "folded",
    )
    x = np.ones((1, 4, 4), np.int64)
    fired = []
    for name in ("generic", "loihi2"):
        integer = quantise(graph, PROFILES[name], Calibration(1.0))
        trace_ = Reference().prepare(integer).run(encode(integer, x, 4))
        fired.append(trace_.neurons["n"].spikes[:, 0, 0].tolist())
    assert integer.neurons["n"].compare == ">"
    assert fired == [[0, 1, 0, 1], [0, 1, 0, 1]]


def test_a_lone_identity_spike_is_added_exactly() -> None:
    """The `spiking` residual rule: 1/s need not be rounded, the unit is widened to 1/m."""
    rng = np.random.default_rng(0)
    nodes = {
        "in": Input((8, 4, 4), "spikes"),
        "conv": Conv2d(rng.normal(0, 0.1, (8, 8, 3, 3)), padding=(1, 1)),
        "add": Add(),
        "n": Neuron((8, 4, 4), np.float64(1), beta=np.float64(1), compare=">="),
        "out": Output("spike_count"),
    }
    edges = [("in", "conv"), ("conv", "add", 0), ("in", "add", 1), ("add", "n"), ("n", "out")]
    folded = Graph(nodes, edges, "folded")
    integer = quantise(folded, PROFILES["generic"], Calibration(1.0))
    factor = integer.of_kind(Scale)["add.scale1"].factor
    assert factor.dtype == np.int32 and (factor >= 16).all()
    weight = integer.of_kind(Conv2d)["conv"]
    assert np.allclose(weight.scale * factor.ravel() / 2.0**weight.weight_shift, 1)
    assert (integer.neurons["n"].v_threshold == factor).all()


def test_average_pools_add_to_spikes_by_an_integer_scale() -> None:
    """A pooled branch has the unit 1/4, so the other branch is multiplied by 4."""
    nodes = {
        "in": Input((2, 4, 4), "spikes"),
        "a": AvgPool((2, 2), (2, 2), (0, 0)),
        "b": MaxPool((2, 2), (2, 2), (0, 0)),
        "add": Add(),
        "flat": Flatten(),
        "fc": Linear(np.random.default_rng(0).normal(size=(3, 8))),
        "out": Output(),
    }
    edges = [
        ("in", "a"),
        ("in", "b"),
        ("a", "add", 0),
        ("b", "add", 1),
        ("add", "flat"),
        ("flat", "fc"),
        ("fc", "out"),
    ]
    integer = quantise(fold(Graph(nodes, edges, "float")), PROFILES["generic"], Calibration(1.0))
    assert int(integer.of_kind(Scale)["add.scale1"].factor) == 4
    assert list(integer.of_kind(SumPool)) == ["a"]


def test_recurrence_and_current_based_neurons_lower() -> None:
    rng = np.random.default_rng(0)
    neuron = Neuron(
        (12,), np.float64(0.5), beta=np.float64(0.75), alpha=np.float64(0.5), reset="soft"
    )
    nodes = {
        "in": Input((6,), "spikes"),
        "fc": Linear(rng.normal(0, 0.4, (12, 6)), rng.normal(0, 0.05, 12)),
        "back": Delay((12,)),
        "rec": Linear(rng.normal(0, 0.2, (12, 12))),
        "add": Add(),
        "n": neuron,
        "out": Output("spike_count"),
    }
    edges = [
        ("in", "fc"),
        ("fc", "add", 0),
        ("back", "rec"),
        ("rec", "add", 1),
        ("add", "n"),
        ("n", "back"),
        ("n", "out"),
    ]
    folded = Graph(nodes, edges, "folded")
    integer = quantise(folded, PROFILES["generic"], Calibration(1.0))
    x = rng.integers(0, 2, (20, 30, 6))
    one, two = (
        Reference(dtype=np.float64).prepare(g).run(encode(g, x, 30)) for g in (folded, integer)
    )
    assert 0.02 < one.neurons["n"].spikes.mean() < 0.6
    assert (one.neurons["n"].spikes != two.neurons["n"].spikes).mean() < 0.06


class Branchy(nn.Module):
    """Functions and methods instead of layers, attention included; single step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(4))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.flatten(2).transpose(1, 2))
        q, k, v = (
            f(x).reshape(x.shape[0], -1, 2, 4).permute(0, 2, 1, 3) for f in (self.q, self.k, self.v)
        )
        y = (q @ k.transpose(-2, -1)) * 0.125
        y = torch.matmul(y, v).transpose(1, 2).flatten(2)
        return self.head((x + y).mean(1))


def test_functions_and_methods_trace() -> None:
    torch.manual_seed(0)
    module = Branchy().double()
    x = torch.rand(2, 8, 3, 2, dtype=torch.float64)
    graph = trace(module, x, readout="none")
    found = Reference(dtype=np.float64).prepare(graph).run(encode(graph, x.numpy(), 1))
    np.testing.assert_allclose(found.output[0], module(x).detach().numpy(), rtol=1e-9)


class Conditional(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def one_layer(layer: nn.Module, after: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(layer, *([] if after is None else [after]))


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(2, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(3, 3, ceil_mode=True),
        nn.MaxPool2d(5, 4, 2, ceil_mode=True),
        nn.MaxPool2d(9, 9, ceil_mode=True),
        nn.AvgPool2d(9, 9, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1, divisor_override=4),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(7, 8), (8, 9)])
def test_pools_beyond_the_end_and_divisors_of_each_place_are_torchs(
    pool: nn.Module, size: tuple[int, int]
) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    graph = trace(nn.Sequential(nn.Identity(), pool), x)
    found = Reference(np.float64).prepare(graph).run(x.numpy()[None]).output[0]
    np.testing.assert_allclose(found, pool(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (one_layer(nn.Conv2d(1, 2, 3), nn.GELU()), "gelu"),
        (one_layer(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")), "padding_mode"),
        (Conditional(), "data-dependent"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_its_path(module: nn.Module, says: str) -> None:
    with pytest.raises(LoweringError) as caught:
        trace(module, torch.zeros(1, 1, 8, 8))
    assert says in str(caught.value).lower() and caught.value.node
    assert "\n" not in str(caught.value)


def test_a_layer_without_time_among_multi_step_neurons_names_its_twin() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), LIF())
    with pytest.raises(LoweringError, match=r"^0: .*layers.SeqConv2d, which folds time"):
        trace(module, torch.zeros(2, 1, 1, 8, 8))


def test_a_batch_norm_without_weights_before_it_is_refused() -> None:
    graph = trace(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.BatchNorm2d(2)),
        torch.zeros(1, 1, 8, 8),
    )
    assert fold(graph).level == "folded"
    norm = BatchNorm(np.zeros(4), np.ones(4), -np.ones(4), np.zeros(4))
    nodes = {"in": Input((4, 4, 4)), "bn": norm, "out": Output()}
    with pytest.raises(LoweringError, match="BatchNorm cannot be folded"):
        fold(Graph.chain(nodes, "float"))


def test_batch_norm_on_the_input_becomes_its_normalisation() -> None:
    norm = BatchNorm(np.array([0.2]), np.array([0.25]), np.array([1.5]), np.array([-0.3]))
    nodes = {
        "in": Input((1, 6, 6)),
        "bn": norm,
        "conv": Conv2d(np.random.default_rng(0).normal(size=(2, 1, 3, 3)), padding=(1, 1)),
        "out": Output(),
    }
    graph = Graph.chain(nodes, "float")
    x = frames(3, 1, 6, 6)
    one, two = (
        Reference(dtype=np.float64).prepare(g).run(encode(g, x, 2)) for g in (graph, fold(graph))
    )
    np.testing.assert_allclose(one.output, two.output, rtol=1e-6, atol=1e-6)


def test_a_bias_before_weights_is_refused_by_name() -> None:
    nodes = {
        "in": Input((4,), "spikes"),
        "one": Linear(np.eye(4), np.ones(4)),
        "two": Linear(np.eye(4)),
        "out": Output(),
    }
    with pytest.raises(LoweringError, match=r"two: receives a biased current; put a neuron"):
        quantise(Graph.chain(nodes, "folded"), PROFILES["generic"], CALIBRATION)


def test_decayed_input_folds_into_the_threshold() -> None:
    """v + (x - v)/tau and its folded form fire alike (tau a power of two: exactly)."""
    module = nn.Sequential(nn.Linear(10, 20), LIF(2.0, 0.3, decay_input=True)).double()
    graph = trace(module, torch.zeros(2, 1, 10, dtype=torch.float64))
    x = frames(30, 10)
    one, two = (
        Reference(dtype=np.float64).prepare(g).run(encode(g, x, 8)) for g in (graph, fold(graph))
    )
    name = next(iter(graph.neurons))
    assert 0 < one.neurons[name].spikes.mean() < 1
    assert np.array_equal(one.neurons[name].spikes, two.neurons[name].spikes)
    np.testing.assert_allclose(
        one.neurons[name].v, two.neurons[name].v * fold(graph).neurons[name].v_scale, atol=1e-12
    )


def test_names_are_source_paths() -> None:
    graph = trace(models.create("spiking_resnet_digits"), torch.zeros(2, 1, 1, 8, 8))
    assert {"conv1", "stages.0.0.conv1", "stages.1.0.add", "head"} <= set(graph.nodes)
    assert isinstance(trace(nn.Sequential(nn.Linear(3, 2), IF()), torch.zeros(1, 1, 3)), Graph)


def test_a_module_and_an_example_input_are_enough() -> None:
    """As with torch.export: without other data the example input calibrates."""
    import spikewright as sw

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), IF(0.3))
    sample = torch.rand(4, 7, 6)
    graph = sw.lower(module, sample)
    assert graph.level == "integer" and graph.input.scale == pytest.approx(
        float(sample.max()) / 127, rel=1e-6
    )
    with pytest.raises(LoweringError, match="not all zero"):
        sw.lower(module, torch.zeros(4, 7, 6))
