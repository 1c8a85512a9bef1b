"""Pack: several programs over one input as one, so that one run of Lava serves them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .program import Placed, Program


def pack(programs: Sequence[Program], *, pipelined: bool) -> Program:
    """Return one program; process NAME of program k is called `k:NAME`.

    The source that feeds without a lag is shared: Lava runs what is connected. Its readouts stand
    among the neurons.
    """
    first = (p for program in programs for p in program.sources.values() if p.lag == 0)
    shared = next((place.process for place in first), "")
    packed = Program({}, (), {}, programs[0].output, {}, {}, {}, pipelined)
    for k, program in enumerate(programs):
        packed = _with(packed, program, k, shared)
    deepest = max(packed.neurons.values(), key=lambda place: place.lag)
    return replace(packed, output=deepest)


def _with(packed: Program, program: Program, k: int, shared: str) -> Program:
    def named(name: str) -> str:
        return name if name == shared else f"{k}:{name}"

    def placed(place: Placed) -> Placed:
        return replace(place, process=named(place.process))

    places = {**program.neurons, program.output.process: program.output}
    return replace(
        packed,
        processes={**packed.processes, **{named(n): p for n, p in program.processes.items()}},
        connections=(*packed.connections, *((named(a), named(b)) for a, b in program.connections)),
        neurons={**packed.neurons, **{named(n): placed(p) for n, p in places.items()}},
        sources={**packed.sources, **{named(n): placed(p) for n, p in program.sources.items()}},
        constants={**packed.constants, **{named(n): v for n, v in program.constants.items()}},
    )
