"""The user's own Python file: run, with the modules beside it, and one of its functions called.

As under ``python FILE`` the file may import its neighbours; as under ``python -m PACKAGE.FILE`` a
file of a package may import relatively, and one in the working folder by the way to it. sys.path
stays as it is. Every call runs the file and its neighbours anew, so that two files of one name, or
with neighbours of one name, are never taken for each other.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import RLock
from traceback import extract_tb
from types import ModuleType
from typing import Any

from ..export.ir.errors import TORCH, InputError, UnknownNameError
from ..export.ir.missing import missing_file

_ONE_AT_A_TIME = RLock()
"""sys.modules and sys.meta_path are the process's: two threads would put each other's aside."""
_BROUGHT: dict[str, ModuleType] = {}
"""What earlier files left in sys.modules, where pickle and dataclasses look for it."""


def call_own(spec: str) -> Any:
    """Return what the function of ``file.py:function`` returns.

    Raises:
        InputError: for code that raises, with its line. FormatError: for a file that is missing.
        UnknownNameError: for a function that is not in it.
    """
    path, _, name = spec.rpartition(":")
    file = Path(path).resolve()
    if not file.is_file():
        raise missing_file(Path(path), "a .py file")
    with _ONE_AT_A_TIME, _neighbours(file) as taken:
        module = _executed(file, path, taken)
        factory = getattr(module, name, None)
        if not callable(factory):
            known = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
            raise UnknownNameError.of(f"function in {file.name}", name, known)
        return _called(factory, file, spec)


def factories_in(path: str | Path) -> list[str]:
    """Return the functions and classes of a file that can be called without arguments.

    The file is parsed, not run; one that cannot be parsed has none.
    """
    try:
        body = ast.parse(Path(path).read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    named = [n for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name[0] != "_"]
    return [node.name for node in named if _needed(node) <= 0]


def _needed(node: ast.stmt) -> int:
    """Return how many arguments a function needs, or the __init__ of a class beside self."""
    if isinstance(node, ast.ClassDef):
        makers = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        return _needed(makers[-1]) - 1 if makers else 0
    assert isinstance(node, ast.FunctionDef)
    taken = node.args
    by_name = sum(default is None for default in taken.kw_defaults)
    return len(taken.posonlyargs) + len(taken.args) - len(taken.defaults) + by_name


def _executed(file: Path, path: str, name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, file)
    assert found is not None and found.loader is not None
    module, loader = importlib.util.module_from_spec(found), found.loader
    sys.modules[name] = module
    _called(lambda: loader.exec_module(module), file, path)
    return module


def _called(work: Callable[[], Any], file: Path, where: str) -> Any:
    """Run the user's code; whatever it raises becomes one line that names the place."""
    try:
        return work()
    except Exception as error:  # the user's code may raise anything
        own = [f for f in extract_tb(error.__traceback__) if Path(f.filename).parent == file.parent]
        beside = "" if not own or Path(own[-1].filename) == file else Path(own[-1].filename).name
        place = f" ({beside}{beside and ', '}line {own[-1].lineno})" if own else ""
        without = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        remedy = f"run: {TORCH}" if without else None
        reason = f"{type(error).__name__}: {error}{place}"
        raise InputError(reason, node=where, remedy=remedy) from error


@contextmanager
def _neighbours(file: Path) -> Iterator[str]:
    """Within the context modules beside `file` can be imported; yield the name to run it under.

    What it brings into sys.modules stays there, unless it fails, or is called as what is installed;
    what other files of the user's brought is put aside meanwhile, and back under free names.
    """
    aside = {name: sys.modules.pop(name) for name, m in _BROUGHT.items() if _is(name, m)}
    before = dict(sys.modules)
    root, dotted = _package(file)
    name = _free(dotted, file)
    hidden = {dotted} if name != dotted else set()
    first = _Folders([file.parent, root], regular=True, hidden=hidden)
    last = _Folders([file.parent, root, Path.cwd()], regular=False)
    sys.meta_path.insert(0, first)
    sys.meta_path.append(last)
    importlib.invalidate_caches()
    try:
        yield name
    except BaseException:
        for brought in _new(before, {name, *first.names, *last.names}):
            del sys.modules[brought]
        raise
    finally:
        sys.meta_path.remove(first)
        sys.meta_path.remove(last)
        new = _new(before, {name, *first.names, *last.names})
        for brought in [n for n in new if n.split(".")[0] in _installed(first.names)]:
            del sys.modules[brought], new[brought]
        for old, module in aside.items():
            sys.modules.setdefault(old, module)
        _BROUGHT.update(new)


def _installed(names: Collection[str]) -> set[str]:
    """Return the names under which Python finds modules without us."""
    return {n for n in names if PathFinder.find_spec(n) is not None or n in sys.stdlib_module_names}


def _new(before: Mapping[str, ModuleType], names: Collection[str]) -> dict[str, ModuleType]:
    """Return what was not in sys.modules before: modules of these names, and parts of them."""
    tops = {name.split(".")[0] for name in names}
    every = dict(sys.modules).items()
    return {name: m for name, m in every if name not in before and name.split(".")[0] in tops}


def _is(name: str, module: ModuleType) -> bool:
    return sys.modules.get(name) is module


def _package(file: Path) -> tuple[Path, str]:
    """Return the folder that the file's outermost package lies in, and the file's dotted name."""
    folder, parts = file.parent, [file.stem]
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _free(dotted: str, file: Path) -> str:
    """Return the name, changed where another module has it, an installed one for example."""
    package, _, stem = dotted.rpartition(".")
    installed = None if package else importlib.util.find_spec(dotted)
    another = installed is not None and installed.origin != str(file)
    if dotted not in sys.modules and not another:
        return dotted
    return f"{package}._own_{stem}" if package else f"_own_{stem}"


class _Folders(MetaPathFinder):
    """Finds modules in a few folders, and notes which it found.

    Args:
        regular: only files and packages; a folder without ``__init__.py`` must not hide what is
            installed under its name. hidden: names that are not looked for.
    """

    def __init__(
        self, folders: Sequence[Path], *, regular: bool, hidden: Collection[str] = ()
    ) -> None:
        self.folders, self.regular = list(dict.fromkeys(map(str, folders))), regular
        self.hidden = hidden
        self.names: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module lies that is not part of a package."""
        if path is not None or fullname in self.hidden:
            return None
        found = PathFinder.find_spec(fullname, self.folders, target)
        if found is None or (self.regular and found.loader is None):
            return None
        self.names.add(fullname)
        return found
