"""The arrows between the rooms, read from the checkout's source: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# importer -> the modules it may import from; a longer name allows only that part of a room
ALLOWED: dict[str, tuple[str, ...]] = {
    "export": (),
    "trainer": ("export.ir", "export.formats"),
    "sim": ("export.ir", "export.formats"),
    "hw_targets": ("export.ir", "export.formats", "sim"),
    "sources": ("trainer", "export", "sim", "option_rules"),
    "option_rules": ("export.ir",),
    "api_arguments": ("export", "sim", "hw_targets"),
    "integers": ("export", "sim", "hw_targets"),
    "api": (
        "trainer",
        "export",
        "sim",
        "hw_targets",
        "sources",
        "api_arguments",
        "integers",
        "option_rules",
    ),
    "cli": ("trainer", "export", "sim", "hw_targets", "sources", "integers", "api", "option_rules"),
}
ROOMS = ("trainer", "export", "sim", "hw_targets", "cli")
FACES = ("api.py", "api_arguments.py", "integers.py", "option_rules.py", "sources.py")
TORCH = ("torch", "torchvision", "lightning_fabric", "kornia")
WITHOUT_TORCH = ("export.ir", "sim", "hw_targets")


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield what a module of `package` imports at any depth: our modules with a leading dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".") if package else []
            above = parents[: len(parents) - node.level + 1]
            module = node.module or ""
            start = ".".join(["", *above, *filter(None, [module])]) if node.level else module
            yield from (f"{start}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))


def violations(source: str, path: str) -> list[str]:
    """Return the imports in `source` that the module at `path` (from the root) may not make."""
    parts = path.removesuffix(".py").split("/")
    importer = ".".join(parts).removesuffix(".__init__")
    room, package = parts[0], ".".join(parts[:-1])
    found: list[str] = []
    for name in imported(ast.parse(source), package):
        if name.startswith("."):
            target = name[1:]
            inside = within(target, room) or target == "__version__"
            if not inside and not any(within(target, part) for part in ALLOWED[room]):
                found.append(f"{importer} -> {target}")
        elif name.split(".")[0] in ("spikewright", "api", *ROOMS):
            found.append(f"{importer} -> {name} (absolute; import it relatively)")
        elif name.split(".")[0] in TORCH and any(within(importer, p) for p in WITHOUT_TORCH):
            found.append(f"{importer} -> {name} (has to run without torch)")
    return found


def sources() -> list[str]:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in [*files, *(ROOT / f for f in FACES)]]


def test_every_room_is_read() -> None:
    assert {path.split("/")[0] for path in sources()} == {*ROOMS, *FACES}


@pytest.mark.parametrize("path", sources())
def test_arrows(path: str) -> None:
    assert violations((ROOT / path).read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("export/formats/nir.py", "from ...sim.trace import Trace"),
        ("export/formats/nir.py", "from ... import sim"),
        ("export/ir/graph.py", "def f():\n    import torch.nn as nn"),
        ("export/ir/graph.py", "import importlib\nimportlib.import_module('torch')"),
        ("sim/__init__.py", "from ..hw_targets import target"),
        ("sim/native.py", "from ..export.trace import trace"),
        ("sim/native.py", "from torch import Tensor"),
        ("sim/native.py", "from .. import api"),
        ("trainer/loop.py", "from ..sim import verify"),
        ("trainer/loop.py", "import spikewright.export.ir"),
        ("trainer/models/resnet.py", "from export.ir import Graph"),
        ("hw_targets/fit.py", "from ..trainer.models import create"),
        ("api.py", "from .cli import main"),
    ],
)
def test_a_forbidden_import_is_seen(path: str, source: str) -> None:
    assert len(violations(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("export/formats/nir.py", "from ..ir import Graph\nimport nir"),
        ("export/trace.py", "def f():\n    import torch"),
        ("trainer/models/resnet.py", "from ...export.ir.nodes import Neuron\nimport torch"),
        (
            "hw_targets/report/html.py",
            "from ...sim import trace\nfrom ... import __version__",
        ),
        ("cli/main.py", "from .. import api, __version__\nfrom ..hw_targets import target"),
        ("api.py", "from .sim.trace import Trace\nfrom .trainer import models"),
    ],
)
def test_an_allowed_import_passes(path: str, source: str) -> None:
    assert violations(source, path) == []
