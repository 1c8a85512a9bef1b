"""What a shipped checkpoint's card is told after its training: measured accuracies, data licence.

``python -m spikewright.trainer.recipes.cards CHECKPOINT RECORD.json`` writes the file again with
the integer accuracies of a record of ``benchmarks.checkpoints`` and the licence that the reader of
its data states now. Its tensors keep their bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...export.ir.errors import FormatError, SpikewrightError
from .. import checkpoint
from ..data import cifar10, digits

COMMAND = "python -m spikewright.trainer.recipes.cards"
LICENCES: Mapping[str, str] = {"cifar10": cifar10.LICENCE, "digits": digits.LICENCE}
ACCURACIES: Mapping[str, str] = {"int8": "integer_8_bits", "int4": "integer_4_bits"}
"""Names in a record, and on a card; without training for few bits."""


def completed(card: checkpoint.Card, record: Mapping[str, Any], where: str) -> checkpoint.Card:
    """Return the card with a record's integer accuracies.

    Raises:
        FormatError: for a record of other accuracies than the card's, so of another network.
    """
    try:
        measured = {name: float(share) for name, share in record["accuracy"].items()}
        trained = {**record["card"]["accuracies"]}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"no record of a checkpoint ({error!r})", node=where) from None
    if trained.get("finetuned") != card.accuracies.get("finetuned"):
        raise FormatError("is the record of another network", node=where)
    integers = {ACCURACIES[name]: share for name, share in measured.items() if name in ACCURACIES}
    licence = LICENCES.get(card.data, card.data_licence)
    return replace(card, accuracies={**card.accuracies, **integers}, data_licence=licence)


def _read(record: Path) -> Any:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = f"not a readable record: {error}"
        remedy = "see benchmarks.checkpoints"
        raise FormatError(reason, node=str(record), remedy=remedy) from None


def main(arguments: list[str]) -> int:
    """Write the card of the checkpoint in `arguments` again."""
    if len(arguments) != 2:
        print(f"usage: {COMMAND} CHECKPOINT RECORD.json", file=sys.stderr)
        return 2
    source, record = arguments[0], Path(arguments[1])
    try:
        card = completed(checkpoint.read_card(source), _read(record), str(record))
        checkpoint.rewrite_card(source, card)
    except SpikewrightError as error:
        print(error, file=sys.stderr)
        return 2
    for name, share in card.accuracies.items():
        print(f"{name} {share:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
