"""Encoded pictures (PNG, JPEG, BMP, WebP) to arrays, through Pillow, judged before they unpack."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...export.ir.errors import FormatError, MissingPackageError, SpikewrightError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
"""Pillow would try forty others, some of which start programs."""
MOST_PIXELS = 1 << 24
"""4096 x 4096: larger ones are no input of a spiking network, and take gigabytes to decode."""
MOST_SCANS = 100
"""Of a progressive JPEG, which decodes all its pixels once a scan; cameras write about 10."""
_SCAN = b"\xff\xda"
Size: TypeAlias = "tuple[int, int]"
"""Rows and columns."""


def decode_rgb(data: bytes, where: str, size: Size | None = None) -> NDArray[np.float32]:
    """Return an encoded picture as [3, y, x] in 0..1.

    Raises:
        FormatError: as `decode_pixels`.
    """
    planes: NDArray[np.float32] = decode_pixels(data, where, size).astype(np.float32)
    planes /= np.float32(255)
    return planes


def decode_pixels(data: bytes, where: str, size: Size | None = None) -> NDArray[np.uint8]:
    """Return an encoded picture as [3, y, x], 0..255.

    Args:
        size: what it must have; another is refused before it is decoded.

    Raises:
        FormatError: if it is no picture of `FORMATS`, damaged, animated, of another size, or of
            more than `MOST_PIXELS`.
    """
    with _opened(data, where) as picture:
        found = picture.height, picture.width
        if size is not None and found != size:
            said = f"{found[0]} x {found[1]} pixels, all have {size[0]} x {size[1]}"
            raise FormatError(said, node=where, remedy="resize all to one size")
        pixels = np.asarray(picture.convert("RGB"), np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def picture_size(data: bytes, where: str) -> Size:
    """Return the rows and columns of an encoded picture, which is not decoded.

    Raises:
        FormatError: as `decode_pixels`.
    """
    with _opened(data, where) as picture:
        return picture.height, picture.width


@contextmanager
def _opened(data: bytes, where: str) -> Iterator[Image]:
    """Yield the picture, its header read and judged; what Pillow raises on it is one line."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingPackageError.of("pillow", "decode pictures", "pip install pillow") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata, which is not taken, and of sizes
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _judge(picture, data, where)
                yield picture
    except SpikewrightError:
        raise
    except Image.DecompressionBombError:
        raise _too_large("far more", where) from None
    except Exception as error:  # the decoders' errors share no base of their own
        said = " ".join(str(error).split())[:120] or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            said = f"none of {', '.join(FORMATS)}"
        raise FormatError(f"not a readable picture: {said}", node=where) from None


def _judge(picture: Image, data: bytes, where: str) -> None:
    if (pixels := picture.width * picture.height) > MOST_PIXELS:
        raise _too_large(f"{picture.width} x {picture.height} = {pixels:,}", where)
    # A camera's JPEG may hold previews (MPO) behind the picture itself, which is taken.
    frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    if frames > 1:
        said = f"animated, {frames} frames"
        raise FormatError(said, node=where, remedy="save one frame as a picture")
    if picture.format in ("JPEG", "MPO") and (scans := data.count(_SCAN)) > MOST_SCANS:
        raise FormatError(f"a JPEG of {scans} scans, at most {MOST_SCANS} are read", node=where)


def _too_large(found: str, where: str) -> FormatError:
    said = f"a picture of {found} pixels, at most {MOST_PIXELS:,} are decoded"
    return FormatError(said, node=where, remedy="resize it")
