"""Encoded pictures (PNG, JPEG) to float arrays, through Pillow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...export.ir.errors import FormatError, MissingPackageError

if TYPE_CHECKING:
    from PIL.Image import Image


def decode_rgb(data: bytes, where: str) -> NDArray[np.float32]:
    """Return an encoded picture as [3, y, x] in 0..1.

    Raises:
        FormatError: if Pillow cannot decode it.
    """
    planes: NDArray[np.float32] = decode_pixels(data, where).astype(np.float32)
    planes /= np.float32(255)
    return planes


def decode_pixels(data: bytes, where: str) -> NDArray[np.uint8]:
    """Return an encoded picture as [3, y, x], 0..255.

    Raises:
        FormatError: if Pillow cannot decode it.
    """
    pixels = np.asarray(open_picture(data, where).convert("RGB"), np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def open_picture(data: bytes, where: str) -> Image:
    """Return the decoded picture; `where` names it in the error."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingPackageError.of("pillow", "decode pictures", "pip install pillow") from None
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"not a readable picture: {error}", node=where) from None
    return picture
