"""The campaign: `python -m tests.attack.run --files 10000 --seed 0 --out docs/attack.md`.

Mutates files of every format, opens each as the product does and uses what it accepts. Prints a
table by format; keeps every fault as its file beside a text, and returns 1 where there is one.
`--replay FILE` opens one kept file again. A file is known by its number: the seed and the order.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .harness import Case, Verdict, prepare, verdicts
from .mutate_bytes import mutated_bytes
from .mutate_structure import WAYS, mutated_structure
from .seeds import MAKERS, all_seeds

WORDS = ("accepted", "refused", "foreign", "crash", "hang", "memory", "event", "message")
BATCH = 50
"""Files that one child opens."""


def case(kind: str, seeds: list[bytes], number: int) -> Case:
    """Return the file of a number: half have their bytes mutated, half their structure."""
    rng = np.random.default_rng([number, sorted(MAKERS).index(kind)])
    content = seeds[int(rng.integers(len(seeds)))]
    structured = kind in WAYS and rng.random() < 0.5
    if structured:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Case(number, kind, mutated_structure(kind, content, rng))
        except Exception:  # the library that writes refuses such a file: bytes instead
            pass
    return Case(number, kind, mutated_bytes(content, seeds, rng))


def cases(kinds: list[str], files: int, seed: int) -> Iterator[list[Case]]:
    """Yield batches of cases, each of one format, the formats in turn."""
    held = all_seeds()
    each = -(-files // len(kinds))
    for start in range(0, each, BATCH):
        for kind in kinds:
            numbers = range(seed * 1_000_000 + start, seed * 1_000_000 + min(start + BATCH, each))
            yield [case(kind, held[kind], number) for number in numbers]


def aside() -> dict[str, bytes]:
    """Return the files that readers may need beside the one that is judged."""
    import io

    file = io.BytesIO()
    np.savez(file, x=np.random.default_rng(0).random((4, 1, 6, 6), np.float32), y=np.arange(4))
    return {"calibrate.npz": file.getvalue()}


def campaign(kinds: list[str], files: int, seed: int) -> Iterator[Verdict]:
    """Yield the verdict of every file."""
    prepare()
    beside = aside()
    for batch in cases(kinds, files, seed):
        yield from verdicts(batch, beside)


def table(counts: dict[str, Counter[str]], title: str) -> str:
    """Return the counts as a page of Markdown."""
    lines = ["# Attack", "", title, "", f"| format | files | {' | '.join(WORDS)} |"]
    lines.append("|:--|" + "--:|" * (len(WORDS) + 1))
    total: Counter[str] = Counter()
    for kind, found in counts.items():
        total += found
        lines.append(_row(kind, found))
    return "\n".join([*lines, _row("all", total)]) + "\n"


def _row(name: str, found: Counter[str]) -> str:
    return f"| {name} | {found.total():,} | " + " | ".join(f"{found[w]:,}" for w in WORDS) + " |"


def keep(verdict: Verdict, folder: Path) -> None:
    """Write a fault's file, named by format, number and kind, and its text."""
    assert verdict.case is not None
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{verdict.case.kind}.{verdict.case.number}.{verdict.word}"
    (folder / name).write_bytes(verdict.case.content)
    (folder / f"{name}.txt").write_text(f"{verdict.stage}\n{verdict.detail}\n")


def replay(path: Path) -> int:
    """Open a kept file again and print its verdict; return 1 for a fault."""
    kind, number, _ = path.name.split(".", 2)
    prepare()
    (verdict,) = verdicts([Case(int(number), kind, path.read_bytes())], aside())
    print(f"{verdict.word} at {verdict.stage}: {verdict.detail}")
    return int(verdict.is_fault)


def main(words: list[str] | None = None) -> int:
    """Run; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", action="append", choices=list(MAKERS), help="default: all")
    parser.add_argument("--out", type=Path, help="the page with the table")
    parser.add_argument("--faults", type=Path, default=Path("build/attack"))
    parser.add_argument("--replay", type=Path, metavar="FILE")
    chosen = parser.parse_args(words)
    if chosen.replay:
        return replay(chosen.replay)
    kinds, began = chosen.format or list(MAKERS), time.monotonic()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    for verdict in campaign(kinds, chosen.files, chosen.seed):
        assert verdict.case is not None
        counts[verdict.case.kind][verdict.word] += 1
        if verdict.is_fault:
            keep(verdict, chosen.faults)
            last = verdict.detail.strip().splitlines()[-1:]
            print(verdict.case.kind, verdict.case.number, verdict.word, verdict.stage, *last)
    seconds = time.monotonic() - began
    files = sum(found.total() for found in counts.values())
    title = (
        f"{files:,} files, seed {chosen.seed}, {seconds:.0f} s ({files / seconds:.0f} a second)."
    )
    page = table(counts, title)
    print(page)
    if chosen.out:
        chosen.out.write_text(page)
    return int(any(found[word] for found in counts.values() for word in WORDS[2:]))


if __name__ == "__main__":
    sys.exit(main())
