"""Target files: every number has a source, and a wrong file is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikewright.export.ir import TargetError, UnknownNameError
from spikewright.hw_targets.map_pipeline import kernel_words
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


def test_the_list_holds_the_chips_with_and_without_energy() -> None:
    found = {target.name: target for target in targets()}
    assert found["loihi1"].cost() is not None and found["loihi2"].cost() is None
    assert set(found["generic-45nm"].costs) == {"int32", "fp32", "int8", "int8-memory"}
    assert set(found["loihi1"].costs) == {"davies", "sanafe"}
    assert {name for name, target in found.items() if target.costs} == {
        "loihi1",
        "truenorth",
        "odin",
        "generic-45nm",
    }
    fit_only = {"loihi2", "speck2f", "xylo-a2", "xylo-a3", "xylo-imu", "akd1000"}
    assert fit_only | {"spinnaker1", "spinnaker2"} <= set(found)
    assert "coefficients not sourced" in found["loihi2"].latency_bound
    with pytest.raises(UnknownNameError, match="davies"):
        found["loihi1"].cost("davis")


def test_derived_constants_follow_from_their_sources() -> None:
    """TrueNorth: the line through two points of Fig. 17. ODIN: 12.7 pJ at 75 MHz, 37.5 MSOP/s."""
    truenorth = load_target("truenorth").cost()
    assert truenorth is not None
    low, high = (2**20 * 128 * rate for rate in (11.58, 95.93))
    slope_pj = (94 - 68) * 1e-3 / (high - low) * 1e12
    assert truenorth.value("synop_pj") == pytest.approx(slope_pj, rel=1e-3)
    assert truenorth.value("static_mw") == pytest.approx(68 - slope_pj * low * 1e-9, rel=1e-3)
    odin = load_target("odin").cost()
    assert odin is not None
    idle_uw = odin.value("static_mw") * 1e3 + odin.value("clock_uw_per_mhz") * 75
    assert odin.value("synop_pj") + idle_uw / 37.5 == pytest.approx(12.7, abs=0.05)


def test_speck_packs_words_as_its_documentation_does() -> None:
    """16 -> 32 channels, 3x3, on 64x64: 8 Ki words of kernel, 128 Ki of neurons."""
    speck = load_target("speck2f")
    assert kernel_words(16, 32, 9) == 8 * 1024
    assert speck.limits["kernel_words"].value == 272 * 1024
    assert speck.limits["neuron_words"].value == 327_680  # the vendor's 0.32 M neurons
    assert max(speck.limits["neuron_words"].per_core) < 32 * 64 * 64


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
        (("unit: pJ", "unit: nJ"), "costs.bench.constants.mac_pj.unit is 'nJ'; mac_pj is in pJ"),
        (("cores: {", "core: {"), "unknown key limits.core; did you mean cores"),
        (("mac_pj:", "macs_pj:"), "unknown key costs.bench.constants.macs_pj; did you mean mac_pj"),
        (("value: 4,", "value: 4, per_core: [1, 2],"), "per_core sums to 3; give the sum"),
        (("resets: [hard]", "resets: [firm]"), "supports.resets is 'firm'"),
        (("profile: loihi2", "profile: loihi2\nmapping: magic"), "mapping is 'magic'"),
        (("value: 4", "value: -4"), "limits.cores.value is -4, it must be above 0"),
        (("value: 4", "value: four"), "limits.cores.value is 'four', a number is needed"),
        (("evidence: measured}\nsupports", "evidence: guess}\nsupports"), "evidence is 'guess'"),
        (("profile: loihi2", "profile: loihi7"), "profile is 'loihi7'"),
        (("model: operations", "model: magic"), "costs.bench.model is 'magic'"),
        (("title:", "titel:"), "unknown key titel"),
        (("  resets: [hard]", "  resets: hard"), "supports.resets is not a list"),
        (("name: mine", "name: [mine"), "not readable YAML"),
        (("name: mine", "name: [mine]"), "name is ['mine'], a text is needed"),
        (("name: mine", "name: mine\nname: yours"), "the key 'name' is given twice"),
        (("value: 4", "value: 0.5"), "limits.cores.value is 0.5, a whole number"),
        (("value: 4", "value: 1.0e+30"), "limits.cores.value is 1e+30, a whole number"),
        (("source: my notes", "source: '  '"), "limits.cores.source is ' ', a text is needed"),
        (("source: my notes", "source: 5"), "limits.cores.source is 5, a text is needed"),
        (("[hard]", "[hard]\n  strides: [banana]"), "supports.strides holds 'banana'"),
        (("not_modelled:", "energy_error: 3.0\n    not_modelled:"), "energy_error is 3"),
        (("[everything else]", "[everything: else]"), "a text is needed; quote a text"),
        (("profile: loihi2", "profile: loihi2\nmapping: crossbar"), "needs limits.axons_per_core"),
        (
            (
                "limits:",
                "mapping: pipeline\nlimits:\n  kernel_words: "
                "{value: 9, unit: words, source: x, evidence: vendor}",
            ),
            "limits.kernel_words has no per_core; list each core",
        ),
        (
            (
                "limits:",
                "mapping: pipeline\nlimits:\n  kernel_words: "
                "{value: 9, unit: words, source: x, evidence: vendor, per_core: [9]}",
            ),
            "limits.kernel_words.per_core names 1 cores of 4",
        ),
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
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(TargetError, match="is a folder"):
        load_target(str(tmp_path / "folder.yaml"))
