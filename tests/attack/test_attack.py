"""A short campaign on every format, and a harness that sees each kind of fault."""

import os
import signal
from pathlib import Path

import pytest

from spikewright.export.ir import FormatError
from tests.attack import harness
from tests.attack.harness import Case, verdicts
from tests.attack.run import campaign, case
from tests.attack.seeds import MAKERS, seeds

FILES = 504


def test_no_mutated_file_does_harm() -> None:
    found = list(campaign(list(MAKERS), FILES, seed=0))
    faults = [(v.word, v.stage, v.case.kind, v.case.number, v.detail) for v in found if v.is_fault]
    assert not faults and len(found) == FILES
    assert {v.word for v in found} == {"accepted", "refused"}


@pytest.mark.parametrize("kind", ["yaml", "png", "npz", "state", "weights-pt"])
def test_seeds_are_accepted_and_a_number_makes_its_file_again(kind: str, tmp_path: Path) -> None:
    held = seeds(kind, tmp_path)
    assert {v.word for v in verdicts([Case(n, kind, s) for n, s in enumerate(held)])} == {
        "accepted"
    }
    assert case(kind, held, 7).content == case(kind, held, 7).content
    assert len({case(kind, held, n).content for n in range(20)}) > 10


def _refused() -> None:
    raise FormatError("no such thing")


DEEDS = {
    "refused": _refused,
    "foreign": lambda: {}["x"],
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": lambda: len(bytearray(b"x") * (harness.MEMORY + (1 << 26))),
    "event": lambda: os.mkdir("/nowhere-at-all/x"),
}


@pytest.mark.parametrize("word", DEEDS)
def test_every_kind_of_fault_is_seen(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_odd(kind: str, path: Path) -> None:
        if path.read_bytes() == b"odd":
            DEEDS[word]()

    monkeypatch.setattr(harness, "opened", open_odd)
    cases = [Case(n, "yaml", content) for n, content in enumerate([b"x", b"odd", b"x"])]
    assert [v.word for v in verdicts(cases)] == ["accepted", word, "accepted"]


def test_a_file_that_takes_too_long_is_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(kind: str, path: Path) -> None:
        while True:
            pass

    monkeypatch.setattr(harness, "opened", spin)
    monkeypatch.setattr(harness, "SECONDS", 0.2)
    assert [v.word for v in verdicts([Case(0, "yaml", b"x")])] == ["hang"]
