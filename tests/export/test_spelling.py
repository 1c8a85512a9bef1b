"""Options in texts: as typed on the command line there, as arguments in Python."""

import pytest

from spikewright.export.ir import InputError, UnknownNameError
from spikewright.export.spelling import command_line, spelled

TEXTS = {
    "give --force to overwrite it": "give force=True to overwrite it",
    "lower it with --encode spikes": 'lower it with encoding="spikes"',
    "give -T 20 to run them all": "give time_steps=20 to run them all",
    "give -T": "give time_steps",
    "--threads 999, allowed 1 to 2": "threads=999, allowed 1 to 2",
    "more --bits or --scale percentile": 'more bits or scale="percentile"',
    "give --calibrate DATA": "give calibrate=samples",
    "give --calibrate cifar10:PATH": 'give calibrate="cifar10:PATH"',
    "give --input C,Y,X, or the module": "give input_shape=C,Y,X, or the module",
    "--level float --bits 4": 'level="float" bits=4',
    "run: spikewright lava install --force; then --target loihi2": (
        'run: spikewright lava install --force; then target="loihi2"'
    ),
    "pip install torch --index-url https://x": "pip install torch --index-url https://x",
    "--time-limit 3 and x--bits 4": "--time-limit 3 and x--bits 4",
}


@pytest.mark.parametrize(("text", "python"), TEXTS.items())
def test_each_interface_reads_its_own_spelling(text, python):
    assert spelled(text) == python
    error = InputError("no", remedy=text)
    assert error.remedy == python and str(error) == f"no; {python}"
    with command_line():
        assert spelled(text) == text and InputError("no", remedy=text).remedy == text
    assert spelled(text) == python


def test_a_name_from_a_file_may_be_no_text_and_is_still_refused_by_name() -> None:
    error = UnknownNameError.of("encoding", 0.5, ("rate", "latency"))
    assert "0.5" in str(error) and "rate" in str(error)
