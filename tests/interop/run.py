"""Interop proof: each peer loads and runs our NIR files, and we read and run the peer's.

    python -m tests.interop.run [--peers norse,snntorch] [--cache DIR] [-o docs/interop.md]

Spikes are compared neuron by neuron and step by step. Out: what the peer's importer makes of the
file in its dialect, against the graph that the file was written from (integer integrate-and-fire
graphs: against their integers), and against our float executor of the same file, its metadata left
out. In: what we read from the file that the peer exported, against the peer's own run. Live: the
tests that trace the peer's live modules, run in its environment. Exit 1 where spikes differ and
`known` names no reason of the peer's; exit 3 where a peer's environment could not be made.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from spikewright.export.formats.nir_dialect import DIALECTS
from spikewright.export.formats.nir_in import read_nir
from spikewright.export.formats.nir_out import write_nir
from spikewright.export.ir import Array, Graph, Input, SpikewrightError
from spikewright.export.ir.errors import FormatWarning
from spikewright.sim.reference import Reference
from tests.interop import known
from tests.interop.corpus import (
    INTEGER,
    INTEGER_LEAKY,
    LEAST_RATE,
    NETWORKS,
    PORTABLE,
    TRAINED,
    build,
    ran,
    some_input,
    subtracting,
)
from tests.interop.environments import PEERS, Peer, python_of
from tests.interop.page import page

ROOT = Path(__file__).parents[2]
LIVE = (
    "tests/export/test_foreign.py",
    "tests/export/test_starting_states.py",
    "tests/export/test_containers.py",
    "tests/test_docs_frameworks.py",
)
"""Tests of live modules, and the snippets of the page on frameworks."""
WORKER = Path(__file__).with_name("peers") / "worker.py"
NO_ENVIRONMENT = 3
Spikes = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Cell:
    """One network at one peer in one direction.

    Attributes:
        differ: share of spikes that differ, of all neurons and steps; None: it did not run.
        least_rate: of the layer that spikes least. error: what the peer or our reader said.
    """

    peer: str
    network: str
    differ: float | None
    least_rate: float = 0.0
    error: str = ""

    @property
    def equal(self) -> bool:
        """Whether every spike is."""
        return self.differ == 0


def network(name: str, peer: str) -> Graph:
    """Return a network of the corpus with the neurons that the peer has."""
    return subtracting(build(name)) if DIALECTS[peer].reset == "soft" else build(name)


def ours_at_the_peer(
    peer: Peer, python: Path, names: list[str], dialect: str | None = None
) -> list[Cell]:
    """Return the cells of direction out, of files in the peer's own dialect or another."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        for k, name in enumerate(names):
            graph = network(name, peer.name)
            write_nir(graph, folder / f"{k:02d}.nir", dialect=dialect or peer.name)
            np.save(folder / f"{k:02d}.x.npy", some_input(graph))
        _work("read", peer, python, folder)
        return [_compared(peer, name, folder / f"{k:02d}.nir") for k, name in enumerate(names)]


def _compared(peer: Peer, name: str, path: Path) -> Cell:
    graph = network(name, peer.name)
    expected = {n: t.spikes for n, t in ran(graph).neurons.items()}
    error = path.with_suffix(".error")
    if error.is_file():
        return Cell(peer.name, name, None, _least_rate(expected), error.read_text())
    found = _loaded(path)
    if name in NETWORKS:
        again = _run(read_nir(path, plain=True), some_input(graph))
        same = {n: t.spikes for n, t in again.neurons.items()}
        if (share := _share(expected, same)) != 0:
            return Cell(peer.name, name, share, 0.0, "our own reading of the file differs")
    return Cell(peer.name, name, _share(expected, found), _least_rate(expected))


def live_modules(peer: Peer, python: Path) -> tuple[int, int]:
    """Return how many tests of live modules pass in the peer's environment, and how many ran."""
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings="]
    command += ["-k", f"Test{peer.name.capitalize()} or (test_snippet and {peer.name})", *LIVE]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False
    )
    last = done.stdout.strip().splitlines()[-1:] or [""]
    passed, failed = (_number(last[0], what) for what in ("passed", "failed"))
    if failed or not passed:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return passed, passed + failed


def _number(line: str, what: str) -> int:
    found = re.search(rf"(\d+) {what}", line)
    return int(found[1]) if found else 0


def theirs_at_ours(peer: Peer, python: Path) -> list[Cell]:
    """Return the cells of direction in."""
    with TemporaryDirectory() as place:
        _work("write", peer, python, Path(place))
        return [_read_back(peer, path) for path in sorted(Path(place).glob("*.name"))]


def _read_back(peer: Peer, named: Path) -> Cell:
    name, error = named.read_text(), named.with_suffix(".error")
    if error.is_file():
        return Cell(peer.name, name, None, error=error.read_text())
    expected = _loaded(named.with_suffix(".nir"))
    try:
        graph = read_nir(named.with_suffix(".nir"), peer.name)
        trace = _run(graph, np.load(named.with_suffix(".x.npy")))
    except SpikewrightError as said:
        return Cell(peer.name, name, None, error=str(said))
    found = {ours.split(".")[0]: t.spikes for ours, t in trace.neurons.items()}
    return Cell(peer.name, name, _share(expected, found), _least_rate(expected))


def _run(graph: Graph, x: Array) -> Any:
    def plain(_: str, node: Any) -> Any:
        return replace(node, encoding="spikes") if isinstance(node, Input) else node

    return Reference(np.float32).prepare(graph.map_nodes(plain)).run(x)


def _work(verb: str, peer: Peer, python: Path, folder: Path) -> None:
    command = [str(python), str(WORKER), verb, peer.name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer.name}: {done.stderr[-2000:]}")


def _loaded(path: Path) -> Spikes:
    with np.load(path.with_suffix(".spikes.npz")) as found:
        return dict(found)


def _share(expected: Spikes, found: Spikes) -> float:
    """Return the share of spikes that differ; a neuron that was not computed differs wholly."""
    differ = sum(
        int((np.reshape(found[n], s.shape) != s).sum()) if n in found else s.size
        for n, s in expected.items()
    )
    return differ / sum(s.size for s in expected.values())


def _least_rate(spikes: Spikes) -> float:
    return min(float((s != 0).mean()) for s in spikes.values())


@dataclass(slots=True)
class Proof:
    """All cells of a run.

    Attributes:
        out, into: ours at the peers, and theirs at ours. portable: files for no peer in
            particular. leaky: integer leaky networks at the peers. trained: checkpoints at the
            peers. live: tests of live modules that passed and ran, by peer.
    """

    out: list[Cell] = field(default_factory=list)
    portable: list[Cell] = field(default_factory=list)
    leaky: list[Cell] = field(default_factory=list)
    trained: list[Cell] = field(default_factory=list)
    into: list[Cell] = field(default_factory=list)
    live: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, peer: Peer, python: Path) -> None:
        """Let one peer compute all of ours, and compute all of its."""
        self.out += ours_at_the_peer(peer, python, [*NETWORKS, *INTEGER])
        if peer.name in known.PORTABLE:
            self.portable += ours_at_the_peer(peer, python, list(PORTABLE), "portable")
        self.leaky += ours_at_the_peer(peer, python, list(INTEGER_LEAKY))
        self.trained += ours_at_the_peer(peer, python, list(TRAINED))
        self.into += theirs_at_ours(peer, python)
        self.live[peer.name] = live_modules(peer, python)

    def failures(self) -> list[str]:
        """Return a line for each cell that is not as it should be, or proves nothing."""
        bad = [c for c in self.out if not c.equal and (c.peer, c.network) not in known.OUT]
        bad += [c for c in self.into if not c.equal and (c.peer, c.network) not in known.IN]
        bad += [cell for cell in self.portable if not cell.equal]
        bad += [c for c in (*self.leaky, *self.trained) if c.differ is None]
        ran = [
            c for c in (*self.out, *self.portable, *self.leaky, *self.into) if c.differ is not None
        ]
        silent = [c for c in ran if c.least_rate < LEAST_RATE]
        broken = [name for name, (passed, ran) in self.live.items() if passed < max(ran, 1)]
        return [
            *(f"unexplained: {cell}" for cell in bad),
            *(f"too silent to prove anything: {cell}" for cell in silent),
            *(f"tests of live modules fail: {name}" for name in broken),
        ]


def main() -> int:
    """Run the proof; return 1 where an inequality has no reason of the peer's own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", default=",".join(PEERS))
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spikewright/interop"
    parser.add_argument("--cache", type=Path, default=usual)
    parser.add_argument("-o", "--out", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", FormatWarning)  # repairs of the peers' files
    proof, names = Proof(), asked.peers.split(",")
    for name in names:
        try:
            python = python_of(PEERS[name], asked.cache)
        except subprocess.CalledProcessError as error:
            print(f"the environment of {name} could not be made: {error}", file=sys.stderr)
            return NO_ENVIRONMENT
        proof.add(PEERS[name], python)
    text = page(names, proof)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    print(text)
    found = proof.failures()
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
