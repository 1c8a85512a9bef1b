"""One split of one data set, in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...export.ir.errors import InputError

SPLITS = ("train", "test")
_TENTH = 10


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples and their labels.

    Attributes:
        x: [sample, channel, y, x] float32 in 0..1 for images; from an npz any shape after the
            sample axis, float32 or integer as stored.
        y: [sample] int64 labels, or None.
        name: the spec it was loaded by, e.g. ``cifar10:DIR``.
        split: ``train``, ``test`` or ``validation``.
        licence: the licence and source of the samples, or ``unknown``.
        undivided: whether the source knows no splits, so that each of them is all samples.
    """

    x: NDArray[Any]
    y: NDArray[np.int64] | None
    name: str
    split: str
    licence: str = "unknown"
    undivided: bool = False

    def __post_init__(self) -> None:
        if len(self.x) == 0:
            raise InputError("0 samples", node=self.name, remedy="give at least 1")
        if self.y is not None and self.y.shape != (len(self.x),):
            raise InputError(
                f"labels of shape {list(self.y.shape)} for {len(self.x)} samples", node=self.name
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, ``(channel, y, x)`` for images."""
        return tuple(self.x.shape[1:])

    @property
    def classes(self) -> int:
        """The number of classes: the largest label plus one."""
        return int(self.labels.max()) + 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels.

        Raises:
            InputError: if the data has none.
        """
        if self.y is None:
            remedy = "give data with `y`, and with `y_test` where it has `x_test`"
            raise InputError("no labels", node=self.name, remedy=remedy)
        return self.y

    def digest(self) -> str:
        """Return the SHA-256 of the samples and labels: their types, shapes and values."""
        found = hashlib.sha256()
        for array in (self.x, self.y):
            if array is not None:
                found.update(f"{array.dtype} {array.shape}".encode())
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    def head(self, limit: int | None) -> Dataset:
        """Return the first `limit` samples (all of them for None)."""
        if limit is None or limit >= len(self.x):
            return self
        if limit < 1:
            raise InputError(f"limit {limit}, allowed 1 or more", node=self.name)
        return self.take(np.arange(limit))

    def take(self, index: NDArray[np.int64]) -> Dataset:
        """Return the samples at `index`, in its order."""
        y = None if self.y is None else self.y[index]
        return replace(self, x=self.x[index], y=y)

    def split_off(self, count: int) -> tuple[Dataset, Dataset]:
        """Return (the rest, `count` samples held out): the same ones for every seed and task.

        Raises:
            InputError: if nothing would be left on one side.
        """
        if not 1 <= count < len(self):
            raise InputError(
                f"{count} of {len(self)} samples held out, allowed 1..{len(self) - 1}",
                node=self.name,
            )
        rest, held = drawn_apart(len(self), count)
        return self.take(rest), replace(self.take(held), split="validation")

    def parted(self, rest: NDArray[np.int64], held: NDArray[np.int64]) -> tuple[Dataset, Dataset]:
        """Return the samples at `rest` as training split, those at `held` as held out."""
        held_out = replace(self.take(held), split="held-out", undivided=False)
        return replace(self.take(rest), undivided=False), held_out

    def labelled_share(self, share: float) -> Dataset:
        """Return `share` of the samples of each class, rounded (semi-supervised).

        The same samples for every seed and task; smaller shares are parts of larger ones.

        Raises:
            InputError: for a share outside 0..1 or of less than one sample of a class, or no
                labels.
        """
        if not 0 < share <= 1:
            raise InputError(f"share of labels {share}, allowed above 0 to 1", node=self.name)
        if share == 1:
            return self
        labels, counts = np.unique(self.labels, return_counts=True)
        if round(share * (fewest := int(counts.min()))) < 1:
            raise InputError(
                f"{share:g} of the {fewest} labels of class {labels[counts.argmin()]} is "
                f"{share * fewest:.2g} of a label, at least one is needed",
                node=self.name,
                remedy=f"give a share of {1 / fewest:.2g} or more",
            )
        order = np.random.default_rng(0).permutation(len(self))
        chosen: list[NDArray[np.int64]] = []
        for label in labels:
            members = order[self.labels[order] == label]
            chosen.append(members[: round(share * len(members))])
        return self.take(np.sort(np.concatenate(chosen)))


def drawn_apart(samples: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (the other indices, `count` drawn ones) of so many samples, always the same ones."""
    order = np.random.default_rng(0).permutation(samples)
    return np.sort(order[count:]), np.sort(order[:count])


def tenth_apart(samples: int, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of (training split, held-out tenth) of undivided data.

    The same ones for every seed, task and limit; classes may lie in order, so it is not the last
    tenth but a drawn one.

    Raises:
        InputError: for fewer than 10 samples.
    """
    if samples < _TENTH:
        raise InputError(
            f"{samples} samples and no test split, at least {_TENTH} to hold a tenth out",
            node=name,
            remedy="save test samples as x_test and y_test"
            if name.startswith("npz")
            else "put test samples into a folder test, the others into train",
        )
    return drawn_apart(samples, samples // _TENTH)
