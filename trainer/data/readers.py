"""`load`: a data spec, as typed on the command line, to a `Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from ...export.ir.errors import InputError, SpikewrightError, UnknownNameError
from .cifar10 import read_cifar10
from .dataset import SPLITS, Dataset
from .digits import read_digits
from .imagefolder import divide_imagefolder, read_imagefolder, undivided_imagefolder
from .npz import divide_npz, read_npz, undivided_npz

Reader: TypeAlias = Callable[[Path | None, str, int | None], Dataset]

READERS: Mapping[str, Reader] = {
    "digits": read_digits,
    "npz": read_npz,
    "cifar10": read_cifar10,
    "imagefolder": read_imagefolder,
}

PACKAGED = ("digits",)
"""The kinds of data that take no path."""


def packaged(spec: str) -> bool:
    """Return whether data come with this package: what a file's card names is opened no further.

    A card is not the user: the path in it may be anybody's.
    """
    return spec in PACKAGED


def load(spec: str, split: str = "train", limit: int | None = None) -> Dataset:
    """Return the data of `spec`: ``digits``, ``npz:FILE``, ``cifar10:DIR``, ``imagefolder:DIR``.

    Args:
        split: ``train`` or ``test``; all samples where the data have no splits (`load_splits`).
        limit: keep the first `limit` samples, decoding no more than those.

    Raises:
        UnknownNameError: for a kind of data that is not in `READERS`.
        InputError: for another split, a limit below 1, a missing path, or a path without its kind.
        FormatError: for files that are missing, damaged or of another kind.
    """
    kind, path = _checked(spec, split, limit)
    return READERS[kind](path, split, limit)


def undivided(spec: str) -> bool:
    """Return whether data know no splits, as far as can be seen without reading them."""
    kind, _, path = spec.partition(":")
    return bool(path) and kind in _UNDIVIDED and _UNDIVIDED[kind](Path(path))


_UNDIVIDED: Mapping[str, Callable[[Path], bool]] = {
    "npz": undivided_npz,
    "imagefolder": undivided_imagefolder,
}
_DIVIDE: Mapping[str, Callable[[Path, int | None], tuple[Dataset, Dataset]]] = {
    "npz": divide_npz,
    "imagefolder": divide_imagefolder,
}


def load_splits(spec: str, limit: int | None = None) -> tuple[Dataset, Dataset]:
    """Return the training split and the test split of `spec`, the first `limit` samples of each.

    Of data without splits (an npz without `x_test`, an imagefolder of classes alone) a tenth is
    held out as the test split (`tenth_apart`).

    Raises:
        InputError: for too few samples to hold any out; else as `load`.
    """
    kind, path = _checked(spec, "train", limit)
    if path is None or not undivided(spec):
        return load(spec, "train", limit), load(spec, "test", limit)
    return _DIVIDE[kind](path, limit)  # of all samples: a limit must not move the tenth


def load_training(spec: str, limit: int | None = None) -> Dataset:
    """Return what may be trained or calibrated on: the first `limit` samples outside the tenth.

    Of undivided data too few to hold a tenth out, and of divided ones, it is the training split.

    Raises:
        As `load`.
    """
    if undivided(spec):
        try:
            return load_splits(spec, limit)[0]
        except InputError:  # too few
            pass
    return load(spec, "train", limit)


def _checked(spec: str, split: str, limit: int | None) -> tuple[str, Path | None]:
    kind, _, path = spec.partition(":")
    if kind not in READERS:
        raise _unknown(spec)
    if split not in SPLITS:
        raise UnknownNameError.of("split", split, SPLITS)
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}, allowed 1 or more", node=spec)
    if not path and kind not in PACKAGED:
        raise InputError("no path", node=spec, remedy=f"write {kind}:PATH")
    return kind, Path(path) if path else None


def _unknown(spec: str) -> SpikewrightError:
    """A path without its kind is told what to write."""
    kind, _, place = spec.partition(":")
    if place and not Path(spec).exists():
        return UnknownNameError.of("data", kind, READERS)
    path = Path(spec)
    if path.suffix == ".npz" or path.is_file():
        return InputError("data without its kind", node=spec, remedy=f"write npz:{spec}")
    if path.is_dir():
        remedy = f"write cifar10:{spec} or imagefolder:{spec}"
        return InputError("data without its kind", node=spec, remedy=remedy)
    return UnknownNameError.of("data", kind, READERS)
