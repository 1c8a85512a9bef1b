"""Target files: every number has a source, and a wrong file is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikewright.export.ir import TargetError, UnknownNameError
from spikewright.hw_targets.target import EVIDENCE, UNITS, load_target, shipped, targets

GOOD = """
name: mine
title: A chip of my own
profile: loihi2
limits:
  cores: {value: 4, unit: count, source: my notes, evidence: measured}
supports:
  resets: [hard]
costs:
  bench:
    model: operations
    constants:
      mac_pj: {value: 2.0, unit: pJ, source: my bench, evidence: measured}
      ac_pj: {value: 0.5, unit: pJ, source: my bench, evidence: measured}
    not_modelled: [everything else]
"""


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_number_has_its_source(name: str) -> None:
    target = load_target(name)
    assert target.name == name and target.title
    numbers = [*target.limits.values()]
    for table in target.costs.values():
        numbers += table.constants.values()
        assert table.not_modelled
    for constant in numbers:
        assert constant.value > 0 and constant.source, constant
        assert constant.evidence in EVIDENCE and constant.unit in UNITS
        assert constant.name.endswith(("_pj", "_ns", "_mw")) or constant.unit in (
            "count",
            "bits",
            "words",
            "bytes",
        )


def test_the_list_holds_the_chips_with_and_without_energy() -> None:
    found = {target.name: target for target in targets()}
    assert found["loihi1"].cost() is not None and found["loihi2"].cost() is None
    assert set(found["generic-45nm"].costs) == {"int32", "fp32", "int8"}
    with pytest.raises(UnknownNameError, match="davies"):
        found["loihi1"].cost("davis")


def test_a_users_own_chip(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    target = load_target(str(path))
    assert (target.name, target.profile, target.limit("cores")) == ("mine", "loihi2", 4)
    table = target.cost()
    assert table is not None and table.value("ac_pj") == 0.5 and table.value("none") == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("source: my notes, ", ""), "limits.cores has no source; add source:"),
        (("unit: count", "unit: furlong"), "limits.cores.unit is 'furlong'"),
        (("value: 4", "value: -4"), "limits.cores.value is -4, it must be above 0"),
        (("value: 4", "value: four"), "limits.cores.value is 'four', a number is needed"),
        (("evidence: measured}\nsupports", "evidence: guess}\nsupports"), "evidence is 'guess'"),
        (("profile: loihi2", "profile: loihi7"), "profile is 'loihi7'"),
        (("model: operations", "model: magic"), "costs.bench.model is 'magic'"),
        (("title:", "titel:"), "unknown key titel"),
        (("  resets: [hard]", "  resets: hard"), "supports.resets is not a list"),
        (("name: mine", "name: [mine"), "not readable YAML"),
        (("name: mine", "name: !!python/object/apply:os.system ['true']"), "not readable YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(TargetError) as caught:
        load_target(str(path))
    assert says in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean loihi"):
        load_target("lohi1")
    with pytest.raises(TargetError, match="no such file"):
        load_target(str(tmp_path / "absent.yaml"))
