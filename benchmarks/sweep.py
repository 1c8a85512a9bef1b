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

    `ceiling`: what two CPUs give where nothing is shared: twice the work of one, over the time of
    two sessions of one thread that begin a turn together, until the slower ends.
    """
    found = []
    for label, workload in _threaded():
        calls = {n: ours(workload, Native(n, isa).prepare(workload.graph)) for n in (1, 2)}
        taken: dict[str, list[float]] = {"one": [], "two": [], "pair": []}
        with SideBySide(workload, isa) as pair:
            for _ in range(runs):
                for name, n in (("one", 1), ("two", 2)):
                    calls[n]()
                    taken[name].append(_seconds(calls[n]))
                taken["pair"].append(pair.turn())
        one, two, both = (1000 * median(taken[name]) for name in ("one", "two", "pair"))
        row = {"workload": label, "isa": isa, "one_ms": one, "two_ms": two, "ratio": one / two}
        found.append({**row, "ceiling": 2 * one / both})
    return found


def _seconds(call: Call) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


class SideBySide:
    """Two sessions of one thread each; in a turn both run once, begun together."""

    def __init__(self, workload: Workload, isa: str) -> None:
        self._gate, self._ends = Barrier(3), False
        self._taken = [0.0, 0.0]
        sessions = [Native(1, isa).prepare(workload.graph) for _ in self._taken]
        self._threads = [
            Thread(target=self._serve, args=(k, ours(workload, session)))
            for k, session in enumerate(sessions)
        ]

    def __enter__(self) -> SideBySide:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._gate.wait()
        for thread in self._threads:
            thread.join()

    def _serve(self, k: int, call: Call) -> None:
        while True:
            self._gate.wait()
            if self._ends:
                return
            call()
            self._taken[k] = _seconds(call)
            self._gate.wait()

    def turn(self) -> float:
        """Return the seconds of the slower of both, after a call of each that only warms up."""
        self._gate.wait()
        self._gate.wait()
        return max(self._taken)


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
