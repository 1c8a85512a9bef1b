"""The worker environment that the tests share: the user's own, else one built in build/."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from spikewright.export.ir import InputError, MissingPackageError
from spikewright.hw_targets.lava.environment import PREFIX_VARIABLE, Environment, find, install

ROOT = Path(__file__).resolve().parents[3]


@cache
def _environment() -> Environment | str:
    try:
        return find()
    except MissingPackageError:
        os.environ[PREFIX_VARIABLE] = str(ROOT / "build" / "lava")
    try:
        return find()
    except MissingPackageError:
        pass
    try:
        return install(force=True)
    except InputError as error:
        return str(error)


def environment() -> Environment:
    """Return the worker environment, building it once; skip, saying why, where that fails."""
    found = _environment()
    if isinstance(found, str):
        pytest.skip(f"the Lava worker cannot be installed here: {found}")
    return found
