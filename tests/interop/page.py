"""docs/interop.md: the matrix and every cell of it, from the cells of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tests.interop import known
from tests.interop.environments import PEERS
from tests.interop.known import Defect

if TYPE_CHECKING:
    from tests.interop.run import Cell, Proof

HEAD = """# Interop: equal spikes, proven by the peers themselves

`make interop` writes this page. It builds one environment a peer and lets the peer's own importer
load our NIR files (`spikewright export … --to nir --dialect NAME`) and its own neurons run them;
then the peer exports networks of its own, and we read and run those (`--dialect NAME`). Spikes are
compared neuron by neuron and step by step, T = 20, four samples, every layer spiking at 5 % or
more. No tolerance: a cell counts only if every spike is equal.
"""

NOTES = """
*Ours at the peer* compares with the graph that the file was written from, and with our float
executor of the same file read without our metadata; integer integrate-and-fire networks are
compared with their integers. *Tests of live modules* trace modules of the peer's own neurons
(`sw.lower(module, sample)`) and compare every spike with the module's own run. The networks have
the neurons that the peer has: hard reset, for sinabs multi-spike neurons that subtract. Weights are
multiples of 1/32 and thresholds stand between the values that potentials can take, so that float32
rounding decides nothing.
"""

PORTABLE = """
## The portable file at the peer

The same file for all (`--dialect portable`, the default): leaky neurons behind weights, which these
readers compute alike. sinabs takes tau in steps and no v_reset, and needs its own dialect.
"""

LEAKY = """
## Integer leaky networks: share of spikes that differ

Floats do not truncate toward zero as our integer decay does, so a few spikes may differ.
"""


AVOIDED = """
## Defects of the peers that our files avoid

| peer | what it does | what our files, or our reader, do | public thread |
|---|---|---|---|"""


TRAINED = """
## Trained networks: share of spikes that differ

Checkpoints as they are shipped, in float32, on samples of their data's test split. Their weights
are any numbers, so where a potential meets its threshold within rounding another order of
additions may decide a spike. For sinabs the same weights with neurons that subtract.
"""


def page(peers: Sequence[str], proof: Proof) -> str:
    """Return the page of a run."""
    parts = [HEAD, *_matrix(peers, proof.out, proof.into), _live(peers, proof.live), NOTES]
    parts += ["## Ours at the peer\n", *_table(peers, proof.out)]
    known_peers = [peer for peer in peers if peer in known.PORTABLE]
    if known_peers:
        parts += [PORTABLE, *_table(known_peers, proof.portable)]
    parts += ["\n## The peer's at ours\n", *_lists(peers, proof.into)]
    parts += [TRAINED, *_table(peers, proof.trained)]
    parts += [LEAKY, *_table(peers, proof.leaky)]
    reasons = [*_reasons(proof.out, known.OUT), *_reasons(proof.into, known.IN)]
    if reasons:
        parts += ["\n## Where a peer computes something else\n", *reasons]
    parts += [AVOIDED, *_avoided()]
    return "\n".join(parts) + "\n"


def _avoided() -> Iterator[str]:
    for row in known.AVOIDED:
        yield f"| {row.peers} | {row.defect} | {row.remedy} | {row.thread} |"


def _matrix(peers: Sequence[str], out: list[Cell], into: list[Cell]) -> Iterator[str]:
    yield f"| | {' | '.join(f'{p} {PEERS[p].version}' for p in peers)} |"
    yield f"|---|{'---|' * len(peers)}"
    for title, cells in (("ours at the peer", out), ("the peer's at ours", into)):
        counts = []
        for peer in peers:
            own = [cell for cell in cells if cell.peer == peer]
            counts.append(f"{sum(cell.equal for cell in own)} of {len(own)}")
        yield f"| {title} | {' | '.join(counts)} |"


def _live(peers: Sequence[str], live: Mapping[str, tuple[int, int]]) -> str:
    counts = [f"{live[peer][0]} of {live[peer][1]}" for peer in peers]
    return f"| tests of live modules | {' | '.join(counts)} |"


def _said(cell: Cell) -> str:
    if cell.differ is None:
        return "not loaded"
    return "equal" if cell.equal else f"{cell.differ:.2%} differ"


def _table(peers: Sequence[str], cells: list[Cell]) -> Iterator[str]:
    by_place = {(cell.peer, cell.network): cell for cell in cells}
    yield f"| network | {' | '.join(peers)} |"
    yield f"|---|{'---|' * len(peers)}"
    for name in dict.fromkeys(cell.network for cell in cells):
        row = [_said(by_place[peer, name]) for peer in peers]
        yield f"| {name} | {' | '.join(row)} |"


def _lists(peers: Sequence[str], cells: list[Cell]) -> Iterator[str]:
    for peer in peers:
        own = [f"{cell.network}: {_said(cell)}" for cell in cells if cell.peer == peer]
        yield f"- **{peer}**: {'; '.join(own)}"


def _reasons(cells: list[Cell], defects: Mapping[tuple[str, str], Defect]) -> Iterator[str]:
    for cell in cells:
        defect = defects.get((cell.peer, cell.network))
        if not cell.equal and defect is not None:
            yield f"- {cell.peer}, {cell.network}: {defect.reason} ({defect.thread})"
