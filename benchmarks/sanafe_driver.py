"""A program of its own: runs networks on SANA-FE's Loihi and prints what it counted.

It runs in an environment where SANA-FE is installed (`beside_sanafe.py` makes one), reads networks
as JSON lines from stdin and writes results as JSON lines to the file named by its argument. Nothing
of spikewright is imported here, and nothing of SANA-FE there.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files

import sanafe


def load(spec):
    """Return a chip that holds the network of a spec (see `beside_sanafe.py`)."""
    arch, net = sanafe.load_loihi(), sanafe.Network()
    cores = arch.cores()
    groups = []
    used = {}
    for index, layer in enumerate(spec["layers"]):
        group = net.create_neuron_group(f"layer{index}", layer["neurons"])
        for k in range(layer["neurons"]):
            core = layer["cores"][k]
            if "spikes" in layer:
                unit = used.setdefault(core, 0)
                used[core] += 1
                name, model = f"loihi_inputs[{unit}]", {"spikes": layer["spikes"][k]}
            else:
                name = "loihi_lif"
                model = {
                    "threshold": layer["threshold"],
                    "reset": 0.0,
                    "reset_mode": "hard",
                    "leak_decay": layer["leak_decay"],
                    "input_decay": 0.0,
                }
            group[k].set_attributes(soma_hw_name=name, model_attributes=model)
            group[k].map_to_core(cores[core])
        groups.append(group)
    for index, weight in enumerate(spec["weights"]):
        for j, row in enumerate(weight):
            for i, value in enumerate(row):
                if value is not None:
                    groups[index][i].connect_to_neuron(groups[index + 1][j], {"weight": value})
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    return chip


def example(arch_name, net_name, steps):
    """Run an example that the package ships; return what it counted, and the example's files."""
    base = files("sanafe.examples")
    arch = sanafe.load_arch(base / arch_name)
    net = sanafe.load_net(base / net_name, arch)
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    texts = {"arch": (base / arch_name).read_text(), "net": (base / net_name).read_text()}
    return chip.sim(steps, timing_model="detailed"), texts


def main():
    """Answer each line of stdin by a line of the output file."""
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        for line in sys.stdin:
            spec = json.loads(line)
            if "example" in spec:
                found, texts = example(*spec["example"], spec["steps"])
            else:
                found, texts = load(spec).sim(spec["steps"], timing_model="detailed"), {}
            kept = {k: found[k] for k in KEPT}
            out.write(json.dumps({**kept, **texts, "energy": dict(found["energy"])}) + "\n")


KEPT = ("sim_time", "spikes", "packets_sent", "neurons_updated", "neurons_fired")

if __name__ == "__main__":
    main()
