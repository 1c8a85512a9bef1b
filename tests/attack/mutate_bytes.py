"""Mutations of bytes: what a damaged disk, a cut transfer or a blind hand makes of any file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
EDGES = (0, 1, 0x7F, 0x80, 0xFF)
"""Values of a byte at which lengths and signs turn."""
LONGEST_RUN = 64


def mutated_bytes(content: bytes, others: list[bytes], rng: Rng) -> bytes:
    """Return a file with one to four mutations; `others` are files to splice with."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        if rng.random() < 0.1:
            content = _spliced(content, others[int(rng.integers(len(others)))], rng)
        else:
            content = WAYS[int(rng.integers(len(WAYS)))](content, rng)
    return content


def _at(content: bytes, rng: Rng) -> int:
    """Return a place in a file: every second one in its first 512 bytes, where headers stand."""
    most = len(content) if rng.random() < 0.5 else min(512, len(content))
    return int(rng.integers(max(1, most)))


def _run(content: bytes, rng: Rng) -> tuple[int, int]:
    start = _at(content, rng)
    return start, start + int(rng.integers(1, LONGEST_RUN))


def _flip(content: bytes, rng: Rng) -> bytes:
    at = _at(content, rng)
    byte = content[at : at + 1]
    flipped = bytes([byte[0] ^ (1 << int(rng.integers(8)))]) if byte else b""
    return content[:at] + flipped + content[at + 1 :]


def _edge(content: bytes, rng: Rng) -> bytes:
    at = _at(content, rng)
    return content[:at] + bytes([int(rng.choice(EDGES))]) + content[at + 1 :]


def _length(content: bytes, rng: Rng) -> bytes:
    """Overwrite 2, 4 or 8 bytes by one number, as a length or an offset."""
    at, width = _at(content, rng), int(rng.choice([2, 4, 8]))
    number = int(rng.choice([0, 1, 255, 65535, 1 << 24])) if rng.random() < 0.5 else -1
    order = "little" if rng.random() < 0.7 else "big"
    value = (number % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    return content[:at] + value + content[at + width :]


def _delete(content: bytes, rng: Rng) -> bytes:
    start, end = _run(content, rng)
    return content[:start] + content[end:]


def _insert(content: bytes, rng: Rng) -> bytes:
    start, end = _run(content, rng)
    run = rng.bytes(end - start) if rng.random() < 0.7 else bytes(end - start)
    return content[:start] + run + content[start:]


def _double(content: bytes, rng: Rng) -> bytes:
    start, end = _run(content, rng)
    return content[:end] + content[start:end] + content[end:]


def _clear(content: bytes, rng: Rng) -> bytes:
    start, end = _run(content, rng)
    held = content[start:end]
    return content[:start] + bytes([int(rng.choice([0, 255]))]) * len(held) + content[end:]


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: _at(content, rng)]


def _swap(content: bytes, rng: Rng) -> bytes:
    start, end = _run(content, rng)
    other = int(rng.integers(len(content) + 1))
    low, high = sorted((start, other))
    size = min(end - start, high - low)
    first, second = content[low : low + size], content[high : high + size]
    between = content[low + size : high]
    return content[:low] + second + between + first + content[high + size :]


def _spliced(content: bytes, other: bytes, rng: Rng) -> bytes:
    share = rng.random()
    return content[: int(share * len(content))] + other[int(share * len(other)) :]


WAYS: tuple[Callable[[bytes, Rng], bytes], ...] = (
    _flip,
    _edge,
    _length,
    _delete,
    _insert,
    _double,
    _clear,
    _cut,
    _swap,
)
