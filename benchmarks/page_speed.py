"""The sections of docs/results.md on speed: training beside its peers, lowering large networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .markdown import percent, table

Record = Mapping[str, Any]
CLOCKS: Mapping[str, str] = {"process_time": "processor time", "perf_counter": "wall-clock time"}
THROUGHPUT = """
## Training speed beside snntorch and spikingjelly

```sh
{commands}
```

One Spiking-ResNet (widths {widths}, one block a stage, stem stride {stride}), batch {batch}, T =
{time_steps}: medians of whole training steps (forward, backward, AdamW), all contenders in turns.
*plain*: the peer's neurons as its users write them (float32, contiguous, the picture repeated at
every step); *alike*: given our precision, memory layout and a stem that runs once a picture, so
that only the neurons differ. Spikes equal to ours on a random current: {same}.
{machines}.
"""
LOWERING = """
## Lowering large networks

```sh
python -m benchmarks.lowering
```

Trace, fold, quantise and check, from a live module to the integer graph; the peak of memory beside
the module, in multiples of its weights.
"""


def throughput(records: Sequence[Record]) -> str:
    """Return the section on training speed, a table of every number of threads."""
    if not records:
        return ""
    first = records[0]["options"]
    network = records[0]["network"]
    said = THROUGHPUT.format(
        commands="\n".join(record["command"] for record in records),
        widths="/".join(map(str, network["widths"])),
        stride=network["stem_stride"],
        same=", ".join(f"{name} {percent(s)} %" for name, s in records[0]["same_spikes"].items()),
        machines="; ".join(sorted({record["machine"] for record in records})),
        **{name: first[name] for name in ("batch", "time_steps")},
    )
    return said + "".join(map(_of_threads, records))


def _of_threads(record: Record) -> str:
    threads = record["options"]["threads"]
    names = [name for name in record["float32"] if name != "ours"]
    kinds = [kind for kind in ("float32", "bfloat16") if kind in record]
    header = ["training step", *(f"{kind}, images/s" for kind in kinds)]
    header += [f"ours is faster, {kind}" for kind in kinds]
    rows = [["ours", *(f"{record[k]['ours']['images_per_s']:.0f}" for k in kinds), *"–" * 2]]
    for name in names:
        speeds = [f"{record[kind][name]['images_per_s']:.0f}" for kind in kinds]
        rows.append([name, *speeds, *(f"{record[kind][name]['ratio']:.2f} ×" for kind in kinds)])
    plural = "s" if threads > 1 else ""
    return f"\n{threads} thread{plural}, {CLOCKS[record['clock']]}:\n\n" + table(header, rows)


def lowering(record: Record | None) -> str:
    """Return the section on lowering."""
    if record is None:
        return ""
    rows = [
        [
            f"`{name}`",
            f"{row['weights_mib']:.0f}",
            f"{row['cpu_seconds']:.1f}",
            f"{row['limit_s']:g}" if row["limit_s"] else "–",
            f"{row['peak_over_weights']:.2f} ×",
        ]
        for name, row in record.items()
    ]
    header = ["model", "weights, MiB", "processor seconds", "limit, s", "peak over weights"]
    return LOWERING + "\n" + table(header, rows)
