"""Where a user's caches are, by the platform's convention."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..ir.errors import InputError


def cache_folder() -> Path:
    """Return the user's cache folder for spikewright, which need not exist.

    `$XDG_CACHE_HOME/spikewright` (`~/.cache/spikewright`), `~/Library/Caches/spikewright` or
    `%LOCALAPPDATA%/spikewright/Cache`.

    Raises:
        InputError: where there is no home: HOME is not set and the system knows no such user.
    """
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "spikewright"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local"
        return Path(local) / "spikewright" / "Cache"
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification: a relative path there is to be ignored.
    return (chosen if chosen.is_absolute() else _home() / ".cache") / "spikewright"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise InputError(
            "is not set, and this user has no home", node="HOME", remedy="set it to a folder"
        ) from None
