"""The worker environment: where it is, what is refused, and nothing left behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from spikewright.export.ir import InputError, MissingPackageError
from spikewright.export.ir.errors import SpikewrightWarning
from spikewright.hw_targets.lava import environment as env

from .worker import environment


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert env.cache_folder() == Path("/some/cache/spikewright")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert env.cache_folder() == Path.home() / ".cache" / "spikewright"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert env.cache_folder() == Path.home() / "Library" / "Caches" / "spikewright"


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv(env.PREFIX_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(InputError, match="HOME: is not set"):
        env.find()
    with pytest.warns(SpikewrightWarning, match=f"set {env.PREFIX_VARIABLE}=/a/b"):
        env._remember(Path("/a/b"))
    monkeypatch.setenv(env.PREFIX_VARIABLE, str(tmp_path))
    assert env.default_prefix() == tmp_path


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_the_variable_wins_over_the_last_prefix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(env.PREFIX_VARIABLE, raising=False)
    assert env.default_prefix() == env.cache_folder() / "lava"
    env.cache_folder().mkdir(parents=True)
    (env.cache_folder() / "lava-prefix").write_text(f"{tmp_path / 'chosen'}\n")
    assert env.default_prefix() == env.cache_folder() / "lava"  # what was chosen is gone
    (tmp_path / "chosen").mkdir()
    assert env.default_prefix() == tmp_path / "chosen"
    monkeypatch.setenv(env.PREFIX_VARIABLE, str(tmp_path / "forced"))
    assert env.default_prefix() == tmp_path / "forced"


def test_what_is_missing_or_old_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(env.PREFIX_VARIABLE, str(tmp_path / "lava"))
    with pytest.raises(MissingPackageError, match=r"run: spikewright lava install$"):
        env.find()
    (tmp_path / "lava").mkdir()
    (tmp_path / "lava" / env.MARKER).write_text(json.dumps({"lock": "of another list"}))
    with pytest.raises(MissingPackageError, match="run: spikewright lava install --force"):
        env.find()
    (tmp_path / "lava" / env.MARKER).write_text("[]")
    with pytest.raises(MissingPackageError, match=r"run: spikewright lava install$"):
        env.find()


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="no worker environment; choose another folder"):
        env.install(tmp_path, force=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / env.MARKER).write_text("{}")
    with pytest.raises(InputError, match="exists already; use force=True"):
        env.install(ours)


def test_without_an_index_it_says_so_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not env.PYTHONS[0] <= sys.version_info[:2] <= env.PYTHONS[1]:
        pytest.skip("this Python is not one that Lava's packages exist for")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(InputError, match=r"cannot install the pinned list: .*check the network"):
        env.install(tmp_path / "lava")
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == []


def test_what_force_repairs_and_what_a_kill_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A broken environment without its marker; the half folders of processes that are gone."""
    broken = tmp_path / "lava"
    (broken / "lib" / "python3.11" / "site-packages" / "lava").mkdir(parents=True)
    (broken / "pyvenv.cfg").touch()
    gone, runs = tmp_path / "lava.part-99999999", tmp_path / f"lava.part-{os.getppid()}"
    for folder in (gone, runs):
        folder.mkdir()

    def built(python: str, folder: Path, say: object) -> None:
        assert not gone.exists()
        (folder / "new").touch()

    marker = env.Environment(broken, {"python": "3.11"})
    monkeypatch.setattr(env, "_build", built)
    monkeypatch.setattr(env, "_checked", lambda *_: marker)
    monkeypatch.setattr(env, "fitting_python", lambda _: sys.executable)
    with pytest.raises(InputError, match="exists already; use force=True"):
        env.install(broken)
    env.install(broken, force=True)
    assert [p.name for p in broken.iterdir()] == ["new"]
    assert {p.name for p in tmp_path.iterdir() if p.name != "cache"} == {"lava", runs.name}


def test_a_prefix_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: cannot make a folder there \(Not a dir.*--prefix"):
        env.install(tmp_path / "file" / "lava", python=sys.executable)


def program(folder: Path, name: str, answer: str) -> str:
    """A program of this name that prints one line, as an interpreter asked for its version does."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return str(path)


def test_another_python_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On 3.13: past a shim that stands for nothing, to one that runs; else it is said."""
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "python3.12", "exit 127")
    found = program(tmp_path, "python3.11", "echo 3 11")
    assert env.fitting_python() == found
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match=r"Python 3\.13, .*install python3\.12 .*--python PATH"):
        env.fitting_python()


def test_a_python_that_is_asked_for_is_asked(tmp_path: Path) -> None:
    assert env.fitting_python(program(tmp_path, "p", "echo 3 10")) == str(tmp_path / "p")
    with pytest.raises(InputError, match=r"p: is Python 3\.9, .* 3\.10 to 3\.12"):
        env.fitting_python(program(tmp_path, "p", "echo 3 9"))
    for nothing in (program(tmp_path, "p", "echo hello"), str(tmp_path / "absent")):
        with pytest.raises(InputError, match="is no Python that runs"):
            env.fitting_python(nothing)


def test_the_list_pins_and_hashes_everything() -> None:
    text = env.LOCK.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) == 7
    assert all("==" in line and "--hash=sha256:" in line for line in lines)


@pytest.fixture(name="built", scope="module")
def _built() -> env.Environment:
    return environment()


def test_what_was_built_is_what_was_pinned(built: env.Environment) -> None:
    pinned = dict(
        line.split()[0].split("==") for line in env.LOCK.read_text().splitlines() if "==" in line
    )
    assert built.marker["versions"] == pinned
    assert built.whole
