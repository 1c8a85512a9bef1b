"""The campaign: `python -m tests.fuzz.native.run --seconds 600 --out docs/fuzz-native.md`.

Builds the target with clang's fuzzer, address and undefined-behaviour sanitizers, starts from
plans of random graphs and from what earlier runs kept, then measures what the corpus covers on a
build of its own. Returns 1 where an input crashed, hung, took too much memory, or ran two ways that
differ.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nanobind  # pyright: ignore[reportMissingImports]

from .corpus import MOST_BYTES, write_corpus

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "build" / "fuzz-native"
SEEDS = 400
"""Graphs whose plans the fuzzer starts from."""
MEMORY_MB = 2048
HANG_SECONDS = 10
FLAGS = {
    "fuzzer": "-fsanitize=fuzzer,address,undefined;-fno-sanitize-recover=all;-O1",
    "coverage": "-fsanitize=fuzzer;-fprofile-instr-generate;-fcoverage-mapping;-O1",
}
NEEDED = ("clang++", "llvm-profdata", "llvm-cov")
DONE = re.compile(r"Done (\d+) runs in (\d+) second")
TRIED = re.compile(r"^#(\d+)\s", re.MULTILINE)
CENSUS = re.compile(r"plans: (\d+) run, (\d+) refused, (\d+) left out")


INTRODUCTION = """\
`make fuzz-native SECONDS=600` writes this page. libFuzzer mutates plans of random graphs, call by
call and number by number. A plan runs on the plainest table, on another with its dense products
over blocks of steps and threads, and as a stream: all must be equal in every spike, potential and
output. A build with address and undefined-behaviour sanitizers, with forbidden gaps between the
buffers of a plan, watches every read and write. What does not fit must be refused.""".splitlines()


@dataclass(slots=True)
class Session:
    """One run of the fuzzer: inputs, and of how many the plan ran, was refused or left out."""

    seed: int
    seconds: int
    inputs: int
    run: int
    refused: int
    left_out: int
    kept: int
    faults: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; return 1 where there is a fault, 2 where a tool is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0, help="0: another one than the last run's")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    missing = [name for name in NEEDED if tool(name) is None]
    if missing:
        print(
            f"not found: {', '.join(missing)} (Debian: apt-get install clang llvm)", file=sys.stderr
        )
        return 2
    sessions = earlier(FOLDER / "sessions.json")
    seed = options.seed or 1 + max((s.seed for s in sessions), default=0)
    write_corpus(FOLDER / "seeds", SEEDS)
    session = fuzz(build("fuzzer"), seed, options.seconds)
    sessions.append(session)
    (FOLDER / "sessions.json").write_text(json.dumps([asdict(s) for s in sessions]))
    page = document(sessions, coverage(build("coverage")))
    print(page)
    if options.out:
        options.out.write_text(page)
    return 1 if session.faults else 0


def tool(name: str) -> str | None:
    """Return where a tool of clang is, also where Debian writes its version behind the name."""
    versions = sorted(Path("/usr/lib").glob(f"llvm-*/bin/{name}"))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def build(kind: str) -> Path:
    """Return the target, built with these flags."""
    folder = FOLDER / kind
    beside = Path(sys.executable).parent
    cmake = shutil.which("cmake", path=f"{beside}{os.pathsep}{os.environ['PATH']}") or "cmake"
    ninja = shutil.which("ninja", path=f"{beside}{os.pathsep}{os.environ['PATH']}") or "ninja"
    given = {
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_CXX_COMPILER": tool("clang++"),
        "CMAKE_MAKE_PROGRAM": ninja,
        "Python_EXECUTABLE": sys.executable,
        "nanobind_DIR": nanobind.cmake_dir(),
        "SPIKEWRIGHT_FUZZ": FLAGS[kind],
    }
    options = [f"-D{name}={value}" for name, value in given.items()]
    quiet = subprocess.DEVNULL
    configure = [cmake, "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), *options]
    subprocess.run(configure, check=True, stdout=quiet)
    subprocess.run(
        [cmake, "--build", str(folder), "--target", "engine_fuzz"], check=True, stdout=quiet
    )
    return folder / "engine_fuzz"


def fuzz(target: Path, seed: int, seconds: int) -> Session:
    """Fuzz for so long; what is new stays in the corpus, what failed beside it."""
    corpus, faults = FOLDER / "corpus", FOLDER / "faults"
    for folder in (corpus, faults):
        folder.mkdir(exist_ok=True)
    command = [
        str(target),
        f"-seed={seed}",
        f"-max_total_time={seconds}",
        f"-max_len={MOST_BYTES}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={HANG_SECONDS}",
        f"-artifact_prefix={faults}/",
        str(corpus),
        str(FOLDER / "seeds"),
    ]
    before = set(faults.iterdir())
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    (FOLDER / "last.log").write_text(ended.stderr)
    new = set(faults.iterdir()) - before
    done, census = DONE.search(ended.stderr), CENSUS.search(ended.stderr)
    tried = TRIED.findall(ended.stderr)  # where it ended before its time
    inputs, took = map(int, done.groups()) if done else (int(tried[-1]) if tried else 0, 0)
    run, refused, left_out = map(int, census.groups()) if census else (0, 0, 0)
    count = max(len(new), int(ended.returncode != 0))
    return Session(seed, took, inputs, run, refused, left_out, len(list(corpus.iterdir())), count)


def coverage(target: Path) -> list[dict[str, int | str]]:
    """Return lines and branches of each file of the engine that the corpus reaches."""
    raw, merged = FOLDER / "coverage.raw", FOLDER / "coverage.data"
    command = [str(target), "-runs=0", f"-max_len={MOST_BYTES}", str(FOLDER / "corpus")]
    environment = {**os.environ, "LLVM_PROFILE_FILE": str(raw)}
    subprocess.run(
        [*command, str(FOLDER / "seeds")], env=environment, capture_output=True, check=True
    )
    merge = [tool("llvm-profdata") or "", "merge", "-o", str(merged), str(raw)]
    subprocess.run(merge, check=True)
    asked = [
        tool("llvm-cov") or "",
        "export",
        "-summary-only",
        str(target),
        "-instr-profile",
        str(merged),
    ]
    found = json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)
    engine = ROOT / "sim" / "native"
    rows: list[dict[str, int | str]] = []
    for entry in found["data"][0]["files"]:
        path, summary = Path(entry["filename"]), entry["summary"]
        if engine in path.resolve().parents:
            rows.append(
                {
                    "file": path.name,
                    **{
                        f"{what} {part}": summary[what][part]
                        for what in ("lines", "branches")
                        for part in ("covered", "count")
                    },
                }
            )
    return rows


def earlier(path: Path) -> list[Session]:
    """Return the sessions that the corpus comes from."""
    return [Session(**entry) for entry in json.loads(path.read_text())] if path.exists() else []


def document(sessions: Sequence[Session], files: Sequence[dict[str, int | str]]) -> str:
    """Return the page: the sessions, and what their corpus covers."""
    hours = sum(s.seconds for s in sessions) / 3600
    lines = [
        "# Fuzzing the native engine",
        "",
        *INTRODUCTION,
        "",
        f"{sum(s.inputs for s in sessions):,} inputs in {hours:.2f} hours, "
        f"{sum(s.faults for s in sessions)} faults.",
        "",
        "| seed | seconds | inputs | plans run | refused | left out | kept | faults |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {s.seed} | {s.seconds} | {s.inputs:,} | {s.run:,} | {s.refused:,} | {s.left_out:,} "
            f"| {s.kept:,} | {s.faults} |"
            for s in sessions
        ),
        "",
        "Left out: plans without an output, or whose run would take too long or too much memory.",
        "",
        "What the corpus covers (this CPU's tables; `isa` of other CPUs is not reached here):",
        "",
        "| file | lines | branches |",
        "|:--|--:|--:|",
        *(f"| {row['file']} | {share(row, 'lines')} | {share(row, 'branches')} |" for row in files),
        f"| all | {share(total(files), 'lines')} | {share(total(files), 'branches')} |",
        "",
    ]
    return "\n".join(lines)


def share(row: dict[str, int | str], what: str) -> str:
    """Return covered of all, and the share."""
    covered, count = int(row[f"{what} covered"]), int(row[f"{what} count"])
    return f"{covered} of {count} ({100 * covered / count:.0f} %)" if count else "-"


def total(rows: Sequence[dict[str, int | str]]) -> dict[str, int | str]:
    """Return the sums over all files."""
    names = [name for name in rows[0] if name != "file"] if rows else []
    return {name: sum(int(row[name]) for row in rows) for name in names}


if __name__ == "__main__":
    raise SystemExit(main())
