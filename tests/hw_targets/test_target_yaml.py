"""Hostile target files: each one line, at once, whatever it unpacks to."""

import pytest
import yaml

from spikewright.export.ir import TargetError
from spikewright.hw_targets.target import load_target, shipped
from spikewright.hw_targets.target_yaml import NODES, read_mapping

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(8)
)
FILES = {
    "wide": ("".join(f"k{n}: 1\n" for n in range(30_000)), "more than"),
    "deep": ("[" * 3000, "nested more than 12 deep at line 1"),
    "deep block": ("".join(f"{' ' * n}a:\n" for n in range(500)), "nested more than"),
    "date": ("name: 2020-99-99\ntitle: x\nmapping: no\n", "mapping is False"),
    "bomb": (BOMB, "an alias at line 2"),
    "itself": ("a: &a [*a]\n", "an alias"),
    "only a date": ("name: 2020-99-99\n", "none of limits, supports, costs"),
    "nothing": ("{}\n", "none of limits, supports, costs"),
    "no limit": ("name: a\nlimits:\n", "limits is empty"),
    "no reset": ("name: a\nsupports: {resets: []}\n", "supports.resets is empty"),
    "no table": ("name: a\ncosts: {}\n", "costs is empty"),
    "merge": ("<<: {name: x}\n", "unknown key <<"),
    "digits": (f"name: {'9' * 5000}\n", "of 5,000 characters"),
    "number": (f"limits: {{cores: {{value: {'9' * 900}}}}}\n", "a number of 900 digits"),
    "twice": ("name: a\nname: b\n", "the key 'name' is given twice in the mapping at line 1"),
    "key": ("? [a]\n: b\n", "a key that is no text"),
    "empty": ("", "holds one mapping"),
    "list": ("- a\n", "holds one mapping"),
    "bytes": ("name: \x00\n", "not readable YAML"),
    "python": ("!!python/object/apply:os.system [ls]\n", "not readable YAML"),
    "escape": ('"\\u001b[31mname": x\n', r"unknown key \\x1b\[31mname"),
    "large": ("#" * (1 << 21), "larger than 1,048,576 bytes"),
    "limits": ("limits: [1]\n", "limits is a list, a mapping is needed"),
    "limit": ("limits: {cores: 3}\n", "limits.cores is a int, a mapping is needed"),
    "profile": ("profile: [generic]\n", "profile is"),
    "default": ("default_cost: [1]\n", "default_cost"),
    "costs": ("costs: {a: }\n", "costs.a.model is None"),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_are_one_line(name, tmp_path):
    text, said = FILES[name]
    path = tmp_path / "chip.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(TargetError, match=said) as caught:
        load_target(str(path))
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize("path", shipped().values(), ids=list(shipped()))
def test_shipped_files_are_read_as_the_safe_loader_reads_them(path):
    assert read_mapping(path) == yaml.safe_load(path.read_text(encoding="utf-8"))
    nodes = sum(isinstance(e, yaml.NodeEvent) for e in yaml.parse(path.read_text(encoding="utf-8")))
    assert nodes < NODES / 10
