"""A chip file of the user's with a fault: one line that names the key, the value and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_bad_input import refused

GOOD = {"value": "4", "unit": "count", "source": "A paper", "evidence": "vendor"}
FAULTS = {
    "missing source": ({"source": ""}, "limits.cores has no source; add source:"),
    "wrong unit": ({"unit": "pJ"}, "limits.cores.unit is 'pJ'; cores is in count"),
    "negative limit": ({"value": "-4"}, "limits.cores.value is -4, it must be above 0"),
    "no number": ({"value": "many"}, "limits.cores.value is 'many', a number is needed"),
    "unknown evidence": ({"evidence": "hearsay"}, "limits.cores.evidence is 'hearsay'; choose"),
}


def chip(path: Path, changes: dict[str, str]) -> Path:
    lines = [f"    {key}: {value}" for key, value in {**GOOD, **changes}.items()]
    path.write_text("\n".join(["name: mine", "limits:", "  cores:", *lines, ""]))
    return path


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, fault: str
) -> None:
    changes, says = FAULTS[fault]
    path = chip(tmp_path / "mine.yaml", changes)
    line = refused(capsys, "check", "digits", "--target", str(path))
    assert says in line and line.startswith(f"error: {path}: ")


def test_costs_are_read_as_strictly(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    constant = "{value: 20, unit: nJ, source: Our bench, evidence: measured}"
    lines = ["costs:", "  bench:", "    model: events", "    constants:"]
    path.write_text("\n".join([*lines, f"      synop_pj: {constant}", ""]))
    line = refused(capsys, "estimate", "digits", "--target", str(path))
    assert "costs.bench.constants.synop_pj.unit is 'nJ'; synop_pj is in pJ" in line
