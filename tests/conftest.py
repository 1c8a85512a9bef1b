"""Property tests under the gate: the same examples on every machine, and no time limits."""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location

from hypothesis import HealthCheck, settings

if os.environ.get("SPIKEWRIGHT_TEST_NATIVE"):
    # Another build of the engine, e.g. with sanitizers, in the place of the installed one.
    _spec = spec_from_file_location(
        "spikewright.sim._native", os.environ["SPIKEWRIGHT_TEST_NATIVE"]
    )
    assert _spec is not None and _spec.loader is not None
    _module = module_from_spec(_spec)
    sys.modules["spikewright.sim._native"] = _module
    _spec.loader.exec_module(_module)

settings.register_profile(
    "gate",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gate")
