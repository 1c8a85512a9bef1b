"""docs/from-your-framework.md: each snippet runs as it stands where its framework is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "from-your-framework.md"
SNIPPET = re.compile(r"^## (.+?)\n.*?```python\n(.*?)```", re.DOTALL | re.MULTILINE)
SNIPPETS = {found[1].strip(): found[2] for found in SNIPPET.finditer(PAGE.read_text("utf-8"))}
NEEDS = {
    "Plain torch": "torch",
    "snntorch": "snntorch",
    "norse": "norse",
    "spikingjelly": "spikingjelly",
    "sinabs": "sinabs",
}


def test_there_is_a_snippet_for_each() -> None:
    assert list(SNIPPETS) == list(NEEDS)


@pytest.mark.parametrize("framework", NEEDS)
def test_snippet(framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip(NEEDS[framework], reason=f"{NEEDS[framework]} is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(SNIPPETS[framework], f"{PAGE.name}, {framework}", "exec"), {"__name__": "snippet"})
