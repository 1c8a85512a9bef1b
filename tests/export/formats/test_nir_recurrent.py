"""Recurrent NIR files: read, lowered and run in every dialect, beside snntorch's own run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import spikewright as sw
from spikewright.export.formats.nir_discretise import DIALECTS
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.ir import Array, Delay, Graph, LoweringError
from spikewright.sim.reference import Reference

from .nir_files import ends, written

pytestmark = pytest.mark.filterwarnings("ignore::spikewright.export.ir.errors.FormatWarning")
STEPS, SIZE = 12, 6
READINGS = ("portable", "norse", "snntorch", "spikingjelly", "sinabs")


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(0, 0.2, shape).astype(np.float32)


def neuron(kind: str, shape: tuple[int, ...], reading: str) -> Any:
    dt = DIALECTS[reading].dt or 1.0

    def full(value: float) -> Array:
        return np.full(shape, value)

    rule = {"v_threshold": full(0.6), "v_reset": full(0)}
    if kind == "IF":
        return nir.IF(r=full(1 / dt), **rule)
    if kind == "LIF":
        return nir.LIF(tau=full(4 * dt), r=full(4), v_leak=full(0), **rule)
    tau = {"tau_syn": full(3 * dt), "tau_mem": full(4 * dt)}
    return nir.CubaLIF(**tau, r=full(4), v_leak=full(0), w_in=full(3), **rule)


def recurrent(kind: str, weights: str, reading: str, bias: bool) -> tuple[dict[str, Any], Any]:
    """in -> w -> n -> out and n -> rec -> n."""
    if weights == "conv":
        shape: tuple[int, ...] = (2, 4, 4)
        offset = drawn(4, 2) if bias else np.zeros(2, np.float32)
        w = nir.Conv2d((4, 4), np.abs(drawn(1, 2, 2, 3, 3)), 1, 1, 1, 1, np.zeros(2, np.float32))
        rec: Any = nir.Conv2d((4, 4), drawn(2, 2, 2, 3, 3) / 2, 1, 1, 1, 1, offset)
    else:
        shape = (SIZE,)
        w = nir.Linear(np.abs(drawn(1, SIZE, SIZE)) * 2)
        back = drawn(2, SIZE, SIZE)
        rec = nir.Affine(back, drawn(4, SIZE)) if bias else nir.Linear(back)
    start, end = ends(shape)
    nodes = {"input": start, "w": w, "n": neuron(kind, shape, reading), "rec": rec, "output": end}
    edges = [("input", "w"), ("w", "n"), ("n", "rec"), ("rec", "n"), ("n", "output")]
    return nodes, edges


def spikes_in(shape: tuple[int, ...]) -> Array:
    """[sample, time, ...]"""
    return (np.random.default_rng(5).random((3, STEPS, *shape)) < 0.4).astype(np.int64)


def lowered(path: Path, reading: str, x: Array) -> Graph:
    floats = read_nir(path, reading)
    taken = replace(floats.input, encoding="spikes")
    graph = sw.lower(floats.replace({**floats.nodes, floats.input_name: taken}), calibrate=x)
    assert isinstance(graph, Graph) and graph.level == "integer"
    assert sw.verify(graph, x, executors=("reference", "native", "onnxruntime")).equal
    return graph


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF"])
@pytest.mark.parametrize("weights", ["linear", "affine", "conv", "conv with a bias"])
def test_a_recurrent_file_lowers_to_integers(
    tmp_path: Path, reading: str, kind: str, weights: str
) -> None:
    bias = weights in ("affine", "conv with a bias")
    nodes, edges = recurrent(kind, weights.split()[0], reading, bias)
    if reading == "sinabs":  # several spikes a step: a loop that damps, or their number has no end
        nodes["rec"].weight /= 20 if weights.startswith("conv") else 8
    path = written(tmp_path / "r.nir", nodes, edges)
    graph = read_nir(path, reading)
    x = spikes_in(graph.input.shape)
    if kind == "CubaLIF" and bias and reading != "snntorch":
        with pytest.raises(LoweringError, match="rec: what is delayed has a bias, and n has no"):
            lowered(path, reading, x)
        return
    integers = lowered(path, reading, x)
    (delay,) = integers.of_kind(Delay)
    assert integers.inputs(delay) == ("n",) and integers.inputs("rec") == (delay,)
    floats = Reference(np.float64).prepare(graph).run(np.swapaxes(x, 0, 1).astype(np.float64))
    due = floats.neurons["n"].spikes
    found = Reference().prepare(integers).run(np.swapaxes(x, 0, 1)).neurons["n"].spikes
    assert 0.01 < (due > 0).mean() < 0.999
    assert np.abs(found - due).mean() < (0.05 * due.mean() if reading == "sinabs" else 0.12)


def test_several_loops_through_pools_and_a_graph_within(tmp_path: Path) -> None:
    """Two loops of one neuron, one through pool, flatten and two weights; a subgraph with its own.

    The float graph equals that of the same file whose delays are written behind the weights.
    """
    shape = (2, 4, 4)
    start, end = ends(shape, (SIZE,))
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    inner_start, inner_end = ends((SIZE,))
    inner = {"input": inner_start, "n": neuron("LIF", (SIZE,), "portable")}
    inner |= {"rec": nir.Linear(drawn(6, SIZE, SIZE)), "output": inner_end}
    within = [("input", "n"), ("n", "rec"), ("rec", "n"), ("n", "output")]
    flat = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
    nodes, edges = recurrent("LIF", "conv", "portable", bias=False)
    nodes |= {
        "input": start,
        "pool": pool,
        "up": nir.Conv2d((2, 2), drawn(7, 2, 2, 1, 1), 1, 2, 1, 1, np.zeros(2, np.float32)),
        "more": nir.Conv2d((6, 6), drawn(8, 2, 2, 3, 3), 1, 0, 1, 1, np.zeros(2, np.float32)),
        "flat": flat,
        "fc": nir.Linear(drawn(9, SIZE, 32) + 0.02),
        "sub": nir.NIRGraph(inner, within),
        "output": end,
    }
    edges = [edge for edge in edges if edge != ("n", "output")]
    edges += [("n", "pool"), ("pool", "up"), ("up", "more"), ("more", "n")]
    edges += [("n", "flat"), ("flat", "fc"), ("fc", "sub"), ("sub", "output")]
    path = written(tmp_path / "s.nir", nodes, edges)
    x = spikes_in(shape)
    graph, integers = read_nir(path), lowered(path, "portable", x)
    sources = {graph.inputs(name)[0] for name in graph.of_kind(Delay)}
    assert sources == {"n", "sub.n"} and set(graph.metadata["delays"]) == set(graph.of_kind(Delay))
    assert {integers.inputs(name)[0] for name in integers.of_kind(Delay)} == sources
    late = {**nodes, "d1": nir.Delay(np.full(shape, 1e-4)), "d2": nir.Delay(np.full(shape, 1e-4))}
    behind = [e for e in edges if e not in (("rec", "n"), ("more", "n"))]
    behind += [("rec", "d1"), ("d1", "n"), ("more", "d2"), ("d2", "n")]
    other = read_nir(written(tmp_path / "l.nir", late, behind))
    assert other.inputs("d1") == ("rec",)
    values = np.swapaxes(x, 0, 1).astype(np.float32)
    one, two = (Reference().prepare(g).run(values).neurons for g in (graph, other))
    for name in ("n", "sub.n"):
        assert 0.02 < one[name].spikes.mean() < 0.98
        np.testing.assert_array_equal(one[name].spikes, two[name].spikes)
        np.testing.assert_array_equal(one[name].v, two[name].v)


def spiking(network: Any, layers: list[Any], x: Array) -> Array:
    """Return what the recurrent layers emit of x [time, sample, feature], side by side."""
    torch = pytest.importorskip("torch")
    states: list[tuple[Any, ...]] = [() for _ in layers]
    steps = []
    for frame in torch.from_numpy(x):
        _, states = network(frame, states)
        steps.append(np.concatenate([state[0].detach().numpy() for state in states], axis=1))
    return np.stack(steps)


def test_what_snntorch_exports_spikes_as_snntorch_does(tmp_path: Path) -> None:
    """RLeaky of all-to-all weights with a bias, and one to one; each a graph within the graph."""
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch")
    pytest.importorskip("nirtorch")
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(0)
    rule = {"reset_mechanism": "zero", "reset_delay": False}
    first = snn.RLeaky(beta=0.75, threshold=0.25, linear_features=10, **rule)
    second = snn.RLeaky(beta=0.5, threshold=0.2, all_to_all=False, V=torch.randn(SIZE), **rule)

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.m0, self.m1 = torch.nn.Linear(8, 10), first
            self.m2, self.m3 = torch.nn.Linear(10, SIZE), second

        def forward(self, x: Any, states: Any = ((), ())) -> Any:
            one = self.m1(self.m0(x), *states[0])
            two = self.m3(self.m2(one[0]), *states[1])
            return two[0], [one, two]

    network = Network()
    graph = export_to_nir(network, torch.rand(1, 8), ignore_dims=[0])
    nir.write(str(tmp_path / "s.nir"), graph)
    for layer in (first, second):
        layer.reset_mem()
    x = (np.random.default_rng(1).random((20, 5, 8)) < 0.4).astype(np.float32)
    due = spiking(network, [first, second], x)
    read = read_nir(tmp_path / "s.nir", "snntorch")
    assert list(read.neurons) == ["m1.lif", "m3.lif"]
    found = Reference().prepare(read).run(x).neurons.values()
    np.testing.assert_array_equal(np.concatenate([n.spikes for n in found], 2), due)
    assert 0.05 < due.mean() < 0.9
    samples = np.swapaxes(x, 0, 1).astype(np.int64)
    integers = lowered(tmp_path / "s.nir", "snntorch", samples)
    whole = Reference().prepare(integers).run(x.astype(np.int64)).neurons.values()
    assert (np.concatenate([n.spikes for n in whole], 2) != due).mean() < 0.01
