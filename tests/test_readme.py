"""The README's Python runs as printed, and the commands it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spikewright.cli.main import app

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_python_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert "uJ per inference" in capsys.readouterr().out
    assert scope["y"] is not None


def test_the_commands_exist() -> None:
    named = set(re.findall(r"^spikewright (\w+)", README, re.MULTILINE))
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert named <= {str(name) for name in known} and len(named) >= 9
