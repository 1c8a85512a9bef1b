"""The rooflines of gather and dense: what cache and adders allow, beside what the engine does.

    python -m benchmarks.probe

The probe is a C++ loop, compiled on the spot with the flags of the engine's own table, that loads
rows of int8 weights in the same random order from the same working set, widens them and adds them
into int16 registers, with nothing else: no event lists, no sums stored. It does so row by row
(`single`), and in pairs of rows, the quickest form known to us (`probe`). The engine's figure is of
the kernel that its tables export, compiled from the same file. The other probe runs the
instructions of a dense product on registers alone; the engine's figure is a tile of 64 rows and 384
inputs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spikewright.sim.native import isa_info

FLAGS = {
    "avx2": ["-mavx2", "-mfma", "-mpopcnt"],
    "avx512vnni": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"],
}
FLAGS["amx"] = [*FLAGS["avx512vnni"], "-mamx-tile", "-mamx-int8"]
SOURCES = Path(__file__).resolve().parents[1] / "sim" / "native"
PROBE = Path(__file__).parent / "probe.cpp"
KIBIBYTES = (32, 512, 2048)
"""Working sets: of the first-level cache, of the second, and beyond most second ones."""


def probe(isa: str, kib: int, *defines: str) -> dict[str, float]:
    """Return billions of additions a second: `single`, `probe`, `engine`; and the last two's ratio.

    Args:
        defines: `-DDENSE`: of products, on registers alone beside a tile of the engine's.

    Raises:
        subprocess.CalledProcessError: where there is no compiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "probe"
        table = SOURCES / f"kernels_{isa}.cpp"
        flags = ["-std=c++17", "-O3", "-DSPIKEWRIGHT_X86_64=1", *FLAGS[isa], f"-I{SOURCES}"]
        named = [f"-DTABLE=kernels_{isa}", f"-DKIB={kib}", *defines]
        command = ["c++", *flags, *named, str(PROBE), str(table), "-o", str(program)]
        subprocess.run(command, check=True)
        said = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(said)
    return {**found, "ratio": found["engine"] / found["probe"]}


def rows(isas: list[str]) -> list[dict[str, Any]]:
    """Return one row for each table and working set (the `amx` table gathers as `avx512vnni`)."""
    gathering = [isa for isa in isas if isa != "amx"]
    return [{"isa": isa, "kib": kib, **probe(isa, kib)} for isa in gathering for kib in KIBIBYTES]


def dense_rows(isas: list[str]) -> list[dict[str, Any]]:
    """Return one row for each table: billions of products a second."""
    return [{"isa": isa, **probe(isa, KIBIBYTES[0], "-DDENSE")} for isa in isas]


def table(found: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| table | weights | row by row, G additions/s | in pairs | the engine's gather | share |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['isa']} | {r['kib']} KiB | {r['single']:.1f} | {r['probe']:.1f} | {r['engine']:.1f} "
        f"| {r['ratio']:.0%} |"
        for r in found
    ]
    return "\n".join(lines)


def dense_table(found: list[dict[str, Any]]) -> str:
    """Return the dense rows as a Markdown table."""
    lines = ["| table | registers, G products/s | the engine's tile | share |", "|---|---|---|---|"]
    lines += [
        f"| {r['isa']} | {r['probe']:.0f} | {r['engine']:.0f} | {r['ratio']:.0%} |" for r in found
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the tables of this CPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isa", choices=list(FLAGS))
    chosen = parser.parse_args().isa
    isas = [i for i in FLAGS if i in isa_info()["available"] and chosen in (None, i)]
    print(table(rows(isas)), dense_table(dense_rows(isas)), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
