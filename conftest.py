"""Make `import spikewright` work on a bare checkout; an installed package wins."""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parent


def _load_checkout() -> None:
    spec = spec_from_file_location(
        "spikewright", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load spikewright from {ROOT}")
    package = module_from_spec(spec)
    sys.modules["spikewright"] = package
    spec.loader.exec_module(package)


# In a checkout whose folder is called spikewright, pytest has loaded it under that very name.
sys.modules.pop("spikewright", None)
_installed = find_spec("spikewright")
# An uninstalled editable can leave an empty folder behind: a spec without an origin.
if _installed is None or _installed.origin is None:
    _load_checkout()
else:
    import_module("spikewright")
