"""An npz file read without trust: a member at a time, no more of it than is wanted.

An npz is a zip of .npy members, stored or deflated. A compressed member can only be read from its
beginning, so it is streamed: memory is taken for what is kept, never for what is passed by.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from ..ir import Array, FormatError
from .files import open_regular, refuse_bomb
from .npy import Header, Take, read_header, read_values

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    LookupError,
)
"""What zipfile raises on damaged or foreign zips."""


class Npz:
    """An npz file, open to be read.

    Attributes:
        names: of its arrays, without ``.npy``, in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its directory.

        Raises:
            FormatError: for a file that is missing, no zip, or holds a name twice.
        """
        self._path, self._file = path, open_regular(path)
        self._size = os.fstat(self._file.fileno()).st_size
        self._taken = self._stored = 0
        try:
            self._zip = zipfile.ZipFile(self._file)
        except _DAMAGE as error:
            self._file.close()
            remedy = "write it again with np.savez"
            raise FormatError(
                f"not a readable npz (no zip, or a truncated one: {_line(error)})",
                node=str(path),
                remedy=remedy,
            ) from None
        self._members = {i.filename.removesuffix(".npy"): i for i in self._zip.infolist()}
        self.names = tuple(self._members)
        counted = Counter(i.filename.removesuffix(".npy") for i in self._zip.infolist())
        if (most := counted.most_common(1)) and most[0][1] > 1:
            self.close()
            raise self._refused(f"array {most[0][0]!r} is there {most[0][1]} times")

    def __enter__(self) -> Npz:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def header(self, name: str) -> Header:
        """Return what an array declares, judged against the bytes that the member holds.

        Raises:
            FormatError: for a member that is no plain array, or cannot be read.
        """
        with self._member(name) as take:
            return self._judged(name, read_header(take))

    def read(self, name: str, samples: int | None = None) -> Array:
        """Return an array, or its first so many samples along axis 0.

        Raises:
            FormatError: as `header`; for damaged values, or more than the memory is worth.
        """
        info = self._members[name]
        with self._member(name) as take:
            header = self._judged(name, read_header(take))
            part = header.first(samples)
            self._judge_size(name, part.size, info.compress_size)
            values = read_values(take, header, samples)
            if part == header:
                take(1)  # zipfile compares the checksum when it sees the end
            return values

    def _judge_size(self, name: str, size: int, stored: int) -> None:
        """Judge an array together with those that were read before it."""
        self._taken += size
        self._stored = min(self._stored + stored, self._size)  # the directory may say anything
        remedy = "give --limit N; if it is meant, save it with np.savez, uncompressed"
        refuse_bomb(self._taken, self._stored, f"arrays up to {name!r}", str(self._path), remedy)

    def _judged(self, name: str, header: Header) -> Header:
        there = self._members[name].file_size - header.length
        if header.size != there:
            shape = f"{header.dtype} {list(header.shape)}"
            said = f"array {name!r} is {shape}, {header.size:,} bytes, and the file has {there:,}"
            raise self._refused(said)
        return header

    @contextmanager
    def _member(self, name: str) -> Iterator[Take]:
        info = self._members[name]
        if info.flag_bits & _ENCRYPTED:
            raise self._refused(f"array {name!r} is encrypted")
        if info.compress_type not in _METHODS:
            raise self._refused(
                f"array {name!r} is compressed by method {info.compress_type}, "
                f"{zipfile.ZIP_STORED} (stored) and {zipfile.ZIP_DEFLATED} (deflate) are read"
            )
        try:
            with self._zip.open(info) as stream:
                yield stream.read
        except FormatError as error:
            if error.node:
                raise
            raise self._refused(f"array {name!r}: {error.reason}") from None
        except MemoryError:
            raise FormatError(
                f"array {name!r} does not fit into the memory left",
                node=str(self._path),
                remedy="give --limit N",
            ) from None
        except _DAMAGE as error:
            raise self._refused(f"array {name!r} is damaged ({_line(error)})") from None

    def _refused(self, said: str) -> FormatError:
        remedy = "write it again with np.savez"
        return FormatError(f"not a readable npz: {said}", node=str(self._path), remedy=remedy)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
