"""Which options act where, for Python and the command line alike: what cannot act is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import PurePath

from .export.ir import Graph, InputError
from .export.ir.graph import ENCODING_ASSUMED

FACTORY = "file.py:factory"
READ_BY: Mapping[str, tuple[str, ...]] = {
    "weights": (FACTORY,),
    "input_shape": (FACTORY, ".onnx"),
    "dialect": (".nir",),
    "dt": (".nir",),
    "strict": (".nir",),
    "convert": (".onnx",),
    "differences": (FACTORY, ".safetensors", "name"),
}
"""The kinds of source that an option of reading is for; options that are not here are for all."""
QUANTISING = ("bits", "target", "profile", "scale", "calibrate", "sample")
"""What acts only where floats become integers."""
FORMATS = ("bits", "target", "profile")
"""Those that an integer network is compared with instead (`api.lower`)."""

HDF5 = (".h5", ".hdf5")
"""What NIR files may be called too; Lava's as well."""
Spelled = Callable[[str], str]
"""How the user wrote an option."""


def kind_of(source: str) -> str:
    """Return `file.py:factory`, the suffix, or `name` of a SOURCE."""
    if ".py:" in source:
        return FACTORY
    suffix = PurePath(source).suffix.lower() or "name"
    return ".nir" if suffix in HDF5 else suffix


def refuse_idle(
    source: str, given: Collection[str], spelled: Spelled = str, kind: str | None = None
) -> None:
    """Raise InputError for the first option of `given` (without defaults) that cannot act.

    Args:
        kind: of the source, where a look into the file showed another than its name says.
    """
    kind = kind or kind_of(source)
    for name, kinds in READ_BY.items():
        if name in given and kind not in kinds:
            *first, last = kinds
            known = f"{', '.join(first)} and {last}" if first else last
            raise _idle(source, spelled(name), f"it is for {known} sources")


def refuse_unlowered(
    graph: Graph, level: str, given: Collection[str], source: str, spelled: Spelled = str
) -> None:
    """Raise InputError for the first option of `given` that needs floats to become integers.

    Args:
        graph: as it was read. level: that is asked for.
    """
    if level == "integer" and graph.level != "integer":
        return
    integer = graph.level == "integer" and level == "integer"
    for name in QUANTISING:
        if name not in given or (integer and name in FORMATS) or _reads(name, graph, source):
            continue
        if graph.level == "integer":
            raise _idle(source, spelled(name), "the network holds integers already")
        remedy = "leave it out, or lower to the integer level"
        raise _idle(source, spelled(name), f"the network stays at the {level} level", remedy)


def _reads(name: str, graph: Graph, source: str) -> bool:
    """Return whether `calibrate` acted when the source was read: on thresholds, or the encoding."""
    return name == "calibrate" and (
        kind_of(source) == ".onnx" or bool(graph.metadata.get(ENCODING_ASSUMED))
    )


def _idle(source: str, option: str, reason: str, remedy: str = "leave it out") -> InputError:
    return InputError(f"{option} cannot act here, {reason}", node=source, remedy=remedy)
