"""Fit: each limit of each chip with a network that keeps it and one that breaks it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.export.ir import (
    Add,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    InputError,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool,
)
from spikewright.hw_targets.event_calibration import KEY
from spikewright.hw_targets.fit import check
from spikewright.hw_targets.map_crossbar import axons_of
from spikewright.hw_targets.mapping import Layer
from spikewright.hw_targets.shift import fold_shifts
from spikewright.hw_targets.target import Constant, load_target, shipped
from spikewright.sim.reference import Reference

from .limits import (
    CASES,
    MET,
    STRUCTURE,
    broken,
    cases,
    chain,
    deep,
    delayed,
    entering,
    maps,
    neuron,
    one,
    two,
    valued,
)
from .networks import analog, dense

LOIHI = load_target("loihi1")


def wide(inputs: int, units: int) -> Graph:
    """One sparse-looking layer of this size (weights of 2 bits)."""
    weight = np.ones((units, inputs), np.int8)
    neuron = Neuron((units,), np.int32(6400), state_shift=6, state_bits=24)
    nodes = {
        "in": Input((inputs,), "spikes", low=0, high=1),
        "fc": Linear(weight, bits=2),
        "n": neuron,
        "out": Output("spike_count"),
    }
    return Graph.chain(nodes, "integer")


@pytest.mark.parametrize("name", shipped())
def test_each_limit_of_each_chip_is_kept_and_broken_by_name(name: str) -> None:
    target = load_target(name)
    seen = set(STRUCTURE) | set(MET)
    for case in cases(target):
        seen.add(case.limit)
        assert case.limit not in broken(case.kept, target), case.limit
        violation = broken(case.broken, target)[case.limit]
        assert violation.layer and violation.allowed and violation.found and violation.remedy
    # A single core cannot be exceeded; every decay of the graph has 12 bits.
    assert set(target.limits) - seen <= {"cores", "decay_bits"}


def test_coarser_decays_are_refused() -> None:
    eight = Constant("decay_bits", 8, "bits", "a test", "measured")
    target = replace(LOIHI, limits={"decay_bits": eight})
    kept, wrong = CASES["decay_bits"](target, 8)
    assert "decay_bits" not in broken(kept, target) and "decay_bits" in broken(wrong, target)


def test_truenorth_replicates_axons_and_copies_neurons() -> None:
    """4-bit weights take 4 axons an input; 300 readers stand on 2 cores: 8 copies a neuron."""
    target = load_target("truenorth")
    rng = np.random.default_rng(0)
    nodes = dict(two(target, 4, 8, 300).nodes)
    head = Linear(rng.integers(-8, 8, (300, 8)).astype(np.int8), bits=4)
    found = check(Graph.chain({**nodes, "head": head}, "integer"), target)
    assert found.fits and found.cores == 3
    assert found.per_core_max == {"axons_per_core": 32, "neurons_per_core": 150}
    assert "axons into n replicated 4 times, one a bit of the weights" in found.rewrites
    assert "neurons of h copied up to 8 times" in found.rewrites


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-8, 7), min_size=1, max_size=6))
def test_axon_types_can_make_the_weights(values: list[int]) -> None:
    """Every weight is a sum of some of `types` signed values, which the axons' types choose."""
    graph = valued(load_target("truenorth"), values)
    layer = Layer("n", ("fc",), 1, 0, 0, 1, False)
    types = axons_of(graph, layer).types
    wanted = {v for v in values if v}
    choices = set(range(-8, 8)) - {0}
    assert not wanted or any(
        wanted <= {sum(part) for n in range(types + 1) for part in combinations(chosen, n)}
        for chosen in combinations(choices, types)
    )


def branches(shift: int, top: int) -> Graph:
    """Two currents that meet, one shifted left."""
    rng = np.random.default_rng(0)
    one, two_ = (rng.integers(-top, top + 1, (4, 6)).astype(np.int8) for _ in range(2))
    nodes: dict[str, Node] = {
        "in": Input((6,), "spikes", low=0, high=1),
        "a": Linear(one, bits=4),
        "b": Linear(two_, bits=4, weight_shift=shift),
        "sum": Add(),
        "n": neuron(load_target("odin"), (4,), v_threshold=np.int32(3)),
        "out": Output("spike_count"),
    }
    edges = [("in", "a"), ("in", "b"), ("a", "sum", 0), ("b", "sum", 1), ("sum", "n"), ("n", "out")]
    return Graph(nodes, edges, "integer")  # type: ignore[arg-type]


def test_shifts_fold_into_the_weights_and_keep_the_integers() -> None:
    """ODIN has no exponent beside a weight: codes up to 2, shifted by 1, are codes up to 4."""
    odin = load_target("odin")
    graph = branches(1, 2)
    assert "weight_bits" not in broken(graph, odin)
    folded = fold_shifts(graph, odin)
    x = np.random.default_rng(1).integers(0, 2, (20, 3, 6))
    one, two_ = (Reference().prepare(g).run(x) for g in (graph, folded))
    assert one.neurons["n"].spikes.any()
    assert np.array_equal(one.neurons["n"].spikes, two_.neurons["n"].spikes)
    assert np.array_equal(one.neurons["n"].v, two_.neurons["n"].v)
    shifts = [n.weight_shift for n in folded.nodes.values() if isinstance(n, Linear)]
    assert shifts == [0, 0] and fold_shifts(graph, LOIHI) is graph
    wide = branches(3, 7)
    assert broken(fold_shifts(wide, odin), odin)["weight_bits"].found == "7"


def test_truenorth_counts_the_values_of_all_branches() -> None:
    """4-bit codes beside 4-bit codes shifted by 2 are 6 bits: more than four values a neuron."""
    found = broken(branches(2, 7), load_target("truenorth"))
    assert found["weight_values_per_neuron"].found == "6"
    assert "weight_values_per_neuron" not in broken(branches(0, 7), load_target("truenorth"))


def test_speck_splits_a_layer_that_no_core_holds() -> None:
    """128 Ki words of neurons: two cores of 64 Ki, and two destinations of the layer before."""
    target = load_target("speck2f")
    found = check(maps(target, (16, 64, 64), 32, 3, padding=(1, 1)), target)
    assert found.fits and found.cores == 2
    assert found.rewrites == ("n split by channel over 2 cores",)


def test_speck_pads_alike_so_an_even_kernel_gets_zeros() -> None:
    """2 x 2 taps become 3 x 3, of which 16 words are reserved: 2 inputs, 4 outputs, 2 * 4 * 16."""
    target = load_target("speck2f")
    found = check(maps(target, (2, 8, 8), 4, 2, padding=(0, 0), padding_end=(1, 1)), target)
    assert found.fits and found.per_core_max["kernel_words"] == 2 * 4 * 16
    assert "conv padded alike at both ends: kernel (2, 2) with zeros is (3, 3)" in found.rewrites


def test_a_core_that_sees_fewer_places_needs_fewer_axons() -> None:
    """A map of 16 x 16 x 32 sources: each core of a split by place reads some rows of it."""
    found = check(maps(LOIHI, (32, 16, 16), 8, 3, padding=(1, 1)), LOIHI)
    assert found.fits and found.cores > 1
    assert 32 * 16 * 16 > 4096 >= found.per_core_max["input_axons_per_core"]


def test_weight_bits_are_checked_on_loihi2() -> None:
    target = load_target("loihi2")
    assert check(dense(bits=8), target).fits
    nine = dense().map_nodes(
        lambda _, node: Linear(node.weight, bits=9) if isinstance(node, Linear) else node
    )
    assert {v.limit for v in check(nine, target).violations} == {"weight_bits"}


def test_a_layer_is_split_over_cores() -> None:
    found = check(wide(64, 2500), LOIHI)
    layer = next(layer for layer in found.layers if layer.name == "n")
    assert layer.cores == 3 and found.per_core_max["neurons_per_core"] == 834
    # 4096 x 1024 synapses of 2 bits: 131,072 words of 64 bits, 16,384 a core.
    full = check(wide(4096, 1024), LOIHI)
    assert full.layers[0].cores == 8 and full.per_core_max["synapse_words_per_core"] == 16_384


def test_an_analog_layer_is_the_hosts() -> None:
    found = check(analog(), LOIHI)
    assert found.host == ("n",) and found.fits
    assert check(analog(), load_target("loihi2")).host == ()


def test_a_float_graph_is_refused() -> None:
    nodes = {"in": Input((2,)), "fc": Linear(np.eye(2)), "out": Output()}
    with pytest.raises(InputError, match="lower it"):
        check(Graph.chain(nodes, "folded"), LOIHI)


def both_ways(target: str, weight: int) -> Graph:
    """Two branches of one input into one layer: each pair has two synapses of `weight`."""
    fc = Linear(np.full((4, 4), weight, np.int8), bits=4)
    nodes: dict[str, Node] = {
        "in": Input((4,), "spikes", low=0, high=1),
        "a": fc,
        "b": fc,
        "sum": Add(),
        "n": neuron(load_target(target), (4,)),
        "out": Output("spike_count"),
    }
    edges = [("in", "a"), ("in", "b"), ("a", "sum", 0), ("b", "sum", 1), ("sum", "n"), ("n", "out")]
    return Graph(nodes, edges, "integer")  # type: ignore[arg-type]


def test_a_queue_that_no_run_has_seen_is_not_known_to_fit() -> None:
    """Only lowering for the chip runs events; what it saw is kept in the metadata."""
    odin, graph = load_target("odin"), both_ways("odin", 3)
    found = check(graph, odin)
    assert found.fits is None and found.violations == ()
    assert found.to_json()["fits"] is None and "queue_events" in found.to_json()["unknown"][0]
    assert str(found).startswith("odin: not known whether it fits")
    for longest, fits in ((128, True), (129, False)):
        seen = graph.replace(metadata={KEY: {"longest_queue": longest}})
        assert check(seen, odin).fits is fits


def test_parallel_synapses_of_a_pair_are_one_on_a_crossbar() -> None:
    """7 + 7 = 14 is no 4-bit weight, nor a sum of four axon types; 3 + 3 is both."""
    odin, truenorth = load_target("odin"), load_target("truenorth")
    assert broken(both_ways("odin", 7), odin)["weight_bits"].found == "5"
    assert check(both_ways("odin", 3), odin).violations == ()
    # 14 for every pair is one value of each neuron.
    assert check(both_ways("truenorth", 7), truenorth).per_core_max["axons_per_core"] == 4
    # Sums of 5 bits: each branch has axons of its own, 4 types each.
    assert check(branches(0, 7), truenorth).per_core_max["axons_per_core"] == 6 * 4 * 2
    pool = SumPool((3, 3), (1, 1), (0, 0))
    conv = Conv2d(np.full((1, 1, 3, 3), 7, np.int8), bits=4)
    nodes: dict[str, Node] = {"in": Input((1, 6, 6), "spikes", low=0, high=1), "pool": pool}
    nodes |= {"conv": conv, "n": neuron(odin, (1, 2, 2)), "out": Output("spike_count")}
    # The source in the middle is in 9 windows of each neuron: its synapse is 63.
    assert broken(Graph.chain(nodes, "integer"), odin)["weight_bits"].found == "7"


def recurrent(target: str, units: int, weight: Linear, head: int = 0) -> Graph:
    """A layer that feeds itself, and perhaps a head."""
    form = load_target(target)
    nodes: dict[str, Node] = {
        "in": Input((weight.weight.shape[1],), "spikes", low=0, high=1),
        "fc": weight,
        "sum": Add(),
        "n": neuron(form, (units,)),
        "d": Delay((units,), 1),
        "back": Linear(np.resize(weight.weight, (units, units)), bits=weight.bits),
        "out": Output("spike_count"),
    }
    edges = [("in", "fc"), ("fc", "sum", 0), ("back", "sum", 1), ("sum", "n"), ("n", "d")]
    edges.append(("d", "back"))
    if head:
        nodes["head"] = Linear(np.ones((head, units), np.int8), bits=2)
        nodes["m"] = neuron(form, (head,))
        edges += [("n", "head"), ("head", "m"), ("m", "out")]
    else:
        edges.append(("n", "out"))
    return Graph(nodes, edges, "integer")  # type: ignore[arg-type]


def test_truenorth_copies_neurons_for_their_own_loop() -> None:
    """30 neurons of 4-bit weights into themselves: 4 axons, so 4 copies each."""
    target = load_target("truenorth")
    four = Linear(np.random.default_rng(0).integers(-7, 8, (30, 30)).astype(np.int8), bits=4)
    assert check(recurrent("truenorth", 30, four), target).per_core_max["neurons_per_core"] == 120
    # 150 neurons, once for the loop and once for the head: 300 columns on more than one crossbar.
    two_ = Linear(np.ones((150, 100), np.int8), bits=2)
    found = check(recurrent("truenorth", 150, two_, 10), target)
    layer = next(layer for layer in found.layers if layer.name == "n")
    columns = found.per_core_max["neurons_per_core"]
    assert not found.fits or (layer.cores > 1 and columns <= 256)


def test_a_pool_before_the_weights_takes_synaptic_memory() -> None:
    """Each of 64 x 64 sources has a synapse to each of 1,024 neurons: 32 cores of 16,384 words."""
    nodes: dict[str, Node] = {
        "in": Input((1, 64, 64), "spikes", low=0, high=1),
        "pool": SumPool((8, 8), (8, 8), (0, 0)),
        "flat": Flatten(),
        "fc": Linear(np.ones((1024, 64), np.int8), bits=8),
        "n": neuron(LOIHI, (1024,)),
        "out": Output("spike_count"),
    }
    found = check(Graph.chain(nodes, "integer"), LOIHI)
    assert found.layers[0].synapses == 64 * 64 * 1024 and found.cores == 32


def test_factors_and_plain_additions_are_synapses() -> None:
    """A residual branch of 64 neurons through a factor of 5 takes 64 synapses of 4 bits."""
    target = load_target("loihi2")
    nodes: dict[str, Node] = {
        "in": Input((64,), "spikes", low=0, high=1),
        "f": Linear(np.ones((64, 64), np.int8), bits=8),
        "a": neuron(target, (64,)),
        "g": Linear(np.ones((64, 64), np.int8), bits=8),
        "s": Scale(np.array(5, np.int32)),
        "sum": Add(),
        "b": neuron(target, (64,)),
        "out": Output("spike_count"),
    }
    edges = [("in", "f"), ("f", "a"), ("a", "g"), ("g", "sum", 0), ("a", "s"), ("s", "sum", 1)]
    graph = Graph(nodes, [*edges, ("sum", "b"), ("b", "out")], "integer")  # type: ignore[list-item]
    layer = check(graph, target).layers[1]
    assert (layer.synapses, layer.synapse_bits) == (64 * 64 + 64, 64 * 64 * 8 + 64 * 4)


def test_frames_of_zeros_and_ones_are_spikes() -> None:
    assert check(entering(LOIHI, "frames", 0, 1), LOIHI).fits
    assert broken(entering(LOIHI, "frames", 0, 15), LOIHI)["input_spikes_per_step"].found == "15"
    akida = load_target("akd1000")
    assert broken(entering(akida, "frames", 0, 200), akida)["input_spikes_per_step"].allowed == "15"


def test_a_chip_without_delays_refuses_them() -> None:
    for name, steps in (("odin", 1), ("xylo-a2", 2), ("truenorth", 16)):
        target = load_target(name)
        assert {"node kind", "delay_steps"} & set(broken(delayed(target, steps), target)), name
    assert check(delayed(load_target("xylo-a2"), 1), load_target("xylo-a2")).fits


def test_speck_counts_the_input_as_a_sender_and_sees_pools_behind_other_nodes() -> None:
    target = load_target("speck2f")
    wide = maps(target, (1, 32, 32), 200)
    assert broken(wide, target)["destinations"].layer == "in"
    big = {
        "in": Input((1, 256, 256), "spikes", low=0, high=1),
        "p": SumPool((2, 2), (2, 2), (0, 0)),
    }
    conv = Conv2d(np.ones((2, 1, 3, 3), np.int8), stride=(2, 2), padding=(1, 1), bits=8)
    graph = chain({**big, "c": conv, "n": neuron(target, (2, 64, 64))})
    assert broken(graph, target)["input_size"].found == "256"
    one_ = Conv2d(np.ones((2, 1, 1, 1), np.int8), bits=8)
    nodes: dict[str, Node] = {"in": Input((1, 8, 8), "spikes", low=0, high=1), "a": one_, "b": one_}
    nodes |= {"s": Add(), "p": SumPool((2, 2), (2, 2), (0, 0)), "n": neuron(target, (2, 4, 4))}
    edges = [("in", "a"), ("in", "b"), ("a", "s", 0), ("b", "s", 1), ("s", "p"), ("p", "n")]
    found = check(
        Graph({**nodes, "out": Output("spike_count")}, [*edges, ("n", "out")], "integer"),  # type: ignore[list-item]
        target,
    )
    assert "p" in {v.layer for v in found.violations if v.limit == "order"}


def test_a_budget_of_real_time_is_no_limit() -> None:
    target = load_target("spinnaker1")
    found = check(wide(2000, 4), target)
    assert found.fits and found.to_json()["violations"] == []
    assert {v.limit for v in found.budgets} == {"input_axons_per_core"} and "over budget" in str(
        found
    )


def test_more_layers_than_cores_are_told_to_be_fewer() -> None:
    assert "use fewer layers" in broken(deep(LOIHI, 129), LOIHI)["cores"].remedy
    assert "alone takes" in broken(one(LOIHI, 1024 * 129, 1), LOIHI)["cores"].remedy
