"""W2 at spike rates from 0.5 to 50 %, and what threads and memory give.

python -m benchmarks.sweep
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from spikewright.sim.native import Native, chosen_isa

from .bench import bench, ours, table, tables_of, time_all
from .workloads import Workload, even, resnet18, w2

RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
PEERS = ["onnxruntime_f32", "onnxruntime_int8"]


def by_rate(isas: list[str], runs: int = 7) -> dict[str, Any]:
    """Return one entry a spike rate (see `bench.bench`), by its label."""
    return {f"{rate:.1%}": bench(w2(4, 1, rate), PEERS, runs, isas) for rate in RATES}


def threads(isa: str, runs: int = 31) -> list[dict[str, Any]]:
    """Return wall-clock times of one and two threads, taking turns; the best of each.

    The best, because on a busy machine two threads wait for the slower of two cores, and the
    median measures the neighbours.
    """
    found = []
    for label, workload in _threaded():
        calls = {n: ours(workload, Native(n, isa).prepare(workload.graph)) for n in (1, 2)}
        taken: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(runs):
            for n, call in calls.items():
                began = perf_counter()
                call()
                taken[n].append(perf_counter() - began)
        one, two = (1000 * min(taken[n]) for n in (1, 2))
        found.append({"workload": label, "one_ms": one, "two_ms": two, "ratio": one / two})
    return found


def _threaded() -> list[tuple[str, Workload]]:
    return [
        ("W2, T=4, 16 samples: over samples", w2(4, 16)),
        ("ResNet18, T=4, one sample: over rows", resnet18(even(0.1), "resnet18_10")),
    ]


def thread_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `threads` as a Markdown table."""
    lines = ["| workload | 1 thread ms | 2 threads ms | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {r['workload']} | {r['one_ms']:.2f} | {r['two_ms']:.2f} | {r['ratio']:.2f}× |"
        for r in rows
    ]
    return "\n".join(lines)


def memory_table(workloads: list[Workload], isa: str) -> str:
    """Return what the engine allocates for one sample, as a Markdown table."""
    lines = [
        "| workload | packed constants | workspace | weights + state + spikes | ratio |",
        "|---|---|---|---|---|",
    ]
    for workload in workloads:
        held = Native(isa=isa).prepare(workload.graph).memory(1, len(workload.x))
        needed = held.weights + held.state + held.spikes
        sizes = (held.constants, held.workspace, needed)
        cells = " | ".join(f"{n / 2**20:.2f} MiB" for n in sizes)
        lines.append(f"| {workload.name} | {cells} | {held.ratio:.1f}× |")
    return "\n".join(lines)


def latency(workload: Workload, isa: str, steps: int = 50) -> float:
    """Return the median microseconds of one streamed step of one sample."""
    session = Native(isa=isa).prepare(workload.graph)
    frame = workload.x[0][:1]
    calls = {"step": lambda: session.step(frame)}
    return 1000 * time_all(calls, steps)["step"]


def main() -> int:
    """Print the tables of this machine."""
    print(table(by_rate(tables_of(None))), thread_table(threads(chosen_isa())), sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
