"""docs/trust.md: every limit that the page states is the code's."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "trust.md"
ROW = re.compile(r"^\|[^|]+\| ([\d,.]+) \| `(\w+)` of (\S+)\.py \|$", re.MULTILINE)
LIMITS = ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_the_page_has_its_table() -> None:
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(LIMITS) == len(table) - 2 > 10


@pytest.mark.parametrize(("stated", "name", "module"), LIMITS, ids=lambda value: str(value))
def test_a_limit_is_the_codes(stated: str, name: str, module: str) -> None:
    if module.startswith("trainer/"):
        pytest.importorskip("torch")
    found = import_module("spikewright." + module.replace("/", "."))
    assert float(stated.replace(",", "")) == getattr(found, name)
