"""Arrays as numpy's .npy format holds them, read from a stream without trust.

Layout: magic, version, length of the header, a Python literal {descr, fortran_order, shape}, then
the values (NumPy Enhancement Proposal 1). The header is judged against the bytes that follow before
any memory is taken; only plain numbers, truth values and texts are read, nothing is unpickled.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..ir import Array, FormatError

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000
"""Characters, as numpy itself reads; those of plain arrays have about 100."""
MOST_AXES = 32
CHUNK = 1 << 20
"""Bytes that are taken from a stream at once."""
_PLAIN = re.compile(r"[<>=|]?(?:\?|[biufcSU]\d{1,7})")
_LITERAL = re.compile(
    r"""(?:'[^'\\\n]*'|"[^"\\\n]*"|True|False|\d{1,19}L?(?!\w)|[{}()\[\],:\s])*"""
)
_LONG = re.compile(r"(\d)L\b")  # as Python 2 wrote whole numbers

Take = Callable[[int], bytes]
"""Returns at most so many of the next bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a .npy header declares. `length`: the bytes that it takes itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    length: int

    @property
    def size(self) -> int:
        """The bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize

    def first(self, samples: int | None) -> Header:
        """Return the header of the first so many samples (along axis 0) of this array."""
        if samples is None or not self.shape or samples >= self.shape[0]:
            return self
        return Header((samples, *self.shape[1:]), self.dtype, self.fortran_order, self.length)


def read_header(take: Take) -> Header:
    """Return the header at the beginning of a stream.

    Raises:
        FormatError: for what is no .npy header, or one of an array that is not plain.
    """
    start = _exactly(take, 8, "the header")
    if not start.startswith(MAGIC):
        raise FormatError("it does not begin as a .npy array does")
    version = start[6]
    if version not in (1, 2, 3):
        raise FormatError(f".npy of version {version}, versions 1 to 3 are read")
    prefix = _exactly(take, 2 if version == 1 else 4, "the header")
    count = int.from_bytes(prefix, "little")
    if count > LONGEST_HEADER:
        raise FormatError(f"a header of {count} characters, at most {LONGEST_HEADER} are read")
    text = _exactly(take, count, "the header").decode(
        "latin1" if version < 3 else "utf-8", "replace"
    )
    return _parsed(text, len(start) + len(prefix) + count)


def _parsed(text: str, length: int) -> Header:
    try:
        plain = _LITERAL.fullmatch(text)
        fields = ast.literal_eval(_LONG.sub(r"\1", text.strip())) if plain else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise FormatError("its header is not {descr, fortran_order, shape}")
    shape, order = fields["shape"], fields["fortran_order"]
    if type(shape) is not tuple or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise FormatError(f"its header has the shape {_short(shape)}")
    if len(shape) > MOST_AXES:
        raise FormatError(f"{len(shape)} axes, at most {MOST_AXES} are read")
    if type(order) is not bool:
        raise FormatError(f"its header has fortran_order {_short(order)}, needs True or False")
    return Header(shape, _dtype(fields["descr"]), order, length)


def _dtype(descr: Any) -> np.dtype[Any]:
    """Return a plain dtype: of objects (pickles) and records none is made."""
    if isinstance(descr, str) and descr.lstrip("<>=|").startswith("O"):
        raise FormatError("Python objects, which could execute code (allow_pickle)")
    try:
        if isinstance(descr, str) and _PLAIN.fullmatch(descr):
            dtype: np.dtype[Any] = np.dtype(descr)
            if dtype.itemsize:
                return dtype
    except (TypeError, ValueError):
        pass
    raise FormatError(f"dtype {_short(descr)}, allowed numbers, truth values and texts")


def read_values(take: Take, header: Header, samples: int | None = None) -> Array:
    """Return the values behind a header, or the first so many along axis 0, in C order.

    Raises:
        FormatError: if the stream ends before them.
    """
    part = header.first(samples)
    if header.fortran_order and part.shape != header.shape:
        values = _strided(take, header, part.shape[0])
    else:
        values = _straight(take, part)
    native: Array = values.astype(part.dtype.newbyteorder("="), order="C", copy=False)
    return native


def _straight(take: Take, header: Header) -> Array:
    values = np.empty(prod(header.shape), header.dtype)
    _fill(take, values)
    shaped: Array = values.reshape(header.shape, order="F" if header.fortran_order else "C")
    return shaped


def _strided(take: Take, header: Header, samples: int) -> Array:
    """Return the first samples in Fortran order, where the sample is the axis that runs fastest."""
    count, lines = header.shape[0], prod(header.shape[1:])
    values = np.empty((lines, samples), header.dtype)
    at, step = 0, max(1, CHUNK // (count * header.dtype.itemsize))
    while at < lines:
        taken = min(step, lines - at)
        if taken > 1:
            block = np.empty((taken, count), header.dtype)
            _fill(take, block.reshape(-1))
            values[at : at + taken] = block[:, :samples]
        else:  # a line may be longer than is worth holding
            _fill(take, values[at])
            _skip(take, (count - samples) * header.dtype.itemsize)
        at += taken
    turned: Array = values.reshape((*header.shape[:0:-1], samples)).T
    return turned


def _fill(take: Take, values: Array) -> None:
    """Fill a flat array from a stream, a chunk at a time."""
    room = values.view(np.uint8).data
    while len(room):
        content = take(min(CHUNK, len(room)))
        if not content:
            raise FormatError(f"it ends {len(room):,} bytes before the values do")
        room[: len(content)] = content
        room = room[len(content) :]


def _skip(take: Take, count: int) -> None:
    while count:
        content = take(min(CHUNK, count))
        if not content:
            raise FormatError(f"it ends {count:,} bytes before the values do")
        count -= len(content)


def _exactly(take: Take, count: int, what: str) -> bytes:
    content = b""
    while len(content) < count:
        more = take(count - len(content))
        if not more:
            raise FormatError(f"it ends within {what}")
        content += more
    return content


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
