"""Times the lowering of large networks and the memory it takes, each in a process of its own.

    python -m benchmarks.lowering [--models spiking_resnet34,…]

Trace, fold, quantise and check, from a live module to the integer graph; input range given. Memory
is the process's peak above what it held when the module was there, in multiples of the module's
weights: what lowering takes beside the module. Limits are judged by CPU time, which a busy machine
changes little. Writes benchmarks/results/lowering/lowering.json, for `python -m benchmarks.page`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time

RESULTS = Path(__file__).parent / "results" / "lowering" / "lowering.json"
LIMITS_S = {"spiking_resnet34": 5.0, "spiking_resnet34_imagenet": 5.0, "spikformer_16_512": 60.0}
LIMIT_WEIGHTS = 3.0


def peak_bytes() -> int:
    """Return the largest resident size of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name: str) -> dict[str, float]:
    """Lower one model; return its seconds and memory."""
    from spikewright.export.fold import fold
    from spikewright.export.ir import Calibration, Profile
    from spikewright.export.quantise import quantise
    from spikewright.sources import trace_module
    from spikewright.trainer.models import create

    small = create("spiking_resnet_digits")  # imports and first calls are not the network's
    quantise(
        fold(trace_module(small, small.input_shape, 1, "direct", {})), Profile(), Calibration(1.0)
    )
    model = create(name).eval()
    before = peak_bytes()
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    began, cpu = perf_counter(), process_time()
    quantise(
        fold(trace_module(model, model.input_shape, 1, "direct", {})), Profile(), Calibration(1.0)
    )
    return {
        "seconds": perf_counter() - began,
        "cpu_seconds": process_time() - cpu,
        "weights_mib": weights / 2**20,
        "peak_over_weights": (peak_bytes() - before) / weights,
    }


def main() -> int:
    """Print a line a model; return 1 where a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", default=",".join(LIMITS_S))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    rows, broken = {}, False
    for name in options.models.split(","):
        command = [sys.executable, "-m", "benchmarks.lowering", "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = rows[name] = json.loads(done.stdout.splitlines()[-1])
        limit = LIMITS_S.get(name, float("inf"))
        row["limit_s"] = LIMITS_S.get(name, 0.0)  # 0: none is set
        broken |= row["cpu_seconds"] > limit or row["peak_over_weights"] > LIMIT_WEIGHTS
        print(
            f"{name}: {row['cpu_seconds']:.1f} s of CPU time (limit {limit:.0f}; "
            f"{row['seconds']:.1f} s on this machine as busy as it was), peak "
            f"{row['peak_over_weights']:.2f} x its {row['weights_mib']:.0f} MiB of weights "
            f"(limit {LIMIT_WEIGHTS:.0f})",
            flush=True,
        )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
