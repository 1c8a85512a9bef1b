"""Runs every benchmark on this machine and writes docs/performance.md: `make performance`."""

from __future__ import annotations

import sys
from pathlib import Path

from .bench import WORKLOADS, bench, machine, table, tables_of
from .peers import PEERS
from .probe import FLAGS
from .probe import rows as probe_rows
from .probe import table as probe_table
from .sweep import by_rate, latency, memory_table, thread_table, threads

TARGET = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
TEXT = Path(__file__).parent / "performance.in.md"
SMALL = ("w1_b1", "w2_t4_b1", "resnet18_10", "spikformer_10")
"""The batch-1 networks whose memory and step latency are shown."""


def main() -> int:
    """Write the page; return 1 if any output differed."""
    isas, entries, small = tables_of(None), {}, []
    for name, make in WORKLOADS.items():
        workload = make()
        entries[name] = bench(workload, list(PEERS), 15, isas)
        if name in SMALL:
            small.append(workload)
        print(name, entries[name]["ratio"], file=sys.stderr, flush=True)
    page = TEXT.read_text().format(
        machine=machine(),
        tables=", ".join(isas),
        workloads=table(entries),
        rates=table(by_rate(isas)),
        probe=probe_table(probe_rows([isa for isa in FLAGS if isa in isas])),
        threads=thread_table(threads(isas[0])),
        memory=memory_table(small, isas[0]),
        latency=", ".join(f"{w.name} {latency(w, isas[0]):.0f} µs" for w in small),
    )
    TARGET.write_text(page)
    return 0 if all(entry["equal_outputs"] for entry in entries.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
