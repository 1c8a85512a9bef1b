"""Counts, energy and latency of `loihi1 --cost sanafe` beside SANA-FE itself, and its examples.

    python -m benchmarks.beside_sanafe [--networks 24] [--env .venv-sanafe]      (make sanafe)

Random networks of dense layers, mapped neuron by neuron to random cores or layer by layer, run on
our integers and on SANA-FE 2.2.9 (GPL: a program of its own in an environment of its own, which is
made on the first run; it is spoken to in JSON). Prints a table; exits with 1 where a count differs,
an energy by more than 0.1 %, or a latency by more than 25 %.

Then the examples that the package ships (chip and mapped network, as they are) run on both sides,
with the constants of its own files (`sanafe_example.py`).

On Loihi a spike reaches the next layer one step later, so our side runs the network with a Delay of
one step before each layer, until everything has drained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from spikewright.export.ir import Delay, Graph, Input, Linear, Neuron, Node, Output
from spikewright.hw_targets.activity import Activity, Observer
from spikewright.hw_targets.cost_events import layer_energy_pj
from spikewright.hw_targets.mapping import Layer, Mapped
from spikewright.hw_targets.target import CostTable, load_target
from spikewright.sim.reference import Reference

from .sanafe_example import EXAMPLES, activity_of, neurons_of, target_of

PACKAGE = "sanafe==2.2.9"
CORES = 128
EXAMPLE_STEPS = 100
DRIVER = Path(__file__).with_name("sanafe_driver.py")


def random_network(rng: np.random.Generator) -> dict[str, Any]:
    """Return sizes, integer weights, thresholds, decays, a core for each neuron, and input."""
    sizes = [int(n) for n in rng.integers(4, 48, int(rng.integers(3, 6)))]
    scattered = bool(rng.integers(2))
    pool = rng.choice(CORES, int(rng.integers(2, 24)), replace=False)
    cores = []
    for size in sizes:
        if scattered:
            cores.append(rng.choice(pool, size).astype(np.int32))
        else:
            cores.append(np.full(size, rng.choice(pool), np.int32))
    weights = [rng.integers(-20, 40, (b, a)).astype(np.int8) for a, b in pairwise(sizes)]
    steps = int(rng.integers(8, 24))
    return {
        "sizes": sizes,
        "cores": cores,
        "weights": weights,
        "thresholds": [int(n) for n in rng.integers(30, 200, len(weights))],
        "decays": [int(n) for n in rng.choice([0, 256, 1024, 2048], len(weights))],
        "steps": steps,
        "drained": steps + len(sizes) + 1,
        "input": (rng.random((steps, sizes[0])) < rng.uniform(0.05, 0.5)).astype(np.int64),
    }


def spec_of(net: dict[str, Any]) -> dict[str, Any]:
    """Return the network as the driver takes it: thresholds and potentials in whole weights."""
    late = np.zeros((net["drained"], net["sizes"][0]), np.int64)
    late[: net["steps"]] = net["input"]
    layers: list[dict[str, Any]] = [{"neurons": net["sizes"][0], "spikes": late.T.tolist()}]
    for size, threshold, decay in zip(
        net["sizes"][1:], net["thresholds"], net["decays"], strict=True
    ):
        layers.append(
            {"neurons": size, "threshold": float(threshold), "leak_decay": (4096 - decay) / 4096}
        )
    for layer, cores in zip(layers, net["cores"], strict=True):
        layer["cores"] = cores.tolist()
    weights = [w.astype(float).tolist() for w in net["weights"]]
    return {"layers": layers, "weights": weights, "steps": net["drained"]}


def ours(net: dict[str, Any]) -> Activity:
    """Return the activity of the same network on our side."""
    nodes: dict[str, Node] = {"in": Input((net["sizes"][0],), "spikes", low=0, high=1)}
    for k, weight in enumerate(net["weights"]):
        size = (len(weight),)
        nodes[f"delay{k}"] = Delay((weight.shape[1],), 1)
        nodes[f"fc{k}"] = Linear(weight, bits=8)
        nodes[f"n{k}"] = Neuron(
            size,
            np.int32(net["thresholds"][k] * 64),
            dv=np.int32(net["decays"][k]),
            state_shift=6,
            state_bits=24,
        )
    graph = Graph.chain({**nodes, "out": Output("none")}, "integer")
    layers = tuple(
        Layer(name, (), len(cores), 0, 0, 1, False, CORES, 0, cores)
        for name, cores in zip(("in", *graph.neurons), net["cores"], strict=True)
    )
    observer = Observer(graph, load_target("loihi1"), Mapped(layers, CORES, {}))
    x = np.zeros((net["drained"], 1, net["sizes"][0]), np.int64)
    x[: net["steps"], 0] = net["input"]
    observer(Reference().prepare(graph).run(x, "states"))
    return observer.activity()


def row(net: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison of one network. SANA-FE counts an input's spike as fired, updated."""
    table = load_target("loihi1").cost("sanafe")
    assert table is not None
    where = {
        "network": "-".join(map(str, net["sizes"])),
        "cores": len({int(c) for cores in net["cores"] for c in cores}),
        "steps": net["drained"],
    }
    return {**where, **beside(ours(net), table, int(net["input"].sum()), theirs)}


def beside(
    activity: Activity, table: CostTable, given: int, theirs: dict[str, Any]
) -> dict[str, Any]:
    """Return both sides' counts, energies and latencies; `given`: spikes of inputs."""
    counts = {
        "synops": (activity.total("synops"), theirs["spikes"]),
        "packets": (activity.total("packets_out"), theirs["packets_sent"]),
        "updated": (activity.total("updated") + given, theirs["neurons_updated"]),
        "fired": (activity.total("fired") + given, theirs["neurons_fired"]),
    }
    parts = layer_energy_pj(activity, table)
    energy = sum(float(np.sum(v)) for layer in parts.values() for v in layer.values()) * 1e-12
    latency = float(activity.latency_ns[table.name].sum()) * 1e-9
    return {
        **{name: int(one) for name, (one, _) in counts.items()},
        "counts equal": all(one == two for one, two in counts.values()),
        "energy uJ": energy * 1e6,
        "energy off %": 100 * (energy / theirs["energy"]["total"] - 1),
        "latency us": latency * 1e6,
        "latency off %": 100 * (latency / theirs["sim_time"] - 1),
    }


def example_row(name: str, theirs: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the comparison of an example of theirs."""
    target = target_of(theirs["arch"], folder)
    table = target.cost()
    assert table is not None
    neurons = neurons_of(theirs["arch"], theirs["net"])
    given = sum(sum(n.attributes.get("spikes", ())) for n in neurons.values())
    activity = activity_of(theirs["arch"], theirs["net"], EXAMPLE_STEPS, target)
    where = {"network": name, "cores": len({n.core for n in neurons.values()})}
    return {**where, "steps": EXAMPLE_STEPS, **beside(activity, table, given, theirs)}


def environment(path: Path) -> Path:
    """Return the interpreter of the environment that holds SANA-FE, made if need be."""
    python = path / "bin" / "python"
    if not python.exists():
        print(f"making {path} with {PACKAGE}", file=sys.stderr)
        venv.create(path, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    return python


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--env", type=Path, default=Path(".venv-sanafe"))
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    nets = [random_network(rng) for _ in range(options.networks)]
    out = options.env.resolve() / "results.jsonl"
    python = environment(options.env.resolve())
    specs = [spec_of(net) for net in nets]
    specs += [{"example": pair, "steps": EXAMPLE_STEPS} for pair in EXAMPLES]
    lines = "\n".join(json.dumps(spec) for spec in specs)
    subprocess.run(
        [python, DRIVER, out], input=lines, text=True, check=True, stdout=subprocess.DEVNULL
    )
    found = [json.loads(line) for line in out.read_text().splitlines()]
    rows = [row(net, theirs) for net, theirs in zip(nets, found, strict=False)]
    for (_, name), theirs in zip(EXAMPLES, found[len(nets) :], strict=True):
        rows.append(example_row(name, theirs, options.env.resolve()))
    from spikewright.cli.output import print_table

    print_table(rows, list(rows[0]))
    energy = max(abs(r["energy off %"]) for r in rows)
    latency = max(abs(r["latency off %"]) for r in rows)
    equal = all(r["counts equal"] for r in rows)
    print(f"counts equal: {equal}; energy within {energy:.4f} %, latency within {latency:.2f} %")
    return 0 if equal and energy <= 0.1 and latency <= 25 else 1


if __name__ == "__main__":
    sys.exit(main())
