"""Reading NIR: every type, older files, loops, subgraphs, and the dialects, against plain loops."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import spikewright as sw
from spikewright.export.fold import fold
from spikewright.export.formats.nir_discretise import DIALECTS, told
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.ir import (
    Array,
    Conv1d,
    Delay,
    Flatten,
    FormatError,
    Graph,
    InputError,
    Linear,
    Neuron,
    Output,
    Reshape,
    UnknownNameError,
)
from spikewright.export.ir.digest import digest
from spikewright.export.ir.errors import FormatWarning
from spikewright.sim.reference import Reference
from tests.cli.test_commands import call

from .nir_files import by_hand, chain_file, ends, lif, written

DT = 1e-4
RNG = np.random.default_rng(0)
STEPS = 25


def run(graph: Graph, x: Array) -> Any:
    return Reference(np.float64).prepare(graph).run(x[:, None])


def drive(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0.4, 0.8, (STEPS, *shape))


def quiet(path: Path, dialect: str | None = None, **options: Any) -> tuple[Graph, list[str]]:
    """Return the graph and what was repaired."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = read_nir(path, dialect, **options)
    assert all(w.category is FormatWarning for w in caught)
    lines = [str(w.message).removeprefix(f"{path}: ") for w in caught]
    assert lines == graph.metadata["repairs"]
    return graph, lines


def full(*values: float) -> dict[str, Array]:
    return {key: np.full(4, value) for key, value in zip(KEYS, values, strict=True)}


KEYS = ("tau", "r", "v_leak", "v_threshold", "v_reset")


def stepped(
    x: Array, keep: float, gain: float, bias: float = 0.0, **rule: Any
) -> tuple[Array, Array]:
    """One layer step by step: spikes and v, after reset."""
    v, spikes, states = np.full(x.shape[1:], rule.get("start", 0.0)), [], []
    threshold, reset = rule["threshold"], rule.get("reset", 0.0)
    for i in x:
        v = keep * v + gain * i + bias
        if "low" in rule:
            v = np.maximum(v, rule["low"])
        s = (v >= threshold if rule.get("equal") else v > threshold).astype(float)
        if rule.get("several"):
            s = np.maximum(np.floor(v / threshold), 0)
        v = v - s * threshold if reset is None else np.where(s > 0, reset, v)
        spikes.append(s)
        states.append(v)
    return np.array(spikes), np.array(states)


@pytest.mark.parametrize("reading", ["portable", "spikingjelly", "norse", "snntorch", "sinabs"])
@pytest.mark.parametrize("r", [1.0, 2.5])
def test_a_leaky_neuron_in_each_dialect(tmp_path: Path, reading: str, r: float) -> None:
    steps = 4 * (DIALECTS[reading].dt or 1.0)
    reset = 0.0 if reading in ("norse", "snntorch", "sinabs") else -0.25
    equal = {"equal": True, "start": reset}
    path = chain_file(tmp_path / "n.nir", n=nir.LIF(**full(steps, r, 0.0, 0.3, reset)))
    x = drive(4)
    expected: dict[str, Callable[[], tuple[Array, Array]]] = {
        "portable": lambda: stepped(x, 0.75, r / 4, threshold=0.3, reset=reset),
        "spikingjelly": lambda: stepped(x, 0.75, r / 4, threshold=0.3, reset=reset, **equal),
        "norse": lambda: stepped(x, 0.75, 1 / 4, threshold=0.3),
        "snntorch": lambda: stepped(x, 0.75, r / 4, threshold=0.3),
        "sinabs": lambda: stepped(x, np.exp(-1 / 4), 1.0, threshold=0.3, reset=None, several=True),
    }
    spikes, v = expected[reading]()
    assert 0.05 < (spikes > 0).mean() < 0.95
    compare(read_nir(path, reading), x, spikes, v)
    compare(fold(read_nir(path, reading)), x, spikes, v)


def compare(graph: Graph, x: Array, spikes: Array, v: Array) -> None:
    found = run(graph, x).neurons["n"]
    node = graph.neurons["n"]
    unit = 1.0 if node.v_scale is None else node.v_scale
    np.testing.assert_array_equal(found.spikes[:, 0], spikes)
    np.testing.assert_allclose(found.v[:, 0] * unit, v, atol=1e-9)


@pytest.mark.parametrize("reading", ["portable", "spikingjelly", "norse", "sinabs", "subtract"])
def test_integrate_and_fire_in_each_dialect(tmp_path: Path, reading: str) -> None:
    node = nir.IF(r=np.full(4, 0.5 / DT), v_threshold=np.full(4, 0.8), v_reset=np.full(4, 0.1))
    x = drive(4)
    spikes, v = {
        "portable": lambda: stepped(x, 1, 0.5, threshold=0.8, reset=0.1),
        "spikingjelly": lambda: stepped(x, 1, 0.5, threshold=0.8, reset=0.1, start=0.1, equal=True),
        "norse": lambda: stepped(x, 1, 1, threshold=0.8),
        "sinabs": lambda: stepped(x, 1, 1, threshold=0.8, reset=None, several=True, low=-0.8),
        "subtract": lambda: stepped(x, 1, 0.5, threshold=0.8, reset=None),
    }[reading]()
    compare(read_nir(chain_file(tmp_path / "n.nir", n=node), reading), x, spikes, v)


STARTS = {"norse": "v_leak", "spikingjelly": "v_reset"}


@pytest.mark.parametrize("reading", sorted(DIALECTS))
@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF"])
def test_v_starts_where_the_dialects_own_importer_has_it(
    tmp_path: Path, reading: str, kind: str
) -> None:
    """norse: v_leak, which its IF has not; spikingjelly: v_reset; all others: 0."""
    tau = np.full(4, 4 * (DIALECTS[reading].dt or 1.0))
    leak, threshold, reset = np.full(4, 0.7), np.full(4, 2.0), np.array([0.5, -0.5, 0.25, 0.0])
    shared = {"r": np.full(4, 2.0), "v_threshold": threshold, "v_reset": reset}
    node = {
        "LIF": lambda: nir.LIF(tau=tau, v_leak=leak, **shared),
        "IF": lambda: nir.IF(**shared),
        "CubaLIF": lambda: nir.CubaLIF(tau_syn=tau, tau_mem=tau, v_leak=leak, **shared),
    }[kind]()
    graph = read_nir(chain_file(tmp_path / "n.nir", n=node), reading)
    unit = graph.neurons["n"].v_scale
    due = {"v_leak": leak if kind != "IF" else 0, "v_reset": reset}.get(STARTS.get(reading, ""), 0)
    found = np.broadcast_to(graph.neurons["n"].v_init * (1.0 if unit is None else unit), (4,))
    np.testing.assert_allclose(found, np.broadcast_to(due, (4,)), rtol=1e-12)


def test_a_current_of_norse_starts_at_v_leak_and_decays_to_it(tmp_path: Path) -> None:
    """norse's importer hands v_leak to the filter of the current, too."""
    tau = np.full(4, 4e-3)
    node = nir.CubaLIF(
        tau_syn=2 * tau,
        tau_mem=tau,
        r=np.full(4, 2.0),
        v_leak=np.full(4, 0.3),
        v_threshold=np.full(4, 1.6),
        w_in=np.full(4, 1.5),
        v_reset=np.zeros(4),
    )
    x, current = drive(4), np.zeros((STEPS, 4))
    for t in range(STEPS):
        before = current[t - 1] if t else np.full(4, 0.3)
        current[t] = before + 0.125 * (0.3 - before + 1.5 * x[t])
    spikes, v = stepped(2 * current, 0.75, 0.25, 0.25 * 0.3, threshold=1.6, start=0.3)
    assert 0.02 < spikes.mean() < 0.9
    compare(read_nir(chain_file(tmp_path / "n.nir", n=node), "norse"), x, spikes, v)


def test_the_boundary_is_where_the_dialect_has_it(tmp_path: Path) -> None:
    """An input that just reaches the threshold: `>` for most, `>=` for spikingjelly, sinabs."""
    node = nir.IF(r=np.full(4, 1 / DT), v_threshold=np.full(4, 1.0), v_reset=np.zeros(4))
    path = chain_file(tmp_path / "n.nir", n=node)
    fires = {
        name: bool(run(read_nir(path, name), np.ones((1, 4))).neurons["n"].spikes.all())
        for name in DIALECTS
    }
    assert {name for name, fired in fires.items() if fired} == {"spikingjelly", "sinabs"}


def test_exponential_keeps_what_the_equation_keeps(tmp_path: Path) -> None:
    path = chain_file(tmp_path / "n.nir", n=nir.LIF(**full(3e-4, 2.0, 0.2, 0.5, 0.0)))
    keep, x = np.exp(-1 / 3), drive(4)
    bias = 0.2 * (1 - keep)
    compare(
        read_nir(path, "exponential"), x, *stepped(x, keep, 2 * (1 - keep), bias, threshold=0.5)
    )


def test_a_current_based_neuron_with_leak_and_w_in(tmp_path: Path) -> None:
    node = nir.CubaLIF(
        tau_syn=np.full(4, 2e-4),
        tau_mem=np.full(4, 5e-4),
        r=np.full(4, 3.0),
        v_leak=np.full(4, 0.1),
        v_threshold=np.full(4, 0.5),
        v_reset=np.full(4, -0.1),
        w_in=np.array([1.0, 2.0, 1.5, 0.7]),
    )
    x, current = drive(4), np.zeros((STEPS, 4))
    for t in range(STEPS):
        before = current[t - 1] if t else np.zeros(4)
        current[t] = before + 0.5 * (-before + np.array([1.0, 2.0, 1.5, 0.7]) * x[t])
    spikes, v = stepped(current, 0.8, 3 * 0.2, 0.02, threshold=0.5, reset=-0.1)
    compare(read_nir(chain_file(tmp_path / "n.nir", n=node)), x, spikes, v)


def leaky(x: Array, keep: float, gain: float, bias: float = 0.0) -> Array:
    return stepped(x, keep, gain, bias, threshold=np.inf)[1]


def test_integrators_are_readouts_or_loops(tmp_path: Path) -> None:
    """I, LI and CubaLI: the readout where the Output reads nothing else, else a loop."""
    tau, r, none = np.full(4, 4e-4), np.full(4, 2.0), np.zeros(4)
    cuba = {"tau_syn": np.full(4, 2e-4), "tau_mem": tau, "r": r, "w_in": np.full(4, 3.0)}
    x = drive(4)
    layers: dict[str, tuple[Any, Array, str]] = {
        "I": (nir.I(r=np.full(4, 0.3 / DT)), leaky(x, 1, 0.3), "integrate"),
        "LI": (nir.LI(tau=tau, r=r, v_leak=none), leaky(x, 0.75, 0.5), "leaky"),
        "leak": (nir.LI(tau=tau, r=r, v_leak=none + 0.4), leaky(x, 0.75, 0.5, 0.1), "leaky"),
        "CubaLI": (
            nir.CubaLI(**cuba, v_leak=none),
            leaky(leaky(x, 0.5, 1.5), 0.75, 0.5),
            "leaky",
        ),
    }
    for name, (node, expected, readout) in layers.items():
        graph = read_nir(chain_file(tmp_path / f"{name}.nir", a=node))
        assert graph.output.readout == readout and not graph.of_kind(Neuron)
        np.testing.assert_allclose(run(graph, x).output[:, 0], expected, atol=1e-9)
        if name != "leak":
            after = nir.Threshold(threshold=np.full(4, 0.5))
            graph = read_nir(chain_file(tmp_path / f"{name}2.nir", a=node, n=after))
            spikes = (expected > 0.5).astype(float)
            assert 0 < spikes.mean() < 1
            np.testing.assert_array_equal(run(graph, x).neurons["n"].spikes[:, 0], spikes)


def test_every_type_that_nir_writes_is_read(tmp_path: Path) -> None:
    from nir.ir import __all_ir  # type: ignore[attr-defined]

    from spikewright.export.formats.nir_nodes import KNOWN

    assert set(KNOWN) == set(__all_ir)


def recurrent(inner: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Input -> w -> n <-> rec, n -> Output; the loop perhaps within a subgraph."""
    weight = np.random.default_rng(5).normal(0, 0.7, (4, 4)).astype(np.float32)
    start, end = ends((4,))
    loop = {"n": lif((4,)), "rec": nir.Linear(0.3 * weight)}
    back = [("n", "rec"), ("rec", "n")]
    first = {"input": start, "w": nir.Linear(weight + np.eye(4, dtype=np.float32))}
    if not inner:
        edges = [("input", "w"), ("w", "n"), *back, ("n", "output")]
        return {**first, **loop, "output": end}, edges
    start2, end2 = ends((4,))
    sub = nir.NIRGraph(
        {"in": start2, **loop, "out": end2},
        [("in", "n"), *back, ("n", "out")],
        type_check=False,
    )
    edges = [("input", "w"), ("w", inner), (inner, "output")]
    return {**first, inner: sub, "output": end}, edges


def test_recurrence_is_broken_at_the_first_neuron(tmp_path: Path) -> None:
    path = written(tmp_path / "r.nir", *recurrent())
    graph, lines = quiet(path)
    assert list(graph.of_kind(Delay)) == graph.metadata["delays"] == ["rec.to.n"]
    assert lines == ["rec -> n: a loop without a Delay, a step put there"]
    with pytest.raises(FormatError, match="rec -> n: a loop without a Delay"):
        read_nir(path, strict=True)
    x, v, s, spikes = drive(4), np.zeros(4), np.zeros(4), []
    w, rec = (graph.of_kind(Linear)[name].weight.astype(float) for name in ("w", "rec"))
    for frame in x:
        v = 0.5 * v + w @ frame + rec @ s
        s = (v > 1).astype(float)
        v = np.where(s > 0, 0, v)
        spikes.append(s)
    assert 0.05 < np.mean(spikes) < 0.9
    np.testing.assert_array_equal(run(graph, x).neurons["n"].spikes[:, 0], spikes)


def test_a_subgraph_is_laid_open(tmp_path: Path) -> None:
    """snntorch writes RLeaky as a graph within the graph."""
    flat, _ = quiet(written(tmp_path / "f.nir", *recurrent()))
    nested, _ = quiet(written(tmp_path / "n.nir", *recurrent("sub")))
    assert list(nested.neurons) == ["sub.n"] and nested.metadata["delays"] == ["sub.rec.to.sub.n"]
    x = drive(4)
    one, two = run(flat, x), run(nested, x)
    np.testing.assert_array_equal(one.neurons["n"].spikes, two.neurons["sub.n"].spikes)


def test_loops_within_loops_and_delays_of_the_files_own(tmp_path: Path) -> None:
    start, end = ends((4,))
    eye = np.eye(4, dtype=np.float32)
    nodes = {
        "input": start,
        "n1": lif((4,)),
        "n2": lif((4,)),
        "n3": lif((4,)),
        "b2": nir.Linear(0.5 * eye),
        "late": nir.Delay(np.full(4, 3e-4)),
        "output": end,
    }
    edges = [("input", "n1"), ("n1", "n2"), ("n2", "n3"), ("n3", "output")]
    edges += [("n2", "b2"), ("b2", "n1"), ("n3", "n2"), ("n3", "late"), ("late", "n1")]
    graph, lines = quiet(written(tmp_path / "l.nir", nodes, edges))
    assert graph.metadata["delays"] == ["b2.to.n1", "n3.to.n2"] and len(lines) == 1
    assert graph.of_kind(Delay)["late"].steps == 3
    assert run(graph, 2 * np.ones((STEPS, 4))).neurons["n3"].spikes.any()


def old_nodes(**more: Any) -> dict[str, dict[str, Any]]:
    """A network as nir 0.1 wrote it: no input_shape, scalar parameters, no v_reset."""
    rng = np.random.default_rng(3)
    conv = {
        "type": "Conv1d",
        "weight": rng.normal(size=(3, 2, 3)).astype(np.float32),
        "bias": np.zeros(3, np.float32),
        "stride": 1,
        "padding": 1,
        "dilation": 1,
        "groups": 1,
    }
    neuron = {"type": "LIF", "tau": 2e-4, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.2}
    head = {"weight": rng.normal(size=(4, 15)).astype(np.float32), "bias": np.zeros(4)}
    return {
        "0": conv,
        "1": {**neuron, "v_threshold": np.array([0.1, 0.2, 0.3]), "tau": np.full(3, 2e-4)},
        "2": {"type": "Flatten", "start_dim": 1, "end_dim": -1},
        "3": {"type": "Affine", **head},
        "4": neuron,
        **more,
    }


INPUT = {"type": "Input", "shape": np.array([1, 2, 5])}
OLD_EDGES = [("in", "0"), ("0", "1"), ("1", "2"), ("2", "3"), ("3", "4")]


def test_a_file_of_nir_0_1_is_read_with_one_warning_a_repair(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "old.nir", old_nodes(**{"in": INPUT}), OLD_EDGES)
    graph, lines = quiet(path)
    for part in (
        "4: no Output in the file, put here",
        "in: shape (1, 2, 5) has a batch axis, left out",
        "0: no input_shape, taken from what enters",
        "1, 4: parameters without the layer's full shape, broadcast to it",
        "1, 4: no v_reset (nir before 1.0.6), reset to 0",
        "3: no Flatten before it, put there",
    ):
        assert any(line.startswith(part) for line in lines), (part, lines)
    assert len(lines) == 6 and graph.metadata["nir_version"] is None
    kinds = [node.kind for node in graph.nodes.values()]
    assert kinds == [
        *("Input", "Conv1d", "Neuron", "Reshape", "Flatten", "Linear", "Neuron", "Output")
    ]
    assert graph.input.shape == (2, 5) and graph.neurons["1"].shape == (3, 5)
    assert isinstance(graph.nodes["0"], Conv1d) and isinstance(graph.nodes["2"], Reshape)
    assert graph.neurons["1"].v_threshold.shape == (3, 1)
    trace = run(graph, drive(2, 5))
    assert all(0.02 < (n.spikes != 0).mean() < 0.98 for n in trace.neurons.values())
    with pytest.raises(FormatError, match="without strict=True it is repaired"):
        read_nir(path, strict=True)
    soft, lines = quiet(path, "subtract")
    assert soft.neurons["4"].reset == "soft" and not any("v_reset" in line for line in lines)


def test_a_missing_input_takes_the_shape_of_the_first_node(tmp_path: Path) -> None:
    nodes = {name: fields for name, fields in old_nodes().items() if name in "34"}
    graph, lines = quiet(by_hand(tmp_path / "o.nir", nodes, [("3", "4")]))
    assert graph.input.shape == (15,) and "3: no Input in the file, put here" in lines
    with pytest.raises(FormatError, match="0: the shape of what enters cannot be told"):
        read_nir(by_hand(tmp_path / "c.nir", old_nodes(), OLD_EDGES[1:]))


def beside(path: Path, edges: list[tuple[str, str]], **nodes: Any) -> Path:
    """input -> w -> n -> output, and other nodes by other edges."""
    start, end = ends((4,))
    known = {"input": start, "w": nir.Linear(np.eye(4)), "n": lif((4,)), **nodes, "output": end}
    way = [("input", "w"), ("w", "n"), ("n", "output")]
    return written(path, known, [*way, *edges])


EYE = np.eye(4, dtype=np.float32)
DRIVEN: dict[str, tuple[Any, str]] = {
    "a leak above the threshold": (lif((4,), v_leak=np.full(4, 2.0)), "v_leak"),
    "a leak": (nir.LI(np.full(4, 2e-4), np.ones(4), np.array([0.0, 0.0, 1.0, 0.0])), "v_leak"),
    "a bias": (nir.Affine(EYE, np.array([0, 0, 0, 1.0])), "bias"),
    "a bias of a convolution": (
        nir.Conv1d(4, np.ones((1, 1, 1)), 1, 0, 1, 1, np.ones(1)),
        "bias",
    ),
    "a start": (nir.IF(np.ones(4), np.ones(4), v_reset=np.full(4, 2.0)), "v_reset"),
    "a threshold at 0": (nir.IF(np.ones(4), np.array([1.0, 0, 1, 1]), np.zeros(4)), "v_threshold"),
    "a threshold below 0": (nir.Threshold(np.full(4, -1.0)), "threshold"),
}


@pytest.mark.parametrize("name", DRIVEN)
def test_what_spikes_without_an_input_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """It feeds the Output by itself, by a neuron, or beside the network: never dropped."""
    node, field = DRIVEN[name]
    message = f"alone: feeds the Output, .* does not reach it: its {field} drives it; connect"
    for edges in ([("alone", "output")], [("alone", "n")], [("alone", "m"), ("m", "output")]):
        path = beside(tmp_path / "d.nir", edges, alone=node, m=lif((4,)))
        with pytest.raises(FormatError, match=message):
            read_nir(path)
        path.unlink()


def test_weights_of_zero_connect_what_spikes_without_an_input(tmp_path: Path) -> None:
    """The remedy of the refusal: the neuron is kept and fires from its leak alone."""
    edges = [("input", "none"), ("none", "alone"), ("alone", "output")]
    driven = lif((4,), v_leak=np.full(4, 1.5))
    path = beside(tmp_path / "z.nir", edges, none=nir.Linear(0 * EYE), alone=driven)
    graph, lines = quiet(path)
    assert not lines and set(graph.neurons) == {"n", "alone"}
    spikes = run(graph, np.zeros((STEPS, 4))).neurons["alone"].spikes[:, 0]
    assert (
        spikes.any() and (spikes == stepped(np.ones((STEPS, 4)), 0.5, 0.75, threshold=1)[0]).all()
    )


def test_what_nothing_drives_is_left_out_with_one_line(tmp_path: Path) -> None:
    edges = [("w2", "m"), ("m", "w3"), ("w3", "n"), ("m", "output"), ("m", "w2")]
    nodes = {"w2": nir.Linear(EYE), "m": lif((4,)), "w3": nir.Affine(EYE, np.zeros(4))}
    graph, lines = quiet(beside(tmp_path / "s.nir", edges, **nodes))
    assert list(graph.nodes) == ["input", "w", "n", "output"]
    assert lines == ["m, w2, w3: the Input does not reach it and nothing drives it, left out"]


def test_an_input_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    start, end = ends((4,))
    nodes = {"input": start, "n": lif((4,)), "m": lif((4,)), "output": end}
    path = written(tmp_path / "n.nir", nodes, [("input", "n"), ("m", "output")])
    with pytest.raises(FormatError, match="no way from input to output"):
        read_nir(path)


def test_what_leads_nowhere_is_left_out(tmp_path: Path) -> None:
    start, end = ends((4,))
    nodes = {"input": start, "n": lif((4,)), "dead end": lif((4,)), "output": end}
    edges = [("input", "n"), ("n", "output"), ("input", "dead end")]
    graph, lines = quiet(written(tmp_path / "d.nir", nodes, edges))
    assert list(graph.neurons) == ["n"]
    assert lines == [
        "dead_end: renamed: names hold no spaces, slashes or control characters",
        "dead_end: not on a way from the Input to the Output, left out",
    ]


@pytest.mark.parametrize(
    ("dims", "shape"), [((0, -1), (24,)), ((1, 2), (2, 12)), ((0, 1), (6, 4)), ((-2, -1), (2, 12))]
)
def test_part_of_a_flatten_is_a_reshape(
    tmp_path: Path, dims: tuple[int, int], shape: tuple[int, ...]
) -> None:
    start, end = ends((2, 3, 4), shape)
    nodes = {"input": start, "f": nir.Flatten({"input": np.array([2, 3, 4])}, *dims), "output": end}
    graph = read_nir(written(tmp_path / "f.nir", nodes, [("input", "f"), ("f", "output")]))
    assert graph.shapes["f"] == shape and isinstance(graph.nodes["f"], (Flatten, Reshape))


def test_weights_of_tokens_are_one_linear(tmp_path: Path) -> None:
    one = RNG.normal(size=(5, 4)).astype(np.float32)
    start, end = ends((3, 4), (3, 5))
    edges = [("input", "w"), ("w", "output")]
    nodes = {"input": start, "w": nir.Linear(np.stack([one] * 3)), "output": end}
    graph = read_nir(written(tmp_path / "t.nir", nodes, edges))
    assert graph.of_kind(Linear)["w"].weight.shape == (5, 4)
    nodes["w"] = nir.Affine(np.stack([one] * 3), np.arange(15.0).reshape(3, 5))
    with pytest.raises(FormatError, match="w: its weights differ along the leading axes"):
        read_nir(written(tmp_path / "d.nir", nodes, edges))


def test_norses_shrunken_tau_is_undone(tmp_path: Path) -> None:
    """norse 1.1.0 writes tau * dt; its own network had tau = 4e-3 at dt = 1e-3."""
    path = chain_file(tmp_path / "n.nir", n=nir.LIF(**full(4e-6, 1.0, 0.0, 0.3, 0.0)))
    graph, lines = quiet(path, "norse")
    assert lines == ["n: norse writes tau times dt (its issue 411); divided by dt again"]
    x = drive(4)
    compare(graph, x, *stepped(x, 0.75, 0.25, threshold=0.3))
    with pytest.raises(FormatError, match=r"n: tau 4e-06 is below dt 0\.0001"):
        read_nir(path)


def test_dialect_and_dt_are_found_given_or_assumed(tmp_path: Path) -> None:
    assumed = read_nir(chain_file(tmp_path / "a.nir", n=lif((4,))))
    said = {key: assumed.metadata[key] for key in ("dialect", "dt", "dt_from", "scheme")}
    assert said == {"dialect": "portable", "dt": 1e-4, "dt_from": "assumed", "scheme": "euler"}
    assert assumed.metadata["nir_version"] == nir.version
    start, end = ends((4,))
    edges = [("input", "n"), ("n", "output")]
    metadata = {"dt": 5e-5, "dialect": "spikingjelly"}
    nodes = {"input": start, "n": lif((4,)), "output": end}
    nir.write(
        str(tmp_path / "f.nir"),
        nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False),
    )
    found = read_nir(tmp_path / "f.nir")
    assert found.metadata["dt"] == 5e-5 and found.neurons["n"].compare == ">="
    assert told(found.metadata) == (
        f"NIR {nir.version}, dialect spikingjelly (Euler, hard reset, v >= v_threshold), "
        "dt 5e-05 s (file)"
    )
    given = read_nir(tmp_path / "f.nir", "portable", dt=1e-5)
    assert given.metadata["dt_from"] == "given" and given.neurons["n"].compare == ">"
    steps = read_nir(tmp_path / "f.nir", "sinabs")
    assert steps.metadata["dt_from"] == "steps" and "tau in steps" in told(steps.metadata)
    with pytest.raises(FormatError, match="sinabs counts tau in steps"):
        read_nir(tmp_path / "f.nir", "sinabs", dt=1e-3)
    with pytest.raises(UnknownNameError, match="snntorch"):
        read_nir(tmp_path / "f.nir", "snntorhc")


def test_the_command_line_says_how_a_file_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = by_hand(tmp_path / "o.nir", old_nodes(**{"in": INPUT}), OLD_EDGES)
    code, out, err = call(capsys, "inspect", str(path), "--dialect", "subtract", "--dt", "1e-4")
    lines = err.splitlines()
    assert code == 0 and "Conv1d" in out
    assert lines[0].startswith(f"warning: {path}: 4: no Output in the file, put here")
    assert lines[-1] == (
        f"{path}: NIR, dialect subtract (Euler, soft reset, v > v_threshold), dt 0.0001 s (given)"
    )
    code, out, err = call(capsys, "inspect", str(path), "--strict")
    assert code == 2 and out == "" and "without --strict it is repaired" in err


def test_the_output_says_what_it_reads(tmp_path: Path) -> None:
    spiking = read_nir(chain_file(tmp_path / "s.nir", n=lif((4,))))
    weights = read_nir(chain_file(tmp_path / "w.nir", w=nir.Linear(np.eye(4, dtype=np.float32))))
    assert isinstance(spiking.output, Output) and spiking.output.readout == "spike_count"
    assert weights.output.readout == "integrate"


def test_the_page_on_reading_nir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippet of docs/nir.md runs, its table is the code's, and its printed line is ours."""
    page = (Path(__file__).parents[3] / "docs" / "nir.md").read_text(encoding="utf-8")
    chain_file(tmp_path / "net.nir", n=lif((4,)))
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], scope)
    assert scope["graph"].metadata["dialect"] == "snntorch"
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    assert rows.keys() == DIALECTS.keys()
    for name, dialect in DIALECTS.items():
        cells = [cell.strip() for cell in rows[name].split("|")[1:-1]]
        assert ("exp" in cells[1]) == dialect.exponential
        assert ("r ignored" in cells[2]) == (not dialect.uses_r)
        assert ("v - " in cells[4]) == (dialect.reset == "soft")
        assert cells[5] == f"v {dialect.compare} th"
        assert cells[6].endswith("none" if dialect.dt is None else f"{dialect.dt:g} s")
    assert f"net.nir: {told(read_nir('net.nir').metadata)}" in page
    repaired = page.split("## What is repaired")[1]
    assert "no `v_reset`" in repaired and "`--strict` refuses" in repaired


def test_python_reads_a_file_as_the_command_line_does(tmp_path: Path) -> None:
    path = chain_file(tmp_path / "n.nir", (3,), n=lif((3,)))
    options: dict[str, Any] = {"dialect": "spikingjelly", "dt": 2e-4}
    expected = read_nir(path, "spikingjelly", dt=2e-4)
    for found in (sw.read(path, **options), sw.lower(path, level="float", **options)):
        assert digest(found) == digest(expected) and found.neurons
        assert (found.metadata["dialect"], found.metadata["dt"]) == ("spikingjelly", 2e-4)
    lowered = sw.lower(str(path), calibrate=np.ones((2, 3), np.float32), **options)
    assert lowered.level == "integer"
    with pytest.raises(UnknownNameError, match="spikingjely"):
        sw.read(path, dialect="spikingjely")
    with pytest.raises(UnknownNameError, match="dialct"):
        sw.read(path, dialct="norse")
    with pytest.raises(InputError, match=r"dialect cannot act here, it is for \.nir sources"):
        sw.read(tmp_path / "n.spk", dialect="norse")
    with pytest.raises(InputError, match="dt cannot act here"):
        sw.lower(expected, dt=1e-3)


def test_strict_refuses_from_python_too(tmp_path: Path) -> None:
    path = chain_file(tmp_path / "n.nir", (3,), n=lif((1,)))
    with pytest.warns(FormatWarning, match="broadcast"):
        sw.read(path)
    with pytest.raises(FormatError, match="broadcast"):
        sw.read(path, strict=True)


def test_a_tau_of_one_step_keeps_nothing(tmp_path: Path) -> None:
    """In float32 2e-4 is a little less than 2e-4."""
    path = chain_file(tmp_path / "n.nir", (3,), n=lif((3,)))
    (neuron,) = fold(read_nir(path, dt=2e-4)).neurons.values()
    assert neuron.beta is not None and not neuron.beta.any()
    with pytest.raises(FormatError, match="is below dt"):
        read_nir(path, dt=2.01e-4)
