"""spikewright: bring a trained spiking network to neuromorphic hardware, and prove it arrived.

Public names are imported on first use, so that `import spikewright` costs nothing and needs
neither torch nor a compiler.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> (module, attribute); no attribute means the module itself
_PUBLIC: dict[str, tuple[str, str | None]] = {
    **{
        verb: (".api", verb)
        for verb in (
            "lower",
            "lowering",
            "read",
            "write",
            "run",
            "verify",
            "check",
            "estimate",
            "compare",
            "report",
        )
    },
    "agreement": (".api", "agreement"),
    "Session": (".api", "Session"),
    "targets": (".api", "targets"),
    "Graph": (".export.ir.graph", "Graph"),
    "SpikewrightError": (".export.ir.errors", "SpikewrightError"),
    "Trace": (".sim.trace", "Trace"),
    "MixedLIF": (".trainer.neurons", "MixedLIF"),
    "losses": (".trainer.losses", None),
    "models": (".trainer.models", None),
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, attribute = _PUBLIC[name]
    try:
        module = import_module(module_name, __name__)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from .export.ir.errors import WITH_TORCH, MissingPackageError

        raise MissingPackageError.of("torch", f"use spikewright.{name}", WITH_TORCH) from None
    value: Any = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
