"""SANA-FE's own examples on our side: its chip's constants and mapped network, as its files say.

The driver hands over the text of the YAML files that the package ships; they are read here at run
time and no figure of theirs is written down. A synapse exists where their edge does. Weights,
thresholds and biases are brought to one common unit, in which all are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spikewright.export.ir import Add, Delay, Graph, Input, Linear, Neuron, Node, Output
from spikewright.hw_targets.activity import Activity, Observer
from spikewright.hw_targets.mapping import Layer, Mapped
from spikewright.hw_targets.target import Target, load_target
from spikewright.sim.reference import Reference

EXAMPLES = (("example_chip.yaml", "example_snn.yaml"), ("tutorial_arch.yaml", "tutorial_snn.yaml"))
"""What the package ships beside the chips that `load_loihi` and `load_truenorth` load."""
PART = {
    "synapse": {"synop_pj": "energy_process_spike", "synop_ns": "latency_process_spike"},
    "soma": {
        "neuron_access_pj": "energy_access_neuron",
        "neuron_access_ns": "latency_access_neuron",
        "neuron_update_pj": "energy_update_neuron",
        "neuron_update_ns": "latency_update_neuron",
        "spike_pj": "energy_spike_out",
        "spike_ns": "latency_spike_out",
    },
    "axon_out": {"packet_pj": "energy_message_out", "packet_out_ns": "latency_message_out"},
    "axon_in": {"packet_in_ns": "latency_message_in"},
}
"""Our constants, by the part of a core and the attribute that they are there."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A neuron of theirs: its attributes, the number of its core, the model of its soma."""

    name: str
    attributes: dict[str, Any]
    core: int
    model: str


def target_of(arch: str, folder: Path) -> Target:
    """Return their chip as a target of ours, written to `folder` and read back."""
    data = yaml.safe_load(arch)["architecture"]
    tile = data["tile"][0]
    core = tile["core"][0]
    constants = {}
    for part, names in PART.items():
        given = core[part][0]["attributes"]  # neurons that name no unit stand on the first
        for ours, theirs in names.items():
            unit, factor = ("pJ", 1e12) if ours.endswith("_pj") else ("ns", 1e9)
            constants[ours] = _constant(given[theirs] * factor, unit, f"{data['name']}: {theirs}")
    for way, direction in (("ew", "east"), ("ns", "north")):
        for kind, unit, factor in (("energy", "pJ", 1e12), ("latency", "ns", 1e9)):
            value = tile["attributes"][f"{kind}_{direction}_hop"] * factor
            name = f"hop_{way}_{unit.lower()}"
            constants[name] = _constant(value, unit, f"{data['name']}: {direction} hop")
    limits = {
        "cores_per_tile": _constant(_count(core["name"]), "count", data["name"]),
        "mesh_rows": _constant(data["attributes"]["height"], "count", data["name"]),
    }
    costs = {"theirs": {"model": "events", "constants": constants}}
    path = folder / f"{data['name']}.yaml"
    path.write_text(yaml.safe_dump({"name": data["name"], "limits": limits, "costs": costs}))
    return load_target(str(path))


def _constant(value: float, unit: str, source: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "source": source, "evidence": "simulated"}


def _count(name: str) -> int:
    """Return how many a name like ``core[0..3]`` stands for."""
    if "[" not in name:
        return 1
    first, _, last = name.partition("[")[2].rstrip("]").partition("..")
    return int(last or first) - int(first) + 1


def neurons_of(arch: str, net: str) -> dict[str, Placed]:
    """Return their neurons by ``group.number``, on cores numbered tile by tile."""
    core = yaml.safe_load(arch)["architecture"]["tile"][0]["core"][0]
    models = {str(s["name"]).partition("[")[0]: s["attributes"]["model"] for s in core["soma"]}
    first, each = next(iter(models)), _count(core["name"])
    data = yaml.safe_load(net)
    mapped: dict[str, dict[str, Any]] = {}
    for entry in data["mappings"]:
        for name, attributes in entry.items():
            mapped[str(name)] = _merged(attributes)
    found = {}
    for group in data["network"]["groups"]:
        for number, own in _numbered(group["neurons"]):
            name = f"{group['name']}.{number}"
            place = mapped.get(name) or mapped[str(group["name"])]
            tile, _, at = str(place["core"]).partition(".")
            model = models[str(place.get("soma", first)).partition("[")[0]]
            attributes = {**_merged(group["attributes"]), **own}
            found[name] = Placed(name, attributes, int(tile) * each + int(at), model)
    return found


def _numbered(neurons: list[dict[Any, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for entry in neurons:
        for key, attributes in entry.items():
            first, _, last = str(key).partition("..")
            for number in range(int(first), int(last or first) + 1):
                yield number, _merged(attributes)


def _merged(attributes: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return a list of single attributes as one mapping; a unit's own are attributes too."""
    found: dict[str, Any] = {}
    for entry in attributes or ():
        for key, value in entry.items():
            found |= value if isinstance(value, dict) else {key: value}
    return found


def edges_of(net: str, neurons: dict[str, Placed]) -> dict[tuple[str, str], Any]:
    """Return their weights by sender and receiver; a dense edge lists them sender by sender."""
    found: dict[tuple[str, str], Any] = {}
    for entry in yaml.safe_load(net)["network"]["edges"]:
        for key, attributes in entry.items():
            senders, receivers = (
                [n for n in neurons if n == end or n.rpartition(".")[0] == end]
                for end in str(key).split(" -> ")
            )
            pairs = [(a, b) for a in senders for b in receivers]
            weight = _merged(attributes)["weight"]
            values = weight if isinstance(weight, list) else [weight] * len(pairs)
            found |= dict(zip(pairs, values, strict=True))
    return found


def activity_of(arch: str, net: str, steps: int, target: Target) -> Activity:
    """Return what the cores do when our integers run their network."""
    neurons = neurons_of(arch, net)
    edges = edges_of(net, neurons)
    inputs = [n for n in neurons.values() if n.model == "input"]
    rest = [n for n in neurons.values() if n.model != "input"]
    graph = _graph(inputs, rest, edges)
    x = np.zeros((steps, 1, max(1, len(inputs))), np.int64)
    for k, neuron in enumerate(inputs):
        spikes = neuron.attributes.get("spikes", [])[:steps]
        x[: len(spikes), 0, k] = spikes
    every = 1 + max(n.core for n in neurons.values())
    layers = [_layer("in", [n.core for n in inputs], every)] if inputs else []
    layers.append(_layer("n", [n.core for n in rest], every))
    observer = Observer(graph, target, Mapped(tuple(layers), every, {}), effective=True)
    observer(Reference().prepare(graph).run(x, "states"))
    return observer.activity()


def _layer(name: str, cores: list[int], every: int) -> Layer:
    return Layer(name, (), len(cores), 0, 0, 1, False, every, 0, np.array(cores, np.int32))


def _graph(inputs: list[Placed], rest: list[Placed], edges: dict[tuple[str, str], Any]) -> Graph:
    """Return their network; an edge that is not there has the weight 0."""
    unit = _unit([*edges.values(), *(n.attributes.get(k, 0) for n in rest for k in INTEGERS)])
    width = max(1, len(inputs))

    def weights(senders: list[Placed]) -> Linear:
        rows = [[round(edges.get((a.name, b.name), 0) * unit) for a in senders] for b in rest]
        return Linear(np.array(rows, np.int8).reshape(len(rest), -1), bits=8)

    def own(key: str) -> Any:
        return np.array([round(n.attributes.get(key, 0) * unit) for n in rest], np.int32)

    silent = Linear(np.zeros((len(rest), 1), np.int8), bits=8)
    nodes: dict[str, Node] = {
        "in": Input((width,), "spikes", low=0, high=1),
        "in.late": Delay((width,), 1),
        "w": weights(inputs) if inputs else silent,
        "n.late": Delay((len(rest),), 1),
        "loop": weights(rest),
        "sum": Add(),
        "n": Neuron((len(rest),), own("threshold"), bias=own("bias"), state_bits=24),
        "out": Output("none"),
    }
    links: list[Any] = [("in", "in.late"), ("in.late", "w"), ("n", "n.late"), ("n.late", "loop")]
    links += [("w", "sum", 0), ("loop", "sum", 1), ("sum", "n"), ("n", "out")]
    return Graph(nodes, links, "integer")


INTEGERS = ("threshold", "bias")
"""What is compared with or added to weights."""


def _unit(values: list[Any]) -> int:
    """Return the least factor that makes every value whole."""
    return lcm(*(Fraction(str(value)).denominator for value in values))
