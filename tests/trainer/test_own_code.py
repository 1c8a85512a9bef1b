"""The user's own file: its neighbours, packages and names; nothing of it is left in the way."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from spikewright.export.ir import FormatError, InputError, UnknownNameError
from spikewright.trainer.own_code import call_own, factories_in


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_neighbours_are_imported_and_sys_path_is_left(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        own_net="from own_layers import width\nfrom own_parts.deep import depth\n"
        "def make():\n    import own_late\n    return width, depth, own_late.value\n",
        own_layers="width = 3\n",
        own_parts__deep="from own_layers import width\ndepth = width + 1\n",
        own_late="value = 5\n",
    )
    before, finders = list(sys.path), list(sys.meta_path)
    assert call_own(f"{folder}/own_net.py:make") == (3, 4, 5)
    assert sys.path == before and sys.meta_path == finders


def test_files_and_neighbours_of_one_name_do_not_collide(tmp_path: Path) -> None:
    text = "from own_layers import width\ndef make():\n    return width\n"
    one = written(tmp_path / "one", own_net=text, own_layers="width = 1\n")
    two = written(tmp_path / "two", own_net=text, own_layers="width = 2\n")
    for folder, width in ((one, 1), (two, 2), (one, 1)):
        assert call_own(f"{folder}/own_net.py:make") == width
    written(one, own_layers="width = 7  # edited\n")
    assert call_own(f"{one}/own_net.py:make") == 7


def test_a_file_of_a_package_imports_relatively_and_by_its_name(tmp_path: Path) -> None:
    written(
        tmp_path,
        own_pack____init__="",
        own_pack__layers="width = 4\n",
        own_pack__net="from .layers import width\nfrom own_pack import layers\n"
        "def make():\n    return width + layers.width\n",
    )
    (tmp_path / "own_pack" / "__init__.py").write_text("")
    assert call_own(f"{tmp_path}/own_pack/net.py:make") == 8


def test_dataclasses_and_pickle_find_the_module(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        own_data="from __future__ import annotations\nfrom dataclasses import dataclass, field\n"
        "@dataclass\nclass Options:\n    names: list[str] = field(default_factory=list)\n"
        "def make():\n    return Options()\n",
    )
    found = call_own(f"{folder}/own_data.py:make")
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 (its own bytes)


def test_a_neighbour_called_as_an_installed_package_is_not_left_in_its_place(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)  # of the standard library
    folder = written(
        tmp_path, own_one="import this\ndef make():\n    return this.width\n", this="width = 3\n"
    )
    assert call_own(f"{folder}/own_one.py:make") == 3
    assert "this" not in sys.modules


def test_a_file_called_as_an_installed_package_is_not_taken_for_it(tmp_path: Path) -> None:
    text = "import numpy\ndef make():\n    return numpy.zeros(2)\n"
    folder = written(tmp_path, numpy=text)
    assert call_own(f"{folder}/numpy.py:make").shape == (2,)
    assert str(folder) not in str(sys.modules["numpy"].__file__)


def test_a_folder_of_the_working_folder_is_found(tmp_path: Path, monkeypatch: Any) -> None:
    written(tmp_path, own_src__layers="width = 6\n")
    written(
        tmp_path, own_src__net="from own_src.layers import width\ndef make():\n    return width\n"
    )
    monkeypatch.chdir(tmp_path)
    assert call_own("own_src/net.py:make") == 6


def test_errors_name_the_file_and_the_line(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        own_bad="x = 1\nimport own_absent\n",
        own_raise="import own_deep\ndef make():\n    own_deep.work()\n",
        own_deep="def work():\n    raise ValueError('no')\n",
        own_fine="def make():\n    return 1\n",
    )
    with pytest.raises(InputError, match=r"own_bad.py: ModuleNotFoundError.*\(line 2\)"):
        raise_of(f"{folder}/own_bad.py:make")
    with pytest.raises(InputError, match=r"ValueError: no \(own_deep.py, line 2\)"):
        raise_of(f"{folder}/own_raise.py:make")
    with pytest.raises(UnknownNameError, match="did you mean make"):
        raise_of(f"{folder}/own_fine.py:maker")
    with pytest.raises(FormatError, match="no such file"):
        raise_of(f"{folder}/own_none.py:make")
    assert "own_bad" not in sys.modules and "own_deep" not in sys.modules


def raise_of(spec: str) -> None:
    """Call, with the whole message of an error as its first argument."""
    try:
        call_own(spec)
    except (InputError, UnknownNameError, FormatError) as error:
        error.args = (str(error),)
        raise


def test_what_a_file_could_make_is_read_without_running_it(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        own_many="raise SystemExit\n"
        "class Net:\n    def __init__(self, width=3): ...\n"
        "class Layer:\n    def __init__(self, width): ...\n"
        "class Bare: ...\n"
        "def make(width=3, *, deep=False): ...\n"
        "def made(width): ...\n"
        "def kept(*, width): ...\n"
        "def _hidden(): ...\n",
        own_broken="def net(:\n",
    )
    assert factories_in(folder / "own_many.py") == ["Net", "Bare", "make"]
    assert factories_in(folder / "own_broken.py") == factories_in(folder / "absent.py") == []


def test_code_for_torch_where_there_is_none_is_told_how_to_install_it(tmp_path: Path) -> None:
    text = "raise ModuleNotFoundError('No module named torch', name={!r})\n"
    folder = written(tmp_path, own_torch=text.format("torch"), own_other=text.format("other"))
    with pytest.raises(InputError, match=r"run: pip install torch .*/cpu"):
        call_own(f"{folder}/own_torch.py:make")
    with pytest.raises(InputError) as other:
        call_own(f"{folder}/own_other.py:make")
    assert other.value.remedy is None
