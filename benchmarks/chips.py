"""Shipped checkpoints on every shipped chip: does it fit, what it costs, what to change.

    python -m benchmarks.chips [--limit 450] [--cifar10 DIR] [--out docs/chips.md]      (make chips)

Each network is lowered to each chip's number format, as `spikewright lower --target` does; where
the format cannot express it, or a limit is broken, the table says what to change. Energies,
latencies and accuracies are of test samples of the data that the checkpoint was trained on, static
power apart. Where a chip tests its threshold after every event, accuracy is given so, too, before
and after the calibration for it. Pictures that are not packaged are taken from --cifar10; without
it only whether those networks fit is told, lowered on noise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spikewright import api
from spikewright.cli.lower import event_accuracies
from spikewright.cli.output import percent
from spikewright.export.ir import Graph, SpikewrightError
from spikewright.hw_targets.event_calibration import KEY
from spikewright.hw_targets.fit import FitReport, check
from spikewright.hw_targets.measure import measure
from spikewright.hw_targets.target import Target, targets
from spikewright.sim.run import run as run_steps
from spikewright.sources import read_source
from spikewright.trainer import checkpoint
from spikewright.trainer.data import Dataset, load, packaged

COLUMNS = ("target", "fits", "cores", "accuracy", "at events", "cost", "energy uJ", "latency us")
FITS = {True: "yes", False: "no", None: "not known"}
NOISE = 8
"""Samples of noise, where there are no pictures."""


def samples(graph: Graph, limit: int, cifar10: str | None) -> tuple[Any, Dataset | None]:
    """Return what to calibrate on, and test samples; noise and None where there are no pictures."""
    spec = str(graph.metadata["data"])
    if spec == "cifar10" and cifar10:
        spec = f"cifar10:{cifar10}"
    elif not packaged(spec):
        rng = np.random.default_rng(0)
        return rng.random((NOISE, *graph.input.shape), dtype=np.float32), None
    return load(spec, "train", api.CALIBRATION_SAMPLES).x, load(spec, "test", limit)


def rows(source: str, limit: int, cifar10: str | None) -> Iterator[dict[str, Any]]:
    """Yield a row a target and cost table; of those alike for all tables, `note` is the remedy."""
    graph = read_source(source)
    calibrate, data = samples(graph, limit, cifar10)
    for target in targets():
        try:
            lowered = api.lower(graph, target=target.name, calibrate=calibrate)
        except SpikewrightError as error:
            yield {"target": target.name, "fits": "no", "note": str(error)}
            continue
        fit = check(lowered, target)
        told = {
            "target": target.name,
            "fits": FITS[fit.fits] if target.limits else "-",
            "cores": fit.cores if target.limits else None,
            "note": _note(fit),
        }
        yield from [told] if data is None else _costs(told, lowered, data, target)


def _note(fit: FitReport) -> str:
    if fit.violations:
        first, more = fit.violations[0], len(fit.violations) - 1
        said = f"{first.layer}: {first.limit} allows {first.allowed}, found {first.found}; "
        return said + first.remedy + (f" (and {more} more)" if more else "")
    return "; ".join((*(f"{name} on the host" for name in fit.host), *fit.rewrites))


def _costs(
    told: dict[str, Any], graph: Graph, data: Dataset, target: Target
) -> Iterator[dict[str, Any]]:
    steps = api.steps_for(graph, data.x)
    measured = measure(graph, data.x, steps, target)
    run = measured.run
    events = event_accuracies(graph, data) if KEY in graph.metadata else {}
    by_steps = run_steps(graph, data.x, steps) if events else run
    shown = {
        **told,
        "accuracy": percent(by_steps.accuracy(data.y)),
        "at events": " to ".join(
            percent(events[k]) for k in ("event_accuracy_uncalibrated", "event_accuracy") if events
        ),
    }
    for cost in target.costs or (None,):
        found = measured.estimate(cost)
        yield {
            **shown,
            "cost": cost or "fit only",
            "energy uJ": found.energy_uj and f"{found.energy_uj['total']:.4g}",
            "latency us": found.latency_us and f"{found.latency_us:.4g}",
        }


def page(names: list[str], limit: int, cifar10: str | None) -> str:
    """Return the tables as Markdown."""
    parts = ["# Shipped checkpoints on every chip", INTRODUCTION]
    for name in names:
        card = checkpoint.read_card(name)
        found = list(rows(name, limit, cifar10))
        parts += [f"## {name}", f"{card.model} on {card.data}.", _table(found), _notes(found)]
        print(f"{name}: {len(found)} rows", file=sys.stderr)
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """\
Written by `make chips` (`python -m benchmarks.chips`). Each network is lowered to each chip's
number format as by `lower --target`; energy and latency are per inference, static power apart;
`targets NAME` prints constants and sources. *At events*: the accuracy where the threshold is tested
after every event, as ODIN and Speck do, before and after `lower` calibrated for it; *accuracy* is
at step timing, after it. All is measured on the first --limit test pictures, for CIFAR-10 those of
--cifar10 (`make chips CHIPS_OPTIONS='--cifar10 DIR --limit 450'` wrote this page); without them the
CIFAR-10 networks are lowered on noise, and only told whether they fit. Energy where a network does
not fit is that of a chip with more cores."""


def _table(found: list[dict[str, Any]]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for row in found:
        cells = ("" if row.get(key) is None else str(row[key]) for key in COLUMNS)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _notes(found: list[dict[str, Any]]) -> str:
    notes = {row["target"]: row["note"] for row in found if row["note"]}
    return "\n".join(f"- {target}: {note}" for target, note in notes.items())


def main() -> int:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=450)
    parser.add_argument("--sources", default=",".join(checkpoint.shipped()), help="names")
    parser.add_argument("--cifar10", help="the folder of its pictures")
    parser.add_argument("--out", type=Path, help="a Markdown file; default: print")
    options = parser.parse_args()
    text = page(options.sources.split(","), options.limit, options.cifar10)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
