"""`imagefolder:DIR`: DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/* alone."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

import numpy as np

from ...export.formats.files import refuse_bomb, regular_bytes
from ...export.ir.errors import FormatError
from .dataset import SPLITS, Dataset, tenth_apart
from .decode import decode_rgb, picture_size
from .folders import files_below, folders_in, refuse_link

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
LARGEST_FILE = 64 << 20
"""Bytes of one encoded picture."""


def read_imagefolder(path: Path | None, split: str, limit: int | None) -> Dataset:
    """Return pictures by class folder, x [sample, 3, y, x] in 0..1, classes in sorted order.

    The classes are those of both splits, so that a number means the same class in each.
    Without folders for the splits, each is all of them: the data are `undivided`.
    With a limit the classes take turns, so that few samples still cover them all.

    Raises:
        FormatError: if there is no class folder, no picture, or sizes differ.
    """
    root = Path(path or "")
    chosen = _files(root, split)[:limit]
    return _decoded(chosen, root, split)


def undivided_imagefolder(path: Path) -> bool:
    """Return whether there are no folders for the splits."""
    return not any((path / name).is_dir() for name in SPLITS)


def divide_imagefolder(path: Path, limit: int | None) -> tuple[Dataset, Dataset]:
    """Return the training split and the held-out tenth of undivided pictures (`load_splits`).

    It is drawn over the files, so that only the first `limit` of each are decoded.

    Raises:
        InputError: for fewer than 10 pictures; FormatError as `read_imagefolder`.
    """
    files = _files(path, "train")
    rest, held = (part[:limit] for part in tenth_apart(len(files), f"imagefolder:{path}"))
    data = _decoded([files[n] for n in (*rest, *held)], path, "train")
    indices = np.arange(len(data))
    return data.parted(indices[: len(rest)], indices[len(rest) :])


def _files(root: Path, split: str) -> list[tuple[Path, int]]:
    """Return the pictures of a split and their classes, the classes taking turns."""
    undivided = undivided_imagefolder(root)
    folder = root if undivided else root / split
    if not folder.is_dir():
        remedy = "give the folder above train and test, or above the classes"
        raise FormatError("no such folder", node=str(folder), remedy=remedy)
    splits = [root] if undivided else [root / name for name in SPLITS]
    for place in () if undivided else splits:  # what the user named may be a link itself
        refuse_link(place, root)
    names = _class_names(splits, root)
    files = [(file, n) for n, name in enumerate(names) for file in _pictures(folder / name, root)]
    if not files:
        raise FormatError(f"no CLASS/picture ({', '.join(_SUFFIXES)}) inside", node=str(folder))
    return _take_turns(files)


def _decoded(chosen: list[tuple[Path, int]], root: Path, split: str) -> Dataset:
    files = [file for file, _ in chosen]
    size = picture_size(regular_bytes(files[0], LARGEST_FILE), str(files[0]))
    shape = (len(files), 3, *size)
    stored = sum(min(os.path.getsize(file), LARGEST_FILE) for file in files if file.is_file())
    pictures = f"{len(files):,} pictures of {size[0]} x {size[1]} pixels"
    refuse_bomb(prod(shape) * 4, stored, pictures, str(root), "resize them, or give --limit N")
    x = np.empty(shape, np.float32)
    for index, file in enumerate(files):
        x[index] = decode_rgb(regular_bytes(file, LARGEST_FILE), str(file), size)
    labels = np.array([label for _, label in chosen], np.int64)
    name = f"imagefolder:{root}"
    return Dataset(x, labels, name, split, undivided=undivided_imagefolder(root))


def _class_names(folders: list[Path], root: Path) -> list[str]:
    """Return the names of the class folders in any of the folders that exist, sorted."""
    present = (folder for folder in folders if folder.is_dir())
    return sorted({entry.name for folder in present for entry in folders_in(folder, root)})


def _pictures(folder: Path, root: Path) -> list[Path]:
    return files_below(folder, root, _SUFFIXES) if folder.is_dir() else []


def _take_turns(files: list[tuple[Path, int]]) -> list[tuple[Path, int]]:
    """Return the files ordered by their rank within their class, then by class."""
    ranks: dict[int, int] = {}
    ranked: list[tuple[int, int, Path]] = []
    for file, label in files:
        rank = ranks.get(label, 0)
        ranks[label] = rank + 1
        ranked.append((rank, label, file))
    return [(file, label) for _, label, file in sorted(ranked)]
