"""Names and texts of files, as they may be shown: nothing in them steers a terminal or a page."""

from __future__ import annotations

from html import escape


def visible(text: str, keep: str = "") -> str:
    """Return a text with what has no shape of its own written out: escapes, marks, NUL.

    Control characters steer terminals, right-to-left marks reorder what is read, surrogates cannot
    be encoded: each stands there as Python writes it (``\\x1b``, ``\\u202e``).

    Args:
        keep: control characters that stay, such as the line ends of a table.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def escaped(text: str, keep: str = "") -> str:
    """Return a text as HTML or SVG may hold it: visible (see there), its markup escaped."""
    return escape(visible(text, keep))
