"""Times the native engine and its peers in one process, interleaved; writes JSON and a table.

    python -m benchmarks.bench [--workloads w1_b1,…] [--peers …] [--isa avx2 | --confined avx2]

`--isa` forces one of our tables, `--confined` shows a smaller CPU to every tool (confined.py).

Outputs are compared before anything is timed. One thread each. Medians; a ratio is the fastest
peer's median over ours. The clock is the process's CPU time: on one thread of a quiet machine it
equals the wall's, and on a busy one it leaves out the waiting, which would favour short calls.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from spikewright.export.ir import Array
from spikewright.sim.native import Native, NativeSession, chosen_isa, isa_info

from .confined import CONFINED, SETS, confined
from .peers import Call, Missing
from .snn_peers import APPROXIMATE, PEERS
from .workloads import Workload, as_resnet, even, resnet18, spikformer, trained, w1, w2

RESULTS = Path(__file__).parent / "results" / "bench.json"
WORKLOADS: dict[str, Callable[[], Workload]] = {
    "w1_b1": lambda: w1(1),
    "w1_b64": lambda: w1(64),
    "w2_t4_b1": lambda: w2(4, 1),
    "w2_t4_b16": lambda: w2(4, 16),
    "w2_t32_b1": lambda: w2(32, 1),
    "resnet18_10": lambda: resnet18(even(0.1), "resnet18_10"),
    "resnet18_trained": lambda: resnet18(as_resnet, "resnet18_trained"),
    "spikformer_10": lambda: spikformer(even(0.1), "spikformer_10"),
    "spikformer_trained": lambda: spikformer(trained, "spikformer_trained"),
}
QUICK_S = 0.02


def ours(workload: Workload, session: NativeSession) -> Call:
    """The call that users make; it returns the readout after the last step."""
    x = workload.x

    def call() -> Array:
        found: Array = session.run(x, "output").output[-1]
        return found

    return call


def time_all(calls: dict[str, Call], runs: int) -> dict[str, float]:
    """Return the median milliseconds of each call, all calls taking turns.

    A quick call is made some times untimed at each turn: the caches then hold its own data, not
    that of the tool before it.
    """
    first = {}
    for name, call in calls.items():
        call()
        began = process_time()
        call()
        first[name] = process_time() - began
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            for _ in range(min(20, int(QUICK_S / first[name]))):
                call()
            began = process_time()
            call()
            taken[name].append(process_time() - began)
    return {name: 1000 * median(seconds) for name, seconds in taken.items()}


def bench(workload: Workload, peers: list[str], runs: int, isas: list[str]) -> dict[str, Any]:
    """Return one workload's entry of the JSON; `isas`: our tables, the one of choice first."""
    calls: dict[str, Call] = {}
    missing: dict[str, str] = {}
    for isa in isas:
        calls[f"ours {isa}"] = ours(workload, Native(isa=isa).prepare(workload.graph))
    for peer in peers:
        try:
            calls[peer] = (PEERS | APPROXIMATE)[peer](workload)
            calls[peer]()
        except (Missing, ImportError) as error:  # named, not hidden
            calls.pop(peer, None)
            missing[peer] = str(error)
    outputs = {name: np.asarray(call()).reshape(-1) for name, call in calls.items()}
    exact = outputs[f"ours {isas[0]}"]
    equal = all(np.array_equal(exact, y) for name, y in outputs.items() if name not in APPROXIMATE)
    equal = equal and int(exact.sum()) == workload.total
    times = time_all(calls, runs)
    approximate = {
        name: {
            "ms": times.pop(name),
            "correlation": float(np.corrcoef(outputs[name], exact)[0, 1]),
        }
        for name in APPROXIMATE
        if name in times
    }
    mine = {isa: times.pop(f"ours {isa}") for isa in isas}
    fastest = min(times, key=times.__getitem__) if times else None
    ratios = {isa: times[fastest] / ms if fastest else None for isa, ms in mine.items()}
    return {
        "ours_ms": mine[isas[0]],
        "peers": times,
        "approximate": approximate,
        "fastest_peer": fastest,
        "ratio": ratios[isas[0]],
        "equal_outputs": equal,
        "tables": {isa: {"ours_ms": mine[isa], "ratio": ratios[isa]} for isa in isas},
        "sops": sum(workload.sops.values()),
        "missing": missing,
    }


def machine() -> str:
    """Return the processor's name and its core count."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} CPUs"


def table(workloads: dict[str, Any]) -> str:
    """Return entries by workload as a Markdown table: ours by instruction set, and the ratios."""
    isas = list(dict.fromkeys(isa for w in workloads.values() for isa in w["tables"]))
    lines = markdown("workload", *isas, "fastest peer", *(f"ratio {isa}" for isa in isas), "equal")
    for name, entry in workloads.items():
        mine = [f"{entry['tables'][isa]['ours_ms']:.3g}" for isa in isas]
        fastest = entry["fastest_peer"]
        peer = f"{fastest} {entry['peers'][fastest]:.3g}" if fastest else "–"
        ratios = [times(entry["tables"][isa]["ratio"]) for isa in isas]
        equal = "yes" if entry["equal_outputs"] else "NO"
        lines += [f"| {' | '.join([name, *mine, peer, *ratios, equal])} |"]
    return "\n".join(lines)


def peer_table(workloads: dict[str, Any]) -> str:
    """Return the milliseconds of every peer as a Markdown table."""
    peers = list(dict.fromkeys(p for w in workloads.values() for p in w["peers"]))
    lines = markdown("workload", *peers)
    for name, entry in workloads.items():
        found = [f"{entry['peers'][p]:.3g}" if p in entry["peers"] else "–" for p in peers]
        lines += [f"| {' | '.join([name, *found])} |"]
    return "\n".join(lines)


def approximate_table(workloads: dict[str, Any]) -> str:
    """Return the peers that compute another network, as a Markdown table."""
    isas = list(dict.fromkeys(isa for w in workloads.values() for isa in w["tables"]))
    ratios = (f"ratio {isa}" for isa in isas)
    lines = markdown("workload", "peer", "ms", *ratios, "correlation of outputs")
    for name, entry in workloads.items():
        for peer, found in entry["approximate"].items():
            mine = [times(found["ms"] / entry["tables"][isa]["ours_ms"]) for isa in isas]
            cells = [name, peer, f"{found['ms']:.3g}", *mine, f"{found['correlation']:.3f}"]
            lines += [f"| {' | '.join(cells)} |"]
    return "\n".join(lines)


def markdown(*columns: str) -> list[str]:
    """Return the two lines that begin a table."""
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def times(ratio: float | None) -> str:
    """Return a ratio as it is printed."""
    return f"{ratio:.1f}×" if ratio else "–"


def tables_of(isa: str | None) -> list[str]:
    """Return the tables to time: the one of choice, then the other vector tables."""
    best = isa or chosen_isa()
    vectors = [name for name in reversed(isa_info()["available"]) if name != "generic"]
    return [best, *(name for name in vectors if name != best and isa is None)]


def names_in(given: str, known: Iterable[str], option: str) -> list[str]:
    """Return the names of a list with commas; end with a line that tells the known ones."""
    names, known = [name for name in given.split(",") if name], list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"{option} {', '.join(unknown)}: unknown; known: {', '.join(known)}", file=sys.stderr)
        raise SystemExit(2)
    return names


def main(arguments: list[str] | None = None) -> int:
    """Run; return 1 if any tool's output differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--peers", default=",".join(PEERS | APPROXIMATE))
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--isa", help="time this table alone")
    parser.add_argument("--confined", choices=SETS, help="show a CPU of this set to every tool")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--save", type=Path, help="folder for neutral npz files of the networks")
    options = parser.parse_args(arguments)
    if options.confined and os.environ.get(CONFINED) != options.confined:
        given = sys.argv[1:] if arguments is None else arguments
        return confined(options.confined, "benchmarks.bench", given)
    if options.isa is not None:
        names_in(options.isa, isa_info()["available"], "--isa")
    isas = tables_of(options.isa)
    peers = names_in(options.peers, PEERS | APPROXIMATE, "--peers")
    workloads: dict[str, Any] = {}
    for name in names_in(options.workloads, WORKLOADS, "--workloads"):
        workload = WORKLOADS[name]()
        if options.save:
            options.save.mkdir(parents=True, exist_ok=True)
            workload.save(options.save / f"{name}.npz")
        workloads[name] = entry = bench(workload, peers, options.runs, isas)
        print(f"{name}: {entry['ours_ms']:.3f} ms, {entry['peers']}", file=sys.stderr, flush=True)
    skipped = {f"{p}: {why}" for w in workloads.values() for p, why in w["missing"].items()}
    for line in sorted(skipped):
        print(f"skipped {line}", file=sys.stderr)
    results = {"machine": machine(), "isa": isas[0], "clock": "cpu", "workloads": workloads}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    partial = options.out.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.replace(options.out)
    tables = table(workloads), peer_table(workloads), approximate_table(workloads)
    print(*tables, sep="\n\n")
    return 0 if all(entry["equal_outputs"] for entry in workloads.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
