"""Import Lava 0.10.0 on Python 3.11 and later, without editing a file of it.

Python 3.11 refuses a dataclass default that cannot be hashed; Lava's `var_model` has such defaults
(`ByteEncoder()`, a dataclass with equality and so without a hash). While that one module is
imported, its dataclasses keep the hash of `object`.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

_MODULE = "lava.magma.compiler.var_model"


def prepare_lava() -> None:
    """Import the module that needs it with hashable dataclasses; everything else imports as is."""
    plain = dataclasses.dataclass

    def hashable(cls: Any = None, **options: Any) -> Any:
        def made(one: type) -> Any:
            found: Any = plain(**options)(one)
            if found.__hash__ is None and found.__module__.startswith("lava."):
                found.__hash__ = object.__hash__
            return found

        return made if cls is None else made(cls)

    dataclasses.dataclass = hashable
    try:
        import_module(_MODULE)
    finally:
        dataclasses.dataclass = plain
