"""Kills a training and resumes it: the weights must be those of an unbroken one, byte for byte.

    python -m benchmarks.resumption --data cifar10:DIR [--limit 6400]

The record goes to benchmarks/results/resumption/; exit code 1 where the hashes differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from safetensors import safe_open
from safetensors.numpy import load_file

from spikewright.export.formats.atomic import atomic_path

RECORD = Path(__file__).parent / "results" / "resumption" / "pretrain.json"
SAVE_EVERY = 10
PATIENCE_S = 900.0
BATCH = 128


def command(data: str, limit: int, out: Path) -> list[str]:
    """Return the training's command: CTL with NT-Xent, two paths, bfloat16."""
    options = ["--model", "spiking_resnet_small", "--epochs", "1", "--batch", str(BATCH), "-T", "2"]
    options += ["--limit", str(limit), "--precision", "bf16-mixed", "--channels-last"]
    options += ["--save-every", str(SAVE_EVERY), "--resume", "--force", "-o", str(out)]
    spikewright = [sys.executable, "-c", "from spikewright.cli.main import main; main()"]
    return [*spikewright, "train", "pretrain", "--data", data, *options]


def killed_after(words: list[str], state: Path, steps: int) -> int:
    """Start `words`, kill it (SIGKILL) once its state tells of `steps`; return the state's step."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        began = monotonic()
        while process.poll() is None and monotonic() - began < PATIENCE_S:
            if (step := step_of(state)) >= steps:
                os.kill(process.pid, signal.SIGKILL)
                return step
            sleep(0.05)
        process.kill()
    raise RuntimeError(f"ended, or took over {PATIENCE_S:.0f} s, before step {steps}")


def step_of(state: Path) -> int:
    """Return the step that a training's state was saved at, 0 without one."""
    if not state.is_file():
        return 0
    with safe_open(str(state), framework="numpy") as file:
        card = json.loads((file.metadata() or {})["card"])
    return int(card["step"])


def digest(checkpoint: Path) -> str:
    """Return the SHA-256 of a checkpoint's tensors, names and bytes."""
    found = hashlib.sha256()
    for name, array in sorted(load_file(checkpoint).items()):
        found.update(name.encode() + array.tobytes())
    return found.hexdigest()


def measure(data: str, limit: int, folder: Path) -> dict[str, Any]:
    """Train twice, once killed half way and resumed; return the record."""
    unbroken, broken = folder / "unbroken.safetensors", folder / "resumed.safetensors"
    subprocess.run(command(data, limit, unbroken), check=True, stdout=subprocess.DEVNULL)
    words, steps = command(data, limit, broken), limit // BATCH
    step = killed_after(words, broken.with_name(f"{broken.name}.state"), steps // 2)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return {
        "command": f"python -m benchmarks.resumption --data cifar10:DIR --limit {limit}",
        "steps": steps,
        "killed_after": step,
        "sha256": {"unbroken": digest(unbroken), "killed and resumed": digest(broken)},
    }


def main(arguments: list[str]) -> int:
    """Write the record and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks.resumption", description=__doc__)
    parser.add_argument("--data", required=True, help="cifar10:DIR")
    parser.add_argument("--limit", type=int, default=6400, help="train on the first N images")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        record = measure(asked.data, asked.limit, Path(folder))
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(RECORD, force=True) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    print(json.dumps(record, indent=1))
    return 0 if len(set(record["sha256"].values())) == 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
