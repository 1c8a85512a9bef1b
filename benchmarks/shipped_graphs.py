"""The float graphs that ship beside the digits checkpoints, so that they lower without torch.

    python -m benchmarks.shipped_graphs [-o FOLDER]

Traces each checkpoint and writes NAME.spk, beside it by default. The same checkpoint gives the same
bytes. Those of CIFAR-10 are left out: they would double what is installed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spikewright.export.formats.archive import write_archive
from spikewright.sources import traced_checkpoint
from spikewright.trainer import checkpoint


def with_graph() -> list[str]:
    """Return the names of the checkpoints whose graph ships."""
    return [name for name in checkpoint.shipped() if name.startswith("digits")]


def main(arguments: list[str]) -> int:
    """Write each archive; print its path and size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shipped_graphs")
    parser.add_argument("-o", "--out", type=Path, help="the folder to write to")
    out = parser.parse_args(arguments).out
    for name in with_graph():
        path = (out or checkpoint.resolve(name).parent) / f"{name}.spk"
        write_archive(traced_checkpoint(name), path, force=True)
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
