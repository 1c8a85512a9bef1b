"""What was installed: every module and data file, the extension, and an import that is free."""

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import pytest

import spikewright

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("trainer", "export", "sim", "hw_targets", "cli")
# Not part of the package: caches, C++ sources, what a build leaves in place.
LEFT_OUT = ("__pycache__", "native")


def shipped_files() -> list[str]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    names = [path.relative_to(ROOT) for path in found if path.suffix not in (".so", ".pyc")]
    inside = [name.as_posix() for name in names if not {*name.parts} & {*LEFT_OUT}]
    faces = ("api.py", "api_arguments.py", "integers.py", "option_rules.py", "sources.py")
    return sorted(["__init__.py", *faces, "py.typed", *inside])


def run_python(code: str) -> str:
    """Return what `code` prints in a new interpreter that finds spikewright as pytest does."""
    conftest = f"import runpy; runpy.run_path({str(ROOT / 'conftest.py')!r})\n"
    command = [sys.executable, "-W", "error", "-c", conftest + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT / "tests")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_version_is_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.+)"', project, re.M) == [spikewright.__version__]
    assert re.findall(r"^## (\S+)", changelog, re.M)[0] == spikewright.__version__
    try:
        assert version("spikewright") == spikewright.__version__
    except PackageNotFoundError:
        assert Path(spikewright.__file__ or "").parent == ROOT


def test_import_reads_no_room_and_no_library() -> None:
    new = run_python(
        "import sys\n"
        "heavy = ('torch', 'numpy', 'networkx', 'onnx', 'typer')\n"
        "import spikewright\n"
        "print([m for m in sys.modules if m.startswith('spikewright.') or m in heavy])"
    )
    assert new == "[]\n"


def test_public_names_are_listed_and_resolve() -> None:
    for name in spikewright.__all__:
        assert name in dir(spikewright)
        assert getattr(spikewright, name) is not None


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'loweer'"):
        _ = spikewright.loweer


def test_modules_and_data_are_installed_as_in_the_checkout() -> None:
    package = files("spikewright")
    wanted = {name: (ROOT / name).read_bytes() for name in shipped_files()}
    missing = [name for name in wanted if not (package / name).is_file()]
    assert missing == []
    assert [name for name in wanted if (package / name).read_bytes() != wanted[name]] == []


def test_sources_of_the_extension_are_not_installed() -> None:
    package = Path(spikewright.__file__ or "").parent
    if package == ROOT:
        pytest.skip("the checkout itself is imported")
    assert not [*package.rglob("*.cpp"), *package.rglob("*.h")]


@pytest.mark.skipif(
    "SPIKEWRIGHT_REQUIRE_NATIVE" not in os.environ, reason="the extension is optional"
)
def test_native_extension_is_installed() -> None:
    native = import_module("spikewright.sim._native")
    assert native.isa_available()[0] == "generic"
