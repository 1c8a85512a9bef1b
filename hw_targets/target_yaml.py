"""The YAML of target files, read as data: no tags, aliases, dates or bombs.

PyYAML's safe loader runs nothing, but it follows aliases, recurses as deep as a file nests, and
parses dates and integers of any length. So the events of a file are counted before anything is
built of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..export.ir import TargetError

BYTES = 1 << 20
DEPTH = 12
NODES = 20_000
CHARACTERS = 4_000
DIGITS = 18
"""The largest file, nesting, number of values, text and whole number that a target file may hold;
the shipped ones hold a hundredth of each."""


class _Loader(yaml.SafeLoader):
    """The safe loader without dates, which also refuses a key that is given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own class attribute)
        first: [
            (tag, regexp) for tag, regexp in rules if not tag.endswith((":timestamp", ":merge"))
        ]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping of texts, each key once."""
        seen: set[str] = set()
        for key, _ in node.value:
            line = f"in the mapping at line {node.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"a key that is no text {line}")
            if key.value in seen:
                raise yaml.YAMLError(f"the key {key.value!r} is given twice {line}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the one mapping that a YAML file holds.

    Raises:
        TargetError: for a file that is no such YAML, or larger or deeper than any target is.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES + 1)
        if len(raw) > BYTES:
            raise yaml.YAMLError(f"larger than {BYTES:,} bytes, which no target file is")
        text = raw.decode("utf-8")
        _judge(text)
        data = yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise TargetError(f"not readable YAML ({line})", node=str(path)) from None
    if not isinstance(data, dict):
        raise TargetError("a target file holds one mapping", node=str(path))
    return data


def _judge(text: str) -> None:
    """Raise YAMLError for what no target file holds, from the file's events alone."""
    depth = nodes = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = f"at line {event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias {line}: write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > DEPTH:
            raise yaml.YAMLError(f"nested more than {DEPTH} deep {line}")
        if nodes > NODES:
            raise yaml.YAMLError(f"more than {NODES:,} values {line}")
        if isinstance(event, yaml.ScalarEvent):
            _judge_scalar(event, line)


def _judge_scalar(event: yaml.ScalarEvent, line: str) -> None:
    if len(event.value) > CHARACTERS:
        raise yaml.YAMLError(f"a text of {len(event.value):,} characters {line}")
    digits = sum(character.isdigit() for character in event.value)
    if event.style is None and digits > DIGITS and not event.value.strip("+-_.eE0123456789"):
        raise yaml.YAMLError(f"a number of {digits:,} digits {line}")
