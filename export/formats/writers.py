"""One way to write every format: by the suffix of the file, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ir import Graph, InputError, UnknownNameError
from ..ir.visible import visible
from .atomic import refuse_overwrite


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the files, and one warning a thing that the format cannot say."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        warnings = [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*warnings, *(f"wrote {visible(str(file))}" for file in self.files)])


def write(graph: Graph, path: str | Path, *, force: bool = False, **options: Any) -> Written:
    """Write a graph in the format of the suffix: .spk, .nir, .onnx or .net (Lava HDF5).

    ONNX makes two files: `path` steps once with explicit states; `.scan` before the suffix runs any
    number of steps.

    Args:
        options: of the format: for ONNX `arithmetic` and `inline`, for NIR `dialect`, `dt` and
            `strict`.

    Raises:
        UnknownNameError: for another suffix or option.
        FormatError: for an existing file without `force`, or a node the format cannot hold.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UnknownNameError.of("format", suffix or str(path), FORMATS)
    return write_as(FORMATS[suffix], graph, Path(path), force=force, **options)


def write_as(
    name: str, graph: Graph, path: Path, *, force: bool = False, **options: Any
) -> Written:
    """Write a graph in a format by name (see `WRITERS`), whatever the suffix; else as `write`."""
    if name not in WRITERS:
        raise UnknownNameError.of("format", name, WRITERS)
    for option in options:
        if option not in OPTIONS.get(name, ()):
            raise InputError(
                f"{name} files have no option {option}",
                node=str(path),
                remedy=f"allowed: {', '.join(OPTIONS[name])}" if name in OPTIONS else None,
            )
    return WRITERS[name](graph, path, force, options)


def _archive(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> Written:
    from .archive import write_archive

    write_archive(graph, path, force=force)
    return Written((path,))


def _nir(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> Written:
    from .nir_out import write_nir

    return Written((path,), tuple(write_nir(graph, path, force=force, **options)))


def _onnx(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> Written:
    from .onnx import Form, write_forms

    scan = path.with_name(f"{path.stem}.scan{path.suffix}")
    for file in (path, scan):
        refuse_overwrite(file, force=force)
    paths: dict[Form, Path] = {"scan": scan, "step": path}  # the file that was asked for comes last
    write_forms(graph, paths, force=force, **options)
    return Written((path, scan))


def _lava(graph: Graph, path: Path, force: bool, options: Mapping[str, Any]) -> Written:
    from .lava import write_lava

    write_lava(graph, path, force=force)
    return Written((path,))


WRITERS: dict[str, Callable[[Graph, Path, bool, Mapping[str, Any]], Written]] = {
    "spk": _archive,
    "nir": _nir,
    "onnx": _onnx,
    "lava": _lava,
}
SUFFIXES = {"nir": (".nir", ".h5", ".hdf5"), "onnx": (".onnx",), "lava": (".net", ".h5", ".hdf5")}
"""By which a file of a format is known for what it is."""
FORMATS = {".spk": "spk", ".nir": "nir", ".onnx": "onnx", ".net": "lava"}
OPTIONS = {"onnx": ("arithmetic", "inline"), "nir": ("dialect", "dt", "strict")}
