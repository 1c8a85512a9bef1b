"""Estimates: golden energies computed by hand from the counts."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from spikewright.export.ir import (
    Delay,
    Flatten,
    Graph,
    Input,
    InputError,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    SumPool,
    TargetError,
    UnknownNameError,
)
from spikewright.hw_targets.activity import Activity, _distances
from spikewright.hw_targets.compare import compare
from spikewright.hw_targets.cost_events import energy_pj
from spikewright.hw_targets.estimate import Conventions, estimate
from spikewright.hw_targets.mapping import map_graph
from spikewright.hw_targets.measure import measure
from spikewright.hw_targets.target import Target, load_target, shipped
from spikewright.sim.counters import count
from spikewright.sim.encode import encode
from spikewright.sim.event import EventDriven
from spikewright.sim.reference import Reference
from spikewright.sim.run import Run

from .limits import fan, neuron, two
from .networks import analog, counted, dense

SAMPLES, STEPS = 3, 5
TARGET_45NM = load_target("generic-45nm")


class Counted(NamedTuple):
    run: Run
    activity: Activity | None


def measured(graph: Graph, target: Target, samples: int = SAMPLES) -> Counted:
    x = np.random.default_rng(1).integers(0, 2, (samples, STEPS, *graph.input.shape))
    found = measure(graph, x, STEPS, target, executor_name="reference")
    return Counted(found.run, found.activity)


def lively(graph: Graph) -> Graph:
    """Return the graph with neurons that fire at the least input."""
    return graph.map_nodes(
        lambda _, n: replace(n, v_threshold=np.int32(0)) if isinstance(n, Neuron) else n
    )


def test_loihi1_davies_by_hand() -> None:
    graph, target = dense(), load_target("loihi1")
    run, activity = measured(graph, target)
    counters = run.counters
    found = estimate(graph, counters, target, activity=activity)
    sops = counters.total("sops") / SAMPLES
    fired = int(counters.layers["n"].spikes.sum()) / SAMPLES
    assert fired > 0 and found.energy_uj is not None
    steps = STEPS + 2  # two layers, a step each until the readout has all
    idle = steps * 4 - fired
    parts = {
        "synapse": sops * 23.6e-6,
        "neuron": (fired * 81 + idle * 52 + steps * 2 * 52) * 1e-6,
        "spike": 0.0,
        "packet": fired * 1.7e-6,  # n's core to the head's, on one tile
        "hop": 0.0,
    }
    for part, expected in parts.items():
        assert found.energy_uj[part] == pytest.approx(expected), part
    total = sum(parts.values())
    assert found.energy_uj["total"] == pytest.approx(total)
    assert sum(found.layers.values()) == pytest.approx(total)
    assert sum(found.steps) == pytest.approx(total) and len(found.steps) == steps
    assert found.pipeline_steps == 2 and "5 steps and 2 more" in str(found)
    assert found.static_mw == 104.4 and found.sops == pytest.approx(sops)
    assert found.energy_range_uj is None  # none is published for this table


def test_loihi1_latency_is_the_slowest_core_and_the_barrier() -> None:
    """Per sample and step: the mean of maxima, not the maximum of means."""
    graph, target = dense(), load_target("loihi1")
    run, activity = measured(graph, target)
    layer, head, first = (run.counters.layers[name] for name in ("n", "head", "fc"))
    total = 0.0
    # The layer trails by one step, the head by two; the head's synapses work as the layer sends.
    late = np.zeros((1, SAMPLES), np.int64)
    spikes, driven = (np.concatenate([late, a, late]) for a in (layer.spikes, head.sops))
    sops = np.concatenate([first.sops, late, late])
    for t in range(STEPS + 2):
        for b in range(SAMPLES):
            fired, given = spikes[t, b], sops[t, b] / 4  # 4 synapses a packet
            work = [given * 2.1 + sops[t, b] * 3.5, fired * 2.1 + driven[t, b] * 3.5]
            served = sum(work) / max(given + fired, 1)
            send = fired * 8.4 + (4 - fired) * 5.3 + (served if fired else 0)
            total += max(*work, send, 2 * 5.3) + 113
    found = estimate(graph, run.counters, target, activity=activity)
    assert found.latency_us == pytest.approx(total / SAMPLES * 1e-3)


def test_the_closed_form_of_sanafe() -> None:
    """SANA-FE 2.2.9's own run of its DVS gesture network, T = 128: counts in, energies out."""
    table = load_target("loihi1").cost("sanafe")
    assert table is not None
    counts = {
        "synops": 5_462_418,
        "packets_out": 259_191,
        "updated": 1_352_421,
        "fired": 38_250,
        "hops_ew": 1.8458e6 / 3.0,  # its hop energy is reported in one
        "hops_ns": 0,
    }
    neurons = sum((1024, 15 * 15 * 16, 13 * 13 * 32, 11 * 11 * 64, 9 * 9 * 11, 11))
    assert neurons == 18_678
    found = {k: v * 1e-6 for k, v in energy_pj(counts, neurons * 128, table).items()}
    assert found["synapse"] == pytest.approx(193.916, rel=1e-5)
    assert found["neuron"] + found["spike"] == pytest.approx(154.271, rel=1e-5)
    assert found["packet"] + found["hop"] == pytest.approx(30.616, rel=1e-4)
    assert sum(found.values()) == pytest.approx(378.803, rel=1e-5)


def test_sanafe_bills_access_updates_packets_and_hops() -> None:
    """300 neurons on one core; each spike goes to all cores of the next layer, on two tiles."""
    target = load_target("loihi1")
    graph = lively(two(target, 4, 300, 4500))
    run, activity = measured(graph, target, 1)
    assert activity is not None
    found = estimate(graph, run.counters, target, cost="sanafe", activity=activity)
    fired = activity.counts["fired"].sum()
    hidden = int(run.counters.layers["h"].spikes.sum())
    assert hidden > 0 and found.energy_uj is not None
    readers = next(x.cores for x in map_graph(graph, target).layers if x.name == "n")
    assert activity.counts["packets_out"].sum() == hidden * readers
    assert activity.counts["synops"].sum() == run.counters.total("sops")
    assert fired == run.counters.total("spikes")
    # Every neuron has input or a potential from the first spike on; the first step has input.
    assert activity.counts["updated"].sum() <= (STEPS + 2) * 4_800
    assert found.energy_uj["hop"] > 0 and found.energy_range_uj is not None
    low, high = found.energy_range_uj
    total = found.energy_uj["total"]
    assert low == pytest.approx(total * 0.883) and high == pytest.approx(total * 1.117)


def test_what_does_not_fit_is_said_beside_its_energy() -> None:
    target = load_target("loihi1")
    small = replace(
        target, limits={**target.limits, "cores": replace(target.limits["cores"], value=1)}
    )
    graph = dense()
    run, activity = measured(graph, small)
    found = estimate(graph, run.counters, small, activity=activity)
    assert "it does not fit: 2 cores" in str(found)
    run, activity = measured(graph, target)
    assert "does not fit" not in str(estimate(graph, run.counters, target, activity=activity))


def test_hops_go_east_west_then_north_south() -> None:
    """Tiles are numbered down columns of 4: core 0 to tile 1 is a hop south, to tile 4 east."""
    target = load_target("loihi1")
    across, along = _distances(0, np.array([0, 4, 12, 16, 127]), target)
    assert across.tolist() == [[0, 0, 0, 1, 7]] and along.tolist() == [[0, 1, 3, 0, 3]]


def test_events_need_the_activity_of_the_same_run() -> None:
    graph, target = dense(), load_target("loihi1")
    run, _ = measured(graph, target)
    with pytest.raises(InputError, match="which neuron fired"):
        estimate(graph, run.counters, target)
    other = measured(graph, target, 2).activity
    with pytest.raises(InputError, match="different runs"):
        estimate(graph, run.counters, target, activity=other)


def test_loihi2_has_a_bound_in_symbols_and_the_busiest_core() -> None:
    graph, target = dense(), load_target("loihi2")
    run, activity = measured(graph, target)
    found = estimate(graph, run.counters, target, activity=activity)
    assert found.latency_us is None and "max over" in str(found.latency_bound)
    assert found.busiest_core is not None and found.busiest_core["synops"] > 0
    assert "at least" in str(found)


def test_memory_has_a_price_and_a_range() -> None:
    graph, target = analog(), load_target("generic-45nm")
    x = np.random.default_rng(0).random((SAMPLES, 6), dtype=np.float32)
    counters = count(Reference().prepare(graph).run(encode(graph, x, STEPS)))
    found = estimate(graph, counters, target, cost="int8-memory")
    assert found.energy_uj is not None and found.energy_range_uj is not None
    sops = counters.total("sops") / SAMPLES
    reads = (24 + sops) * 1.25 + 4 * STEPS * 10 + (24 + 8) * 243.75
    assert found.energy_uj["memory"] == pytest.approx(reads * 1e-6)
    low, high = found.energy_range_uj
    assert high - low == pytest.approx((24 + 8) * (325 - 162.5) * 1e-6)


def test_integer_inputs_are_billed_as_asked() -> None:
    """A sum of two spikes may be 2: its operations count as ACs, or as MACs."""
    graph = fan(load_target("loihi1"), 2)
    nodes = dict(graph.nodes)
    nodes |= {"last": Linear(np.ones((2, 4), np.int8), bits=8)}
    edges = [e for e in graph.edges if e.target != "out"] + [("sum", "last"), ("last", "out")]
    graph = lively(graph.replace(nodes, edges))
    run = measured(graph, load_target("generic-45nm")).run
    target = load_target("generic-45nm")
    one, two_ = (
        estimate(graph, run.counters, target, conventions=Conventions(integer_inputs=how))
        for how in ("ac", "mac")
    )
    sops = int(run.counters.layers["last"].sops.sum()) / SAMPLES
    assert sops > 0 and one.energy_uj is not None and two_.energy_uj is not None
    assert one.energy_uj["mac"] == 0
    assert two_.energy_uj["mac"] == pytest.approx(sops * 3.1e-6)
    with pytest.raises(UnknownNameError, match="once"):
        Conventions(first_layer="one")


def test_integer_inputs_of_a_float_graph_are_those_that_came() -> None:
    """Two spikes in one window, flattened on the way: 3 operations, by a number above 1."""
    nodes: dict[str, Node] = {
        "in": Input((1, 4), "spikes"),
        "pool": SumPool((2,), (2,), (0,)),
        "flat": Flatten(),
        "w": Linear(np.ones((3, 2), np.float32)),
        "out": Output("none"),
    }
    graph = Graph.chain(nodes, "float")
    how, session = Conventions(integer_inputs="mac"), Reference().prepare(graph)
    counters = count(session.run(np.array([[[[1, 1, 0, 0]]]], np.float32)))
    found = estimate(graph, counters, TARGET_45NM, cost="int32", conventions=how)
    assert found.energy_uj is not None and found.energy_uj["ac"] == 0
    assert found.energy_uj["mac"] == pytest.approx(3 * 3.1e-6)
    counters = count(session.run(np.array([[[[1, 0, 1, 0]]]], np.float32)))
    with pytest.raises(InputError, match="no layer takes sums"):
        estimate(graph, counters, TARGET_45NM, cost="int32", conventions=how)


@pytest.mark.parametrize(("cost", "mac", "ac"), [("int32", 3.1, 0.1), ("fp32", 4.6, 0.9)])
def test_operation_counts_by_hand(cost: str, mac: float, ac: float) -> None:
    graph = analog()
    x = np.random.default_rng(0).random((SAMPLES, 6), dtype=np.float32)
    counters = count(Reference().prepare(graph).run(encode(graph, x, STEPS)))
    sops = counters.total("sops") / SAMPLES
    target = load_target("generic-45nm")
    once = estimate(graph, counters, target, cost=cost)
    how = Conventions(first_layer="each_step")
    each = estimate(graph, counters, target, cost=cost, conventions=how)
    assert once.energy_uj is not None and each.energy_uj is not None
    assert once.energy_uj["mac"] == pytest.approx(24 * mac * 1e-6)
    assert each.energy_uj["mac"] == pytest.approx(24 * STEPS * mac * 1e-6)
    assert once.energy_uj["ac"] == pytest.approx(sops * ac * 1e-6)
    assert "once" in once.conventions[0] and "each step" in each.conventions[0]


def test_a_published_row_of_arithmetic() -> None:
    """0.347329512 G MAC and 6.51754094076244 G AC at 4.6 / 0.9 pJ are 7.463502601886196 mJ."""
    table = load_target("generic-45nm").cost("fp32")
    assert table is not None
    found = 0.347329512 * table.value("mac_pj") + 6.51754094076244 * table.value("ac_pj")
    assert found == pytest.approx(7.463502601886196, rel=1e-12)
    # Its MAC term: a 3 -> 64 stem of 3x3 at 224 x 224 over 4 steps, and a 512 -> 1000 head once.
    assert 4 * 27 * 64 * 224**2 + 513_000 == 347_329_512


def test_a_fit_only_target_has_no_energy() -> None:
    graph = dense()
    found = estimate(graph, counted(graph), load_target("loihi2"))
    assert found.energy_uj is None and found.constants == () and found.sops > 0
    assert found.to_json()["energy_uj"] is None


def test_counters_of_another_graph_are_refused() -> None:
    with pytest.raises(InputError, match="another graph"):
        estimate(analog(), counted(dense(neuron=None)).__class__({}, 5, 3), load_target("loihi1"))


def test_a_pipeline_and_its_delays_cost_the_same() -> None:
    """Six layers on Loihi over 4 steps are the same with a Delay before each, run for 10 steps."""
    target = load_target("loihi1")
    plain: dict[str, Node] = {"in": Input((8,), "spikes", low=0, high=1)}
    late = dict(plain)
    for k in range(6):
        layer: dict[str, Node] = {
            f"fc{k}": Linear(np.ones((8, 8), np.int8), bits=2),
            f"n{k}": neuron(target, (8,), v_threshold=np.int32(64)),
        }
        plain |= layer
        late |= {f"d{k}": Delay((8,), 1), **layer}
    x = np.zeros((2, 10, 8), np.int64)
    x[:, :4] = np.random.default_rng(0).integers(0, 2, (2, 4, 8))
    found = []
    for nodes, steps in ((plain, 4), (late, 10)):
        graph = Graph.chain({**nodes, "out": Output("spike_count")}, "integer")
        seen = measure(graph, x[:, :steps], steps, target, executor_name="reference")
        run, activity = seen.run, seen.activity
        for cost in ("davies", "sanafe"):
            found.append(estimate(graph, run.counters, target, cost=cost, activity=activity))
    for one, two_ in zip(found[:2], found[2:], strict=True):
        assert (one.pipeline_steps, two_.pipeline_steps) == (6, 0)
        assert one.energy_uj == pytest.approx(two_.energy_uj)
        assert one.latency_us == pytest.approx(two_.latency_us)


def test_odin_bills_every_event_to_its_whole_row() -> None:
    """Event timing: a neuron that fires twice in a step sends two events, each to 42 neurons."""
    target = load_target("odin")
    graph = two(target, 64, 32, 10)
    graph = graph.map_nodes(
        lambda _, n: replace(n, v_threshold=np.int32(9)) if isinstance(n, Neuron) else n
    )
    x = (np.random.default_rng(0).random((4, 5, 64)) < 0.3).astype(np.int64)
    seen = measure(graph, x, 5, target)
    run, activity = seen.run, seen.activity
    found = estimate(graph, run.counters, target, activity=activity)
    trace = EventDriven().prepare(graph).run(np.moveaxis(x, 0, 1))
    sent = int(trace.neurons["h"].spikes.sum())
    assert sent > np.count_nonzero(trace.neurons["h"].spikes)
    assert run.counters.layers["h"].spikes.sum() == sent
    assert run.counters.layers["head"].sops.sum() == sent * 10
    rows = (int(x.sum()) + sent) * 42
    assert found.counts is not None and found.counts["synops"] == rows / 4
    assert found.energy_uj is not None
    assert found.energy_uj["synapse"] == pytest.approx(rows / 4 * 8.43e-6)
    assert any("event timing" in line for line in found.conventions)
    plain = measure(graph, x, 5, target, executor_name="reference").activity
    assert plain is not None and plain.timing == "step"


def test_counters_and_activity_of_another_graph_of_the_same_names_are_refused() -> None:
    target, graph = load_target("loihi1"), dense()
    other = dense(units=4, bits=4)
    run, activity = measured(graph, target)
    theirs = measured(other, target)
    with pytest.raises(InputError, match="another graph"):
        estimate(graph, theirs.run.counters, target, activity=activity)
    with pytest.raises(InputError, match="activity is that of another graph"):
        estimate(graph, run.counters, target, activity=theirs.activity)
    with pytest.raises(InputError, match="activity is that of loihi1, not of truenorth"):
        estimate(graph, run.counters, load_target("truenorth"), activity=activity)
    with pytest.raises(InputError, match="another graph"):
        compare(graph, theirs.run.counters, load_target("generic-45nm"))


def test_what_the_host_computes_is_priced_apart() -> None:
    """24 MACs of the frame, once, at 0.23 pJ; Loihi 2 takes the frame itself."""
    graph = analog()
    x = np.random.default_rng(0).random((SAMPLES, 6), dtype=np.float32)
    for name, macs in (("loihi1", 24), ("loihi2", 0)):
        target = load_target(name)
        seen = measure(graph, x, STEPS, target, executor_name="reference")
        run, activity = seen.run, seen.activity
        found = estimate(graph, run.counters, target, activity=activity)
        assert found.host_macs == macs
        assert found.host_energy_uj == (pytest.approx(24 * 0.23e-6) if macs else None)
        assert ("on the host: 24 MACs" in str(found)) == bool(macs)


def test_frames_that_change_cost_each_step() -> None:
    """24 MACs a step, 5 steps: on the host of Loihi 1, by operations, and beside the ANN."""
    graph = analog()
    still = np.random.default_rng(0).random((SAMPLES, 6), dtype=np.float32)
    moving = np.stack([still] * STEPS, axis=1)
    table = load_target("generic-45nm").costs["int8"]
    for x, macs in ((still, 24), (moving, 24 * STEPS)):
        seen = measure(graph, x, STEPS, load_target("loihi1"), executor_name="reference")
        run, activity = seen.run, seen.activity
        found = estimate(graph, run.counters, load_target("loihi1"), activity=activity)
        assert found.host_macs == macs
        counted = estimate(graph, run.counters, load_target("generic-45nm"), cost="int8")
        assert counted.energy_uj is not None
        assert counted.energy_uj["mac"] == pytest.approx(macs * table.value("mac_pj") * 1e-6)
        each = Conventions(first_layer="each_step")
        if x is moving:
            with pytest.raises(InputError, match="no layer takes a repeated frame"):
                estimate(graph, run.counters, TARGET_45NM, cost="int8", conventions=each)
            continue
        counted = estimate(graph, run.counters, TARGET_45NM, cost="int8", conventions=each)
        assert counted.energy_uj is not None
        assert counted.energy_uj["mac"] == pytest.approx(120 * table.value("mac_pj") * 1e-6)


def pooled_run() -> tuple[Graph, np.ndarray]:
    """Return a pool before neurons, and two steps of spikes in its windows."""
    fields = {"state_shift": 6, "state_bits": 24}
    graph = Graph.chain(
        {
            "in": Input((1, 4, 4), "spikes", low=0, high=1),
            "pool": SumPool((2, 2), (2, 2), (0, 0)),
            "flat": Flatten(),
            "fc": Linear(np.ones((5, 4), np.int8), bits=8),
            "n": Neuron((5,), np.int32(64 * 3), **fields),
            "head": Linear(np.ones((2, 5), np.int8), bits=8),
            "out": Output("integrate", **fields),
        },
        "integer",
    )
    x = np.zeros((1, 2, 1, 4, 4), np.int64)
    x[0, 0, 0, :2, :2] = 1  # four spikes in one window: 1 event of 4; n fires, all five
    x[0, 1, 0, 0, 0] = x[0, 1, 0, 0, 2] = 1  # one in each of two windows; v = 2, none fires
    return graph, x


def test_the_headline_is_what_the_chip_bills() -> None:
    """2x2 windows of one to four spikes: Loihi 1 does each synapse for each spike."""
    graph, x = pooled_run()
    target = load_target("loihi1")
    seen = measure(graph, x, 2, target, executor_name="reference")
    run, activity = seen.run, seen.activity
    found = estimate(graph, run.counters, target, activity=activity)
    assert found.counts is not None
    assert found.sops_per_event == 3 * 5 + 5 * 2 == run.counters.total("sops")
    assert found.sops == found.counts["synops"] == found.sops_per_spike == 6 * 5 + 5 * 2
    said = found.to_json()
    assert said["sops"] == 40 and said["sops_are"] == "on its cores, each synapse of each spike"
    assert "40 SOPs (on its cores, each synapse of each spike)" in str(found)
    by_event = estimate(graph, run.counters, TARGET_45NM, cost="int32")
    assert by_event.sops == 25 and by_event.energy_uj is not None
    assert by_event.energy_uj["ac"] == pytest.approx(25 * 0.1e-6)


HAND_COUNTS = {
    "per event": 3 * 5 + 5 * 2,  # three windows with spikes drive five synapses, five neurons two
    "on its cores, each synapse of each spike": 6 * 5 + 5 * 2,
    "on its cores, each synapse of each neuron's event, pools taken apart": 6 * 5 + 5 * 2,
    "on its cores, a crossbar's row of each spike": (6 + 5) * (5 + 2),
}


@pytest.mark.parametrize("name", sorted(shipped()))
def test_sops_are_what_they_are_said_to_be_behind_a_pool(name: str) -> None:
    graph, x = pooled_run()
    seen = measure(graph, x, 2, load_target(name), executor_name="reference")
    found = seen.estimate()
    assert found.sops == HAND_COUNTS[found.sops_are]


def test_several_spikes_of_a_neuron_are_one_event_where_spikes_carry_numbers() -> None:
    """A neuron that sends three spikes at once into two synapses, behind three spikes in a pool."""
    graph, x = pooled_run()
    several = replace(graph.neurons["n"], v_threshold=np.int32(64), max_spikes_per_step=3)
    graph = graph.replace({**graph.nodes, "n": replace(several, reset="soft", compare=">=")})
    x = np.zeros_like(x)
    x[0, 0, 0, :2, 0] = x[0, 0, 0, 0, 1] = 1
    for name, due in (("loihi1", 3 * 5 + 5 * 3 * 2), ("loihi2", 3 * 5 + 5 * 2)):
        found = measure(graph, x, 2, load_target(name), executor_name="reference").estimate()
        assert found.sops == due


def test_counts_sent_to_a_chip_without_graded_spikes_are_so_many_events() -> None:
    graph = dense()
    graph = graph.replace({**graph.nodes, "in": Input((6,), "spikes", low=0, high=3)})
    x = np.full((1, 1, 6), 3)
    for name, events in (("loihi1", 3), ("loihi2", 1)):
        target = load_target(name)
        activity = measure(graph, x, 1, target, executor_name="reference").activity
        assert activity is not None
        fired = activity.total("fired")
        assert activity.total("synops") == 6 * 4 * events + fired * 2


@pytest.mark.parametrize("name", sorted(shipped()))
def test_the_code_of_an_analog_pixel_is_no_count_of_spikes(name: str) -> None:
    """Codes 100, 0 and -7 into four neurons in two steps; each spike drives two synapses."""
    nodes: dict[str, Node] = {
        "in": Input((3,), "direct", 0.01, low=-127, high=127),
        "fc": Linear(np.array([[1, 1, 1], [1, 1, 1], [-1, 1, 1], [-1, 1, 1]], np.int8)),
        "n": Neuron((4,), np.int32(0)),
        "fc2": Linear(np.ones((2, 4), np.int8)),
        "m": Neuron((2,), np.int32(100)),
        "out": Output("spike_count"),
    }
    ways = (("in", "fc"), ("fc", "n"), ("n", "fc2"), ("fc2", "m"), ("m", "out"))
    graph, target = Graph(nodes, ways, "integer"), load_target(name)
    x = np.array([[1.0, 0.0, -0.07]])
    found = measure(graph, x, 2, target, executor_name="reference").estimate()
    spiking, pixels, frames = 2 * 2 * 2, 2 * 4 * 2, target.mapping == "cores"
    on_chip = "direct" in target.supports.get("inputs", ("direct",))
    assert found.sops_per_event == spiking
    assert found.sops == spiking + (pixels if on_chip and frames else 0)
    assert found.macs == 12 and found.host_macs == (0 if on_chip else 12)
    billed = found.sops != found.sops_per_event
    assert found.sops_are.endswith(", a pixel of a frame as one event") == billed


def test_a_chip_without_cost_tables_says_so() -> None:
    with pytest.raises(TargetError, match="loihi2 has none"):
        load_target("loihi2").cost("davies")


def test_products_of_spikes_are_said_to_be_left_out() -> None:
    """No chip here has them; a layer that nothing else feeds has no synaptic operation."""
    nodes: dict[str, Node] = {
        "in": Input((2, 4), "spikes", low=0, high=1),
        "qk": MatMul(True),
        "flat": Flatten(),
        "n": Neuron((4,), np.int32(0)),
        "fc": Linear(np.ones((3, 4), np.int8)),
        "m": Neuron((3,), np.int32(0)),
        "out": Output("spike_count"),
    }
    ways = (("in", "qk", 0), ("in", "qk", 1), ("qk", "flat"), ("flat", "n"), ("n", "fc"))
    graph = Graph(nodes, [*ways, ("fc", "m"), ("m", "out")], "integer")
    target = load_target("loihi1")
    run, activity = measured(graph, target)
    found = estimate(graph, run.counters, target, activity=activity)
    assert "products of spikes by spikes (qk)" in found.not_modelled
    assert activity.layer_counts["n"]["synops"].sum() == 0
    assert activity.layer_counts["m"]["synops"].sum() > 0
