"""Comparison with a quantised ANN, published rows of arithmetic, and NeuroBench's metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from spikewright.export.ir import (
    Add,
    Graph,
    Input,
    InputError,
    Linear,
    Neuron,
    Node,
    Output,
    UnknownNameError,
)
from spikewright.hw_targets.compare import activation_bits, compare
from spikewright.hw_targets.cost_operations import Conventions
from spikewright.hw_targets.neurobench import NeuroBench, effective_operations
from spikewright.hw_targets.target import load_target
from spikewright.sim.counters import Counters, count
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference

from .networks import analog, counted, dense

GENERIC = load_target("generic-45nm")
SAMPLES, STEPS = 3, 5


def run(graph: Graph) -> Counters:
    x = np.random.default_rng(0).random((SAMPLES, 6), dtype=np.float32)
    return count(Reference().prepare(graph).run(encode(graph, x, STEPS)))


@pytest.mark.parametrize(("steps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_the_ann_has_as_many_bits_as_counts_need(steps: int, bits: int) -> None:
    assert activation_bits(steps) == bits


def test_compute_and_memory_by_hand() -> None:
    """6 -> 4 -> 2: 24 MACs of the frame once, then SOPs; the ANN has 32 dense MACs."""
    graph = analog()
    counters = run(graph)
    found = compare(graph, counters, GENERIC)
    sops = counters.total("sops") / SAMPLES
    methods = {m.name: m for m in found.methods}
    assert found.ann_macs == 32 and found.activation_bits == 3 and sops > 0
    assert methods["fp32"].snn_uj == pytest.approx((24 * 4.6 + sops * 0.9) * 1e-6)
    assert methods["fp32"].ann_uj == pytest.approx(32 * 4.6e-6)
    dram = 32 * 243.75
    # The frame's 8-bit values, the sums of the first layer kept, and a bit a spike.
    entry = 24 * (1.48 + 5 * 8 / 32) + 4 * (5 + STEPS * 5) + 4 * STEPS * 10 / 32
    layer = entry + sops * 1.28 + 4 * STEPS * 10 + dram
    event = entry + sops * 11.28 + 4 * STEPS * 10 + dram  # the first layer moves every step
    ann = 32 * 1.48 + 24 * 5 * 8 / 32 + 8 * 5 * 3 / 32 + 4 * 5 * 3 / 32 + dram
    assert methods["int8-memory/layer"].snn_uj == pytest.approx(layer * 1e-6)
    assert methods["int8-memory/event"].snn_uj == pytest.approx(event * 1e-6)
    assert methods["int8-memory/layer"].ann_uj == pytest.approx(ann * 1e-6)
    assert all(m.constants for m in found.methods)


def test_at_the_break_even_rate_both_cost_the_same() -> None:
    graph = analog()
    counters = run(graph)
    method = compare(graph, counters, GENERIC, method="int32").chosen
    rate = counters.totals()["spike_rate"]
    spiking = counters.total("sops") / SAMPLES * 0.1e-6
    fixed = method.snn_uj - spiking
    assert method.break_even_spike_rate is not None
    scaled = fixed + spiking * method.break_even_spike_rate / rate
    assert scaled == pytest.approx(method.ann_uj)


def test_the_verdict_is_one_sentence_that_takes_sides() -> None:
    graph = analog()
    counters = run(graph)
    won = compare(graph, counters, GENERIC, method="int32")
    lost = compare(graph, counters, GENERIC, method="int8-memory/layer")
    assert "the SNN needs" in won.verdict and "the ANN needs" in lost.verdict
    assert "no spike rate would turn that" in lost.verdict
    assert won.verdict.count(".") - won.verdict.count("0.") >= 1 and "\n" not in won.verdict
    with pytest.raises(UnknownNameError, match="did you mean int8"):
        compare(graph, counters, GENERIC, method="int9")


def test_a_network_without_spiking_inputs_has_no_break_even() -> None:
    fc = Linear(np.ones((2, 6), np.int8), bits=8)
    nodes = {"in": Input((6,), "direct", 1 / 127, -127, 127), "fc": fc, "out": Output()}
    graph = Graph.chain(nodes, "integer")
    found = compare(graph, run(graph), GENERIC)
    assert found.chosen.break_even_spike_rate is None and "no layer but the first" in found.verdict


ROWS = {
    # OPs in G without the first convolution, its MACs in G, published mJ (arXiv 2209.15425, T. 2)
    "SEW-ResNet-34": (3.88, 0.118013952, 4.035),
    "SEW-ResNet-50": (4.83, 0.118013952, 4.890),
    "SEW-ResNet-101": (9.30, 0.118013952, 8.913),
    "SEW-ResNet-152": (13.72, 0.118013952, 12.891),
    "Spiking-ResNet-34": (65.28, 0.118013952, 59.295),
    "tdBN-ResNet-34": (6.50, 0.118013952, 6.393),
    "Spikformer-8-384": (6.82, 0.346816512, 7.734),
    "Spikformer-8-512": (11.09, 0.346816512, 11.577),
    "Spikformer-8-768": (22.09, 0.346816512, 21.477),
    # the same column, of syops-counter 0.0.5: ACs, MACs
    "sew_resnet18": (0.50, 2.75, 13.10),
    "spiking_resnet18": (0.10, 0.14, 0.734),
}


@pytest.mark.parametrize("row", ROWS)
def test_published_rows_are_arithmetic_on_the_fp32_table(row: str) -> None:
    """To the digits given: operations are rounded to 0.01 G."""
    acs, macs, published_mj = ROWS[row]
    table = GENERIC.cost("fp32")
    assert table is not None
    found = acs * table.value("ac_pj") + macs * table.value("mac_pj")
    assert found == pytest.approx(published_mj, abs=0.9 * 0.005 + 4.6 * 0.0005)


def test_neurobench_worked_example() -> None:
    weight = np.array([[1.3, 0, -3.2], [0, 1.2, -5.1], [-1.1, 2.7, 0]])
    assert effective_operations(weight, np.array([0, 1.3, -1])) == 4


def test_neurobench_metrics_of_a_run() -> None:
    """The analog layer makes MACs, the spiking one ACs; both only where nothing is 0."""
    graph = analog()
    codes = np.random.default_rng(0).integers(0, 2, (STEPS, SAMPLES, 6)) * 50
    trace = Reference().prepare(graph).run(codes)
    bench = NeuroBench(graph)
    bench(trace)
    found = bench.metrics()
    fc, head = (n.weight for n in graph.nodes.values() if isinstance(n, Linear))
    spikes = trace.neurons["n"].spikes.reshape(-1, 4)
    macs = sum(effective_operations(fc, x) for x in codes.reshape(-1, 6))
    acs = sum(effective_operations(head, s) for s in spikes)
    runs = STEPS * SAMPLES
    assert macs > 0 and acs > 0
    assert found["synaptic_operations"] == {
        "dense": 32,
        "effective_macs": macs / runs,
        "effective_acs": acs / runs,
    }
    assert found["activation_sparsity"] == pytest.approx((spikes == 0).mean())
    weights = np.concatenate([fc.reshape(-1), head.reshape(-1)])
    assert found["connection_sparsity"] == pytest.approx((weights == 0).mean())
    # 32 weights of a byte, one threshold, four potentials.
    assert found["footprint_bytes"] == 32 + 4 + 16 and found["membrane_updates"] == 4


def test_counters_join_before_they_are_compared() -> None:
    graph = dense()
    one, two = counted(graph), counted(graph)
    joined = compare(graph, one + two, GENERIC).chosen
    assert joined.snn_uj == pytest.approx(compare(graph, one, GENERIC).chosen.snn_uj)


def spiking(threshold: int, high: int = 1) -> Graph:
    """Spikes into two branches whose spikes add up (to 2), and a layer that reads the sum."""
    rng = np.random.default_rng(0)

    def weight(units: int, inputs: int) -> Linear:
        return Linear(rng.integers(-7, 8, (units, inputs)).astype(np.int8), bits=4)

    def neuron(units: int) -> Neuron:
        return Neuron((units,), np.int32(threshold))

    nodes: dict[str, Node] = {
        "in": Input((20,), "spikes", low=0, high=high),
        "a": weight(16, 20),
        "n1": neuron(16),
        "b": weight(16, 20),
        "n2": neuron(16),
        "sum": Add(),
        "c": weight(10, 16),
        "n3": neuron(10),
        "out": Output("spike_count"),
    }
    edges = [("in", "a"), ("a", "n1"), ("in", "b"), ("b", "n2"), ("n1", "sum", 0), ("n2", "sum", 1)]
    edges += [("sum", "c"), ("c", "n3"), ("n3", "out")]
    return Graph(nodes, edges, "integer")  # type: ignore[arg-type]


def of_spikes(graph: Graph) -> Counters:
    x = np.random.default_rng(0).integers(0, 2, (8, 6, 20))
    return count(Reference().prepare(graph).run(x))


@pytest.mark.parametrize("how", ["ac", "mac"])
def test_only_what_neurons_cause_grows_with_their_rate(how: Literal["ac", "mac"]) -> None:
    """At the break-even rate the layer that reads neurons is scaled, those of the input are not."""
    graph = spiking(6)
    counters = of_spikes(graph)
    conventions = Conventions(integer_inputs=how)
    method = compare(graph, counters, GENERIC, method="int32", conventions=conventions).chosen
    sops = {n: float(x.sops.sum()) / 6 for n, x in counters.layers.items()}
    rate = counters.totals()["spike_rate"]
    own = sops["c"] * (3.1 if how == "mac" else 0.1)
    given = (sops["a"] + sops["b"]) * 0.1
    assert sops["c"] > 0 and method.snn_uj == pytest.approx((given + own) * 1e-6)
    wanted = rate * (method.ann_uj * 1e6 - given) / own
    assert method.break_even_spike_rate == pytest.approx(wanted)


def test_a_network_that_never_spikes_has_no_rate_to_scale() -> None:
    found = compare(graph := spiking(10**6), of_spikes(graph), GENERIC, method="int32")
    assert found.chosen.break_even_spike_rate is None
    assert "no spike was counted" in found.verdict and "first receives" not in found.verdict


def test_leaky_neurons_move_their_potential_each_step() -> None:
    """Event dataflow: without spikes an integrate-and-fire neuron rests, a leaky one not."""
    still = spiking(10**6)
    leaky = still.map_nodes(
        lambda _, n: replace(n, dv=np.int32(1024)) if isinstance(n, Neuron) else n
    )
    one, two = (
        compare(g, of_spikes(g), GENERIC, method="int8-memory/event").chosen.snn_uj
        for g in (still, leaky)
    )
    assert two - one == pytest.approx(8 * (16 + 16 + 10) * 10 * 1e-6)


def test_the_range_of_the_constants_decides_only_together() -> None:
    """Both sides fetch the same weights: their price moves both, and turns no winner."""
    graph = analog()
    found = compare(graph, run(graph), GENERIC)
    snn, ann = found.chosen.snn_uj_range, found.chosen.ann_uj_range
    assert snn is not None and ann is not None and snn[0] < found.chosen.snn_uj < snn[1]
    assert snn[1] - snn[0] == pytest.approx(ann[1] - ann[0])
    assert not found.chosen.undecided and found.to_json()["snn_uj_range"] == list(snn)
    turned = replace(found.chosen, snn_uj_range=(1.0, 3.0), ann_uj_range=(2.0, 2.5))
    assert "undecided" in replace(found, chosen=turned).verdict


def test_an_events_table_of_the_same_name_is_no_method() -> None:
    table = replace(GENERIC.costs["int8"], model="events")
    target = replace(GENERIC, costs={"int8": table})
    graph = analog()
    with pytest.raises(InputError, match="prices no operations"):
        compare(graph, run(graph), target, method="int8")


def test_neurobench_does_not_depend_on_the_batch() -> None:
    """A value of 2 makes MACs of its own sample and step; -1 is binary, as in the package."""
    graph = spiking(6, high=2)
    x = np.random.default_rng(0).integers(0, 2, (4, 3, 20))
    x[0, 0, 0] = 2
    whole, single = NeuroBench(graph), NeuroBench(graph)
    whole(Reference().prepare(graph).run(x))
    for k in range(3):
        single(Reference().prepare(graph).run(x[:, k : k + 1]))
    assert whole.metrics() == single.metrics()
    assert whole.macs > 0 and whole.acs > 0
    signs = NeuroBench(graph.map_nodes(lambda n, v: replace(v, low=-1) if n == "in" else v))
    signed = np.where(x > 0, -1, 0)
    signs(Reference().prepare(signs.graph).run(signed))
    assert signs.acs > 0
