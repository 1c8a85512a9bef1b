"""Runs every benchmark on this machine and writes docs/performance.md: `make performance`.

    python -m benchmarks.report [--only workloads,confined,rates,probe,threads,memory]

Each section leaves its figures in benchmarks/results/performance.json; `--only` measures the named
ones anew and takes the others from there. The page says which machine and which engine each section
is of.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .bench import (
    WORKLOADS,
    approximate_table,
    bench,
    machine,
    markdown,
    names_in,
    peer_table,
    table,
    tables_of,
    times,
)
from .confined import NO_TRAP, SETS, confined
from .probe import FLAGS, SOURCES, dense_rows, dense_table
from .probe import rows as probe_rows
from .probe import table as probe_table
from .snn_peers import APPROXIMATE, PEERS
from .sweep import by_rate, latency, memory_rows, memory_table, thread_table, threads

RESULTS = Path(__file__).parent / "results" / "performance.json"
TARGET = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
TEXT = Path(__file__).parent / "performance.in.md"
SMALL = ("w1_b1", "w2_t4_b1", "resnet18_10", "spikformer_10")
"""The batch-1 networks whose memory and step latency are shown."""
FASTEST = ("onnxruntime_int8", "onnxruntime_f32", "torch", *APPROXIMATE)
"""The peers of the confined runs: one of them is always the fastest."""


def _workloads(isas: list[str]) -> dict[str, Any]:
    entries = {}
    for name, make in WORKLOADS.items():
        entries[name] = bench(make(), list(PEERS | APPROXIMATE), 15, isas)
        print(name, entries[name]["ratio"], file=sys.stderr, flush=True)
    return entries


def _confined(isas: list[str]) -> dict[str, Any]:
    """Return the workloads' entries at equal instruction sets, by set (none: no CPUID trap).

    Raises:
        SystemExit: where a run fails, or an output differs in it.
    """
    found = {}
    for isa in (isa for isa in SETS if isa in isas[1:]):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "bench.json"
            given = ["--confined", isa, "--peers", ",".join(FASTEST), "--out", str(out)]
            code = confined(isa, "benchmarks.bench", given)
            if code == NO_TRAP:
                print("confined: this CPU or kernel lets no CPUID trap: left out", file=sys.stderr)
                return {}
            if code:
                raise SystemExit(f"confined: the run with {isa} failed (exit {code}), see above")
            found[isa] = json.loads(out.read_text())["workloads"]
    return found


def _memory(isas: list[str]) -> dict[str, Any]:
    small = [WORKLOADS[name]() for name in SMALL]
    steps = {w.name: latency(w, isas[0]) for w in small}
    return {"rows": memory_rows(small, isas[0]), "latency_us": steps}


SECTIONS: dict[str, Callable[[list[str]], Any]] = {
    "workloads": _workloads,
    "confined": _confined,
    "rates": by_rate,
    "probe": lambda isas: {
        "gather": probe_rows([isa for isa in FLAGS if isa in isas]),
        "dense": dense_rows([isa for isa in FLAGS if isa in isas]),
    },
    "threads": lambda isas: [row for isa in isas for row in threads(isa)],
    "memory": _memory,
}


def confined_table(found: dict[str, Any]) -> str:
    """Return ratios at equal instruction sets as a Markdown table."""
    if not found:
        return "(Not measured: this CPU or kernel lets no CPUID trap.)"
    columns = [f"{what} {isa}" for isa in found for what in ("ours", "fastest peer", "ratio")]
    lines = markdown("workload", *columns)
    for name in next(iter(found.values()), {}):
        cells = []
        for entries in found.values():
            entry = entries[name]
            peer = entry["fastest_peer"]
            fastest = f"{peer} {entry['peers'][peer]:.3g}"
            cells += [f"{entry['ours_ms']:.3g}", fastest, times(entry["ratio"])]
        lines += [f"| {' | '.join([name, *cells])} |"]
    return "\n".join(lines)


def origin(isas: list[str]) -> str:
    """Return the machine, its tables and a digest of the engine's sources."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return f"{machine()}; tables: {', '.join(isas)}; engine {digest.hexdigest()[:8]}"


def origins(found: dict[str, Any]) -> str:
    """Return where the sections come from: one line for all, or one for each that differs."""
    sections: dict[str, list[str]] = {}
    for name in SECTIONS:
        sections.setdefault(found[name]["origin"], []).append(name)
    if len(sections) == 1:
        return f"> {next(iter(sections))}"
    return "\n".join(f"> {', '.join(names)}: {where}  " for where, names in sections.items())


def page(measured: dict[str, Any]) -> str:
    """Return the page of these sections."""
    found = {name: measured[name]["figures"] for name in SECTIONS}
    steps = found["memory"]["latency_us"].items()
    return TEXT.read_text("utf-8").format(
        origins=origins(measured),
        approximate=approximate_table(found["workloads"]),
        confined_approximate="\n\n".join(
            f"With {isa}:\n\n{approximate_table(entries)}"
            for isa, entries in found["confined"].items()
        ),
        workloads=table(found["workloads"]),
        peers=peer_table(found["workloads"]),
        confined=confined_table(found["confined"]),
        rates=table(found["rates"]),
        probe=probe_table(found["probe"]["gather"]),
        dense=dense_table(found["probe"]["dense"]),
        threads=thread_table(found["threads"]),
        memory=memory_table(found["memory"]["rows"]),
        latency=", ".join(f"{name} {us:.0f} µs" for name, us in steps),
    )


def main() -> int:
    """Measure, and write the page; return 1 if any output differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections to measure anew")
    asked = names_in(parser.parse_args().only, SECTIONS, "--only")
    isas = tables_of(None)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found = {name: held for name, held in found.items() if name in SECTIONS and "origin" in held}
    for name in asked:
        found[name] = {"origin": origin(isas), "figures": SECTIONS[name](isas)}
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    missing = [name for name in SECTIONS if name not in found]
    if missing:
        print(f"not measured yet: {', '.join(missing)}", file=sys.stderr)
        return 0
    TARGET.write_text(page(found), "utf-8")
    entries = [e for name in ("workloads", "rates") for e in found[name]["figures"].values()]
    return 0 if all(entry["equal_outputs"] for entry in entries) else 1


if __name__ == "__main__":
    raise SystemExit(main())
