"""The report: well-formed, self-contained, escaped, the same bytes each time."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from spikewright import api
from spikewright.export.ir import FormatError, Graph, Input, Linear, Neuron, Output
from spikewright.hw_targets.measure import measure
from spikewright.hw_targets.report import OnTarget, write_report
from spikewright.hw_targets.target import Target, targets
from spikewright.sim.counters import count
from spikewright.sim.encode import encode
from spikewright.sim.reference import Reference
from spikewright.sim.verify import Verification, compare, verify

from .networks import dense

VOID = {"meta", "br", "rect", "path", "link", "img"}


class Balanced(HTMLParser):
    """Fails on a tag that is not closed, and on anything that would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object")
        for name, value in attrs:
            assert name not in ("src", "href") and "url(" not in (value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def on_target(target: Target, graph: Graph, x: np.ndarray) -> OnTarget:
    found = measure(graph, x, 5, target, executor_name="reference")
    estimates = tuple(found.estimate(table) for table in target.costs or (None,))
    return OnTarget(target, found.fit, graph, estimates, 0.5)


def written(path: Path, graph: Graph, **options: object) -> Path:
    x = np.random.default_rng(0).integers(0, 2, (4, 5, *graph.input.shape))
    values = encode(graph, x)
    trace = Reference().prepare(graph).run(values)
    counters = count(trace)
    return write_report(
        path,
        graph=graph,
        counters=counters,
        trace=trace,
        verification=verify(graph, values, ("reference", "native")),
        targets=[on_target(target, graph, x) for target in targets()],
        accuracies={"integer": 0.75, "float": None},
        **options,  # type: ignore[arg-type]
    )


def test_the_page_is_well_formed_and_fetches_nothing(tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", dense()).read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    for text in ("Proof of equality", "75.00 %", "Davies", "not modelled", "sha256"):
        assert text.lower() in page.lower(), text
    assert "@import" not in page


def test_names_are_escaped(tmp_path: Path) -> None:
    graph = dense()
    evil = "<b>&"
    nodes = {evil if name == "n" else name: node for name, node in graph.nodes.items()}
    edges = [tuple(evil if end == "n" else end for end in edge) for edge in graph.edges]
    page = written(tmp_path / "r.html", Graph(nodes, edges, "integer")).read_text()  # type: ignore[arg-type]
    assert evil not in page and "&lt;b&gt;&amp;" in page


def test_same_run_same_bytes(tmp_path: Path) -> None:
    one, two = (written(tmp_path / name, dense()) for name in ("a.html", "b.html"))
    assert one.read_bytes() == two.read_bytes()
    assert one.with_suffix(".json").read_bytes() == two.with_suffix(".json").read_bytes()


def test_the_json_says_the_same(tmp_path: Path) -> None:
    data = json.loads(written(tmp_path / "r.html", dense()).with_suffix(".json").read_text())
    assert data["schema"] == "spikewright/report/1" and data["accuracies"] == {"integer": 0.75}
    assert {fit["target"] for fit in data["fits"]} == {t.name for t in targets()}
    assert len(data["steps"]["spike_rate"]["n"]) == 5
    energies = {(e["target"], e["cost"]): e["energy_uj"] for e in data["estimates"]}
    assert energies[("loihi2", None)] is None and energies[("loihi1", "davies")]["total"] > 0
    ranges = {(e["target"], e["cost"]): e["energy_range_uj"] for e in data["estimates"]}
    low, high = ranges[("loihi1", "sanafe")]
    assert low < energies[("loihi1", "sanafe")]["total"] < high
    assert ranges[("loihi1", "davies")] is None


def test_an_existing_report_is_kept(tmp_path: Path) -> None:
    written(tmp_path / "r.html", dense())
    with pytest.raises(FormatError, match="force=True"):
        written(tmp_path / "r.html", dense())
    written(tmp_path / "r.html", dense(units=5), force=True)


def test_a_difference_is_shown(tmp_path: Path) -> None:
    graph = dense()
    values = encode(graph, np.ones((1, 3, 6), np.int64))
    one = Reference().prepare(graph).run(values)
    two = Reference().prepare(graph).run(values)
    two.output[2, 0, 1] += 1
    found = compare(one, two, ("reference", "other"))
    assert not isinstance(found, int)
    page = write_report(
        tmp_path / "r.html",
        graph=graph,
        counters=count(one),
        trace=one,
        verification=Verification(("reference", "other"), 1, 3, 10, found),
        targets=[],
        accuracies={},
    ).read_text()
    assert "Not equal" in page and "step 2" in page


def test_a_chip_that_cannot_express_the_network_says_so_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    """A leak of tau = 2 has no form on ODIN; 45 nm arithmetic is priced all the same."""
    neuron = Neuron((4,), np.float32(1), beta=np.float32(0.5))
    nodes = {"in": Input((6,), "spikes"), "fc": Linear(np.ones((4, 6), np.float32)), "n": neuron}
    source = Graph.chain({**nodes, "out": Output("spike_count")}, "float")
    x = (np.random.default_rng(0).random((3, 4, 6)) < 0.4).astype(np.int64)
    page = api.report(
        api.lower(source, calibrate=x),
        x,
        tmp_path / "r.html",
        targets=["odin", "generic-45nm"],
        source=source,
        executors=["reference", "onnxruntime"],
    )
    found = json.loads(page.with_suffix(".json").read_text())
    odin, plain = found["fits"]
    assert not odin["fits"] and not odin["lowered"] and plain["lowered"]
    assert odin["violations"][0]["layer"] == "n"
    assert "decay, which odin lacks" in odin["violations"][0]["found"]
    assert {e["target"] for e in found["estimates"]} == {"generic-45nm"}
    text = page.read_text()
    assert "number format cannot express the network" in text and "decay" in text
    Balanced().feed(text)


def test_a_network_of_input_and_output_alone_has_a_report(tmp_path: Path) -> None:
    graph = Graph.chain(
        {"input": Input((3,), "spikes", low=0, high=1), "output": Output("none")}, "integer"
    )
    page = api.report(graph, np.ones((1, 3), np.float32), tmp_path / "r.html", time_steps=2)
    layers = json.loads(page.with_suffix(".json").read_text())["layers"]
    assert {row["spikes"] for row in layers} == {None}
