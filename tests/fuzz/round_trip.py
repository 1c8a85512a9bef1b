"""Round trips at length: `python tests/fuzz/round_trip.py --graphs 1000 --seed 0`.

Writes random integer graphs as NIR, reads them back, and counts the integers that came back. Exit
code 1 on the first graph that changed, with its seed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.fuzz.graphs import random_graph
else:
    from .graphs import random_graph

from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_out import write_nir
from spikewright.export.ir import Graph
from spikewright.export.ir.digest import digest


def integers(graph: Graph) -> int:
    """Return how many integers the arrays of a graph hold."""
    fields = [value for node in graph.nodes.values() for value in node.field_values().values()]
    arrays = [value for value in fields if isinstance(value, np.ndarray)]
    return sum(array.size for array in arrays if array.dtype.kind in "iu")


def main(words: list[str] | None = None) -> int:
    """Run; return 1 if a graph came back changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--graphs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    found: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        for seed in range(chosen.seed, chosen.seed + chosen.graphs):
            graph = random_graph(np.random.default_rng(seed))
            warnings = write_nir(graph, path, force=True)
            if digest(read_nir(path, strict=True)) != digest(graph):
                print(f"seed {seed}: the graph came back changed")
                return 1
            plain = not any("no plain nodes" in line for line in warnings)
            found.update(graphs=1, nodes=len(graph.nodes), integers=integers(graph))
            found.update({"with plain nodes for other readers": plain})
    print(", ".join(f"{count:,} {what}" for what, count in found.items()) + ": all came back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
