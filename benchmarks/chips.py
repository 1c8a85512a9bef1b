"""Shipped checkpoints on every shipped chip: does it fit, what it costs, what to change.

    python -m benchmarks.chips [--limit 32] [--sources a,b]      (make chips)

Each network is lowered to each chip's number format, as `spikewright lower --target` does; where
the format cannot express it, or a limit is broken, the table says what to change. Energies and
latencies are means over test samples of the data that the checkpoint was trained on, static power
apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from spikewright import api
from spikewright.cli.output import print_table
from spikewright.export.ir import Graph, SpikewrightError
from spikewright.hw_targets.estimate import estimate
from spikewright.hw_targets.fit import check
from spikewright.hw_targets.measure import measure
from spikewright.hw_targets.target import Target, targets
from spikewright.sources import read_source

COLUMNS = ("network", "target", "fits", "cores", "cost", "energy uJ", "latency us", "remedy")


def rows(source: str, limit: int) -> Iterator[dict[str, Any]]:
    """Yield a row a target and cost table."""
    graph = read_source(source)
    data = _samples(graph, limit)
    for target in targets():
        try:
            lowered = api.lower(graph, target=target.name)
        except SpikewrightError as error:
            yield {"network": source, "target": target.name, "fits": False, "remedy": str(error)}
            continue
        yield from _costs(source, lowered, data, target)


def _samples(graph: Graph, limit: int) -> Any:
    from spikewright.trainer.data import load

    return load(str(graph.metadata["data"]), "test", limit)


def _costs(source: str, graph: Graph, data: Any, target: Target) -> Iterator[dict[str, Any]]:
    fit = check(graph, target)
    steps = api.steps_for(graph, data.x)
    run, activity = measure(graph, data.x, steps, target)
    first = fit.violations[0] if fit.violations else None
    remedy = f"{first.layer}: {first.limit} {first.found}; {first.remedy}" if first else ""
    for cost in target.costs or (None,):
        found = estimate(graph, run.counters, target, cost=cost, activity=activity)
        yield {
            "network": source,
            "target": target.name,
            "fits": fit.fits if target.limits else None,
            "cores": fit.cores if target.limits else None,
            "cost": cost or "(fit only)",
            "energy uJ": found.energy_uj["total"] if found.energy_uj else None,
            "latency us": found.latency_us,
            "remedy": remedy or "; ".join((*(f"{n} on the host" for n in fit.host), *fit.rewrites)),
        }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--sources", default="digits", help="names whose data are packaged")
    options = parser.parse_args()
    found = [row for name in options.sources.split(",") for row in rows(name, options.limit)]
    print_table(found, COLUMNS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
