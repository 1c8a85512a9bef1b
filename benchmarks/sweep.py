"""W2 at spike rates from 0.5 to 50 %, and what threads and memory give.

python -m benchmarks.sweep
"""

from __future__ import annotations

from statistics import median
from threading import Barrier, Thread
from time import perf_counter
from typing import Any

from spikewright.sim.native import Native, chosen_isa

from .bench import bench, markdown, ours, table, tables_of, time_all
from .peers import Call
from .workloads import Workload, even, resnet18, w1, w2

RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
PEERS = ["onnxruntime_f32", "onnxruntime_int8", "onnxruntime_qdq"]


def by_rate(isas: list[str], runs: int = 15) -> dict[str, Any]:
    """Return one entry a spike rate (see `bench.bench`), by its label."""
    return {f"{rate:.1%}": bench(w2(4, 1, rate), PEERS, runs, isas) for rate in RATES}


def threads(isa: str, runs: int = 41) -> list[dict[str, Any]]:
    """Return wall-clock medians of one and two threads, taking turns, on a machine left alone.

    `ceiling`: what two CPUs give where nothing is shared and nobody waits: the work of two sessions
    of one thread side by side, over that of one in the same time.
    """
    found = []
    for label, workload in _threaded():
        calls = {n: ours(workload, Native(n, isa).prepare(workload.graph)) for n in (1, 2)}
        taken: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(runs):
            for n, call in calls.items():
                call()
                began = perf_counter()
                call()
                taken[n].append(perf_counter() - began)
        one, two = (1000 * median(taken[n]) for n in (1, 2))
        row = {"workload": label, "isa": isa, "one_ms": one, "two_ms": two, "ratio": one / two}
        found.append({**row, "ceiling": 2 * one / side_by_side(workload, isa, runs)})
    return found


def side_by_side(workload: Workload, isa: str, runs: int) -> float:
    """Return the median milliseconds of a run while another session runs on the other CPU."""
    sessions = [Native(1, isa).prepare(workload.graph) for _ in range(2)]
    both, taken = Barrier(2), ([], [])  # type: tuple[Barrier, tuple[list[float], list[float]]]

    def work(call: Call, times: list[float]) -> None:
        call()
        both.wait()
        for _ in range(runs):
            began = perf_counter()
            call()
            times.append(perf_counter() - began)

    calls = [ours(workload, session) for session in sessions]
    started = [Thread(target=work, args=pair) for pair in zip(calls, taken, strict=True)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return 1000 * median([*taken[0], *taken[1]])


def _threaded() -> list[tuple[str, Workload]]:
    return [
        ("W2, T=4, 16 samples: over samples", w2(4, 16)),
        ("W1, 64 samples: over samples", w1(64)),
        ("ResNet18, T=4, one sample: over rows", resnet18(even(0.1), "resnet18_10")),
    ]


def thread_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `threads` as a Markdown table."""
    lines = markdown("workload", "table", "1 thread ms", "2 threads ms", "ratio", "side by side")
    for r in rows:
        taken = f"{r['one_ms']:.2f} | {r['two_ms']:.2f} | {r['ratio']:.2f}×"
        taken += f" | {r['ceiling']:.2f}×"
        lines += [f"| {r['workload']} | {r['isa']} | {taken} |"]
    return "\n".join(lines)


def memory_rows(workloads: list[Workload], isa: str) -> list[dict[str, Any]]:
    """Return what the engine allocates for one sample of each network."""
    found = []
    for workload in workloads:
        held = Native(isa=isa).prepare(workload.graph).memory(1, len(workload.x))
        needed = held.weights + held.state + held.spikes
        sizes = {"constants": held.constants, "workspace": held.workspace, "needed": needed}
        found.append({"workload": workload.name, **sizes, "ratio": held.ratio})
    return found


def memory_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `memory_rows` as a Markdown table."""
    lines = markdown("workload", "packed weights", "workspace", "weights + state + spikes", "ratio")
    for r in rows:
        sizes = " | ".join(
            f"{r[key] / 2**20:.2f} MiB" for key in ("constants", "workspace", "needed")
        )
        lines += [f"| {r['workload']} | {sizes} | {r['ratio']:.1f}× |"]
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
