"""Defects of the peers: those that our dialects avoid, and those that make a cell unequal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defect:
    """Why a peer computes something else, or nothing, and the public thread (or its source)."""

    reason: str
    thread: str


@dataclass(frozen=True, slots=True)
class Avoided:
    """What a peer's loader does, what our files do about it, and the public thread."""

    peers: str
    defect: str
    remedy: str
    thread: str


NONE = "none found (searched the threads of {})"
AVOIDED = (
    Avoided(
        "norse, sinabs",
        "nirtorch's GraphExecutor computes nodes in the order in which a depth-first walk first "
        "meets them: where two ways meet again, one arrives a step late",
        "edges in an order that leads the walk; where that is not enough, weights of zero that do",
        NONE.format("NIRTorch, norse and sinabs"),
    ),
    Avoided(
        "sinabs",
        "its importer leaves CubaLIF out without a word",
        "LI and LIF, which compute the same",
        NONE.format("sinabs and NIR"),
    ),
    Avoided(
        "all",
        "nir's type check takes the height of a kernel for its width, and the channels of a group "
        "for all channels, and refuses the file",
        "square kernels without groups, zeros between; what cannot be square is warned of",
        "related: [NIR 58](https://github.com/neuromorphs/NIR/issues/58); else "
        + NONE.format("NIR"),
    ),
    Avoided(
        "spikingjelly",
        "refuses grouped convolutions",
        "convolutions without groups",
        "[spikingjelly 728](https://github.com/fangwei123456/spikingjelly/pull/728)",
    ),
    Avoided(
        "snntorch",
        "loads IF as a leaky neuron (beta 0.9)",
        "LIF of a tau that loses nothing in float32",
        "[snntorch 416](https://github.com/jeshraghian/snntorch/issues/416), mended after 1.0.0 by "
        "[452](https://github.com/jeshraghian/snntorch/pull/452)",
    ),
    Avoided(
        "snntorch",
        "takes a neuron and the one Linear behind it for a layer of its own, wrongly",
        "identity weights that lengthen the loop",
        "[snntorch 290](https://github.com/jeshraghian/snntorch/issues/290), "
        "[380](https://github.com/jeshraghian/snntorch/pull/380)",
    ),
    Avoided(
        "norse",
        "multiplies tau by dt when it writes",
        "divided by dt when we read, with a warning",
        "[norse 411](https://github.com/norse/norse/issues/411)",
    ),
)
PORTABLE = ("norse", "snntorch", "spikingjelly")
"""Peers whose importers follow NIR's equations, so that they read the portable file as it is."""

OUT: dict[tuple[str, str], Defect] = {}
"""(peer, network) of the corpus: our file, loaded and run by the peer."""

IN: dict[tuple[str, str], Defect] = {}
"""(peer, network) of the peer's own: its file, read and run by us."""
