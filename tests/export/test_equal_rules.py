"""Equal rules of neurons: folding takes the plainest, and emits the same spikes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from spikewright.export.fold import fold
from spikewright.export.ir import (
    PROFILES,
    Calibration,
    Graph,
    Input,
    Linear,
    LoweringError,
    Neuron,
    Output,
    check,
)
from spikewright.export.ir.arith import DECAY_ONE
from spikewright.export.ir.equal_rules import plainest
from spikewright.export.quantise import quantise
from spikewright.export.quantise_state import neuron_problems
from spikewright.sim.reference import Reference

STEPS, SAMPLES, UNITS = 40, 6, 8


def alone(node: Neuron, level: str = "float") -> Graph:
    """Currents -> Neuron; multiples of 1/8, so that float32 sums are exact."""
    weight = np.random.default_rng(1).integers(-10, 15, (UNITS, UNITS))
    held = weight.astype(np.int8) if level == "integer" else weight.astype(np.float32) / 8
    bounds = {"low": 0, "high": 3} if level == "integer" else {}
    nodes = {
        "in": Input((UNITS,), "spikes", **bounds),
        "w": Linear(held),
        "n": node,
        "out": Output("none"),
    }
    return Graph.chain(nodes, level)  # type: ignore[arg-type]


def spiking(graph: Graph, x: np.ndarray) -> np.ndarray:
    return Reference().prepare(graph).run(x).neurons["n"].spikes


def given(kind: type = np.float32) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 4, (STEPS, SAMPLES, UNITS)).astype(kind)


def neuron(**fields: object) -> Neuron:
    plain = {"v_threshold": np.array(2.5), "beta": np.ones(()), "reset": "soft_after_decay"}
    return Neuron((UNITS,), **{**plain, **fields})  # type: ignore[arg-type]


OPTIONS = {
    "plain": {},
    "biased": {"bias": np.full(UNITS, 0.125), "v_init": np.array(0.75)},
    "clamped": {"v_min": np.array(-1.0)},
    "several spikes": {"max_spikes_per_step": 5, "compare": ">="},
    "current": {"alpha": np.array(0.5), "bias_in": np.array(0.25)},
    "each": {"v_threshold": np.arange(UNITS) / 4 + 1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_without_a_leak_subtraction_is_one_rule(name: str) -> None:
    """The same spikes; v differs where a neuron fired, by what is subtracted there."""
    graph = alone(neuron(**OPTIONS[name]))
    folded = fold(graph)
    assert folded.neurons["n"].reset == "soft"
    x = given()
    one, two = (Reference().prepare(g).run(x).neurons["n"] for g in (graph, folded))
    assert 0.02 < np.mean(one.spikes != 0) < 0.98
    np.testing.assert_array_equal(one.spikes, two.spikes)
    if name != "current":  # a current halves until float32 rounds
        assert two.v is not None and one.v is not None
        due = one.v - one.spikes * graph.neurons["n"].v_threshold.astype(np.float32)
        np.testing.assert_array_equal(two.v, due)


@pytest.mark.parametrize("option", [{}, {"v_min": np.int32(-90)}, {"max_spikes_per_step": 3}])
def test_saturated_integers_agree_too(option: dict) -> None:
    """8 bits of state, which every neuron leaves again and again."""
    fields = {"v_threshold": np.int32(40), "beta": None, "state_bits": 8, **option}
    graph = alone(neuron(**fields), "integer")
    plain = graph.map_nodes(lambda _, n: plainest(n) if isinstance(n, Neuron) else n)
    assert plain.neurons["n"].reset == "soft"
    x = given(np.int64)
    one, two = (Reference().prepare(g).run(x).neurons["n"] for g in (graph, plain))
    assert one.v is not None and (np.abs(one.v) == 127).any() and one.spikes.any()
    np.testing.assert_array_equal(one.spikes, two.spikes)


KEPT = {
    "a decay": {"beta": np.array(0.5)},
    "a decay of one": {"beta": np.r_[np.ones(UNITS - 1), 0.5]},
    "a constant leak": {"leak_subtract": np.array(1.0)},
    "a refractory time": {"refractory_steps": 2},
    "no memory but of spikes": {"beta": np.zeros(())},
}


@pytest.mark.parametrize("name", KEPT)
def test_rules_that_differ_are_kept(name: str) -> None:
    node = neuron(**KEPT[name])
    assert plainest(node).reset == "soft_after_decay"
    x, graph = given(), alone(node)
    other = graph.replace({**graph.nodes, "n": replace(node, reset="soft")})
    assert (spiking(graph, x) != spiking(other, x)).any(), "they are no different rules"


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_neuron_without_memory_shows_no_reset(reset: str) -> None:
    start = {"v_reset": np.array(1.5), "v_init": np.array(9.0)}
    graph = alone(neuron(beta=np.zeros(()), reset=reset, **start))
    folded = fold(graph).neurons["n"]
    assert folded.reset == "hard" and not folded.v_reset.any() and not folded.v_init.any()
    x = given()
    np.testing.assert_array_equal(spiking(graph, x), spiking(fold(graph), x))
    for name in ("xylo", "akd1000"):  # one subtracts, the other resets
        assert not list(neuron_problems("n", graph.neurons["n"], PROFILES[name]))


def test_a_current_without_memory_is_none() -> None:
    node = neuron(alpha=np.zeros(()), bias_in=np.array(0.5), bias=np.array(-0.25), reset="hard")
    graph = alone(node)
    folded = fold(graph).neurons["n"]
    assert not folded.current_based and folded.bias_in is None and folded.bias == 0.25
    x = given()
    np.testing.assert_array_equal(spiking(graph, x), spiking(fold(graph), x))


def test_what_a_rule_does_not_read_is_not_there() -> None:
    """v_reset of a soft reset, a leak of 0: chips that have no such thing are not asked for it."""
    node = neuron(reset="soft", v_reset=np.array(1.0), leak_subtract=np.zeros(()))
    folded = fold(alone(node)).neurons["n"]
    assert not folded.v_reset.any() and folded.leak_subtract is None
    assert not list(neuron_problems("n", node, PROFILES["speck2f"]))
    kept = plainest(replace(node, reset="hard"))
    assert kept.v_reset == 1


def lowered(profile: str, **fields: object) -> Graph:
    graph = fold(alone(neuron(**fields)))
    return check(quantise(graph, PROFILES[profile], Calibration(3.0)))


SUBTRACT = {"generic", "speck2f", "truenorth", "xylo"}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_number_format_takes_it_or_names_what_it_has(profile: str) -> None:
    """Those that subtract take snntorch's rule without a leak; no remedy leads to a refusal."""
    if profile in SUBTRACT:
        assert lowered(profile).neurons["n"].reset == "soft"
        return
    with pytest.raises(LoweringError) as caught:
        lowered(profile)
    assert "retrain with reset hard" in str(caught.value) or "tau = 1" in str(caught.value)
    hard = {"reset": "hard", "beta": np.zeros(()) if profile == "akd1000" else np.ones(())}
    assert lowered(profile, **hard).neurons["n"].reset == "hard"


@pytest.mark.parametrize("profile", ["speck2f", "truenorth", "xylo"])
def test_the_remedy_of_a_leak_leads_to_a_rule_that_is_taken(profile: str) -> None:
    with pytest.raises(LoweringError, match=r"train without a leak \(beta = 1\)"):
        lowered(profile, beta=np.array(0.5))
    assert lowered(profile, beta=np.ones(())).neurons["n"].reset == "soft"


def test_folded_files_of_before_are_taken_too() -> None:
    graph = fold(alone(neuron()))
    old = graph.replace({**graph.nodes, "n": replace(graph.neurons["n"], reset="soft_after_decay")})
    found = quantise(old, PROFILES["truenorth"], Calibration(3.0))
    assert found.neurons["n"].reset == "soft"


def test_integers_that_forget_have_no_reset_either() -> None:
    fields = {"v_threshold": np.int32(9), "beta": None, "dv": np.int32(DECAY_ONE)}
    for reset, start in product(("hard", "soft"), (0, 60)):
        node = neuron(**fields, reset=reset, v_reset=np.int32(5), v_init=np.int32(start))
        graph, x = alone(node, "integer"), given(np.int64)
        plain = graph.map_nodes(lambda _, n: plainest(n) if isinstance(n, Neuron) else n)
        np.testing.assert_array_equal(spiking(graph, x), spiking(plain, x))


def test_snntorchs_integrate_and_fire_reaches_the_chips_that_subtract() -> None:
    torch = pytest.importorskip("torch")
    snntorch = pytest.importorskip("snntorch")
    import spikewright as sw

    torch.manual_seed(0)
    leaky = snntorch.Leaky(beta=1.0, reset_mechanism="subtract", init_hidden=True)
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, bias=False), leaky)
    x = (torch.rand(2, 4, 2, 6, 6) > 0.5).float()
    for target in ("speck2f", "xylo-a3", "truenorth"):
        graph = sw.lower(
            net, x[:1, 0], target=target, encoding="spikes", time_steps=4, calibrate=x.numpy()
        )
        assert {n.reset for n in graph.neurons.values()} == {"soft"}
        limits = {v.limit for v in sw.check(graph, target).violations}
        assert not limits & {"resets", "neuron_options", "leaks", "biases"}
