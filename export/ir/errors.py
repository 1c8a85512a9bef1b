"""The error family: every refusal names where, why and what to do about it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches

from ..spelling import spelled as spelled
from .visible import visible

TORCH = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
"""Installs the CPU build: the default wheel of Linux brings gigabytes of CUDA libraries."""
WITH_TORCH = f"{TORCH} && pip install 'spikewright[train]'"
"""Installs torch and the rest of what training needs, in the order that keeps the CPU build."""


class SpikewrightError(Exception):
    """A request that cannot be met, as one line: ``node: reason; remedy``.

    Attributes:
        reason: the limit and the value that broke it.
        node: the node, file or option at fault, or None.
        remedy: what the user can change, or None.
    """

    def __init__(self, reason: str, *, node: str | None = None, remedy: str | None = None) -> None:
        self.reason = spelled(reason)
        self.node = None if node is None else spelled(node)
        self.remedy = None if remedy is None else spelled(remedy)
        super().__init__(self.reason)

    def __str__(self) -> str:
        where = f"{self.node}: " if self.node else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return visible(" ".join(f"{where}{self.reason}{remedy}".split()))


class GraphError(SpikewrightError):
    """A graph that breaks a rule of its level (`export.ir.check`)."""


class LoweringError(SpikewrightError):
    """A network that a pass (trace, fold, quantise) cannot express."""


class BoundsError(LoweringError):
    """A worst case that leaves the integer range, foreseen before anything runs."""


class FormatError(SpikewrightError):
    """A file that is missing, damaged, of another kind, or that cannot express the graph."""


class SpikewrightWarning(UserWarning):
    """What was done, and may not be what was meant; the command line prints it."""


class AgreementWarning(SpikewrightWarning):
    """A module whose own run differs from ours: in how many spikes."""


class FormatWarning(SpikewrightWarning):
    """A file that was repaired while it was read: the node, and what was assumed."""


class DoubtWarning(SpikewrightWarning):
    """Samples, labels or weights that may well be a mistake, though every value is allowed."""


def warn(message: str, category: type[SpikewrightWarning] = SpikewrightWarning) -> None:
    """Warn at the line of the user's that called into this package, however deep we are in it."""
    package, level, frame = __name__.partition(".")[0], 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(visible(spelled(message)), category, stacklevel=level)


class InputError(SpikewrightError):
    """Data or an option of the wrong shape, dtype, range or combination."""


class UnknownNameError(SpikewrightError):
    """A name that is not in its table; the nearest ones are named."""

    @classmethod
    def of(cls, what: str, name: object, known: Iterable[str]) -> UnknownNameError:
        """Return the error for `name`, not among the `known` names of a kind `what`."""
        name, names = str(name), sorted(known)  # what a file gives as a name may be a number
        cased = {known.lower(): known for known in names}
        near = [cased[n] for n in get_close_matches(name.lower(), cased, n=3, cutoff=0.5)]
        remedy = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
        return cls(f"no {what} of this name", node=name, remedy=remedy)


class MissingPackageError(SpikewrightError):
    """An optional package that is needed here and not installed."""

    @classmethod
    def of(cls, package: str, purpose: str, install: str) -> MissingPackageError:
        """Return the error that says what `package` is for and how to install it."""
        return cls(f"needed to {purpose}, not installed", node=package, remedy=f"run: {install}")


class TargetError(SpikewrightError):
    """A target (chip) file or request that is wrong."""


class ExecutorError(SpikewrightError):
    """A graph that an executor cannot run as it is."""
