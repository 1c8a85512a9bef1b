"""Charts as inline SVG: heat maps, bars and spike rasters. No script, colours from the page."""

from __future__ import annotations

from collections.abc import Sequence

from ...export.ir import Array
from ...export.ir.visible import escaped

ROW, LABEL, GAP = 20, 210, 4
"""Pixels: height of a row, width of the labels, distance between things."""


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escaped(text)}</text>'


def _open(width: float, height: float, title: str) -> str:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return f'<svg {size} role="img" aria-label="{escaped(title)}"><title>{escaped(title)}</title>'


def heat_map(
    title: str,
    labels: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    form: str,
) -> str:
    """Return a grid of cells, each with its value, shaded by its share of the largest."""
    cell = max(54, min(90, 560 // max(1, len(columns))))
    largest = max((v for row in values for v in row), default=0) or 1
    parts = [_open(LABEL + cell * len(columns) + GAP, ROW * (len(labels) + 1) + GAP, title)]
    for k, column in enumerate(columns):
        parts.append(_text(LABEL + cell * (k + 0.5), 14, column, "muted", "middle"))
    for r, (label, row) in enumerate(zip(labels, values, strict=True)):
        y = ROW * (r + 1)
        parts.append(_text(LABEL - 8, y + 14, _short(label), "", "end"))
        for k, value in enumerate(row):
            shade = f"{0.06 + 0.74 * value / largest:.3f}"
            x = LABEL + cell * k
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{ROW - 2}" rx="2" class="heat" '
                f'fill-opacity="{shade}"/>'
            )
            kind = "cell strong" if float(shade) > 0.5 else "cell"
            parts.append(_text(x + cell / 2 - 1, y + 14, format(value, form), kind, "middle"))
    return "".join([*parts, "</svg>"])


def bars(title: str, labels: Sequence[str], values: Sequence[float], form: str, unit: str) -> str:
    """Return horizontal bars with their values."""
    width, largest = 380, max(values, default=0) or 1
    parts = [_open(LABEL + width + 120, ROW * len(labels) + GAP, title)]
    for k, (label, value) in enumerate(zip(labels, values, strict=True)):
        y, length = ROW * k, width * value / largest
        parts.append(_text(LABEL - 8, y + 14, _short(label), "", "end"))
        parts.append(
            f'<rect x="{LABEL}" y="{y + 2}" width="{max(length, 1):.1f}" height="{ROW - 6}" '
            'rx="2" class="bar"/>'
        )
        parts.append(_text(LABEL + max(length, 1) + 6, y + 14, f"{value:{form}} {unit}", "muted"))
    return "".join([*parts, "</svg>"])


def raster(title: str, panels: Sequence[tuple[str, Array, int]]) -> str:
    """Return a spike raster: one panel a layer, time to the right, neurons downwards.

    `panels`: (layer, spikes [time, neuron], how many neurons the layer has); a dot is a neuron that
    spiked in that step.
    """
    height, step, across = 170, 18, 4
    width = max((max(96, step * len(spikes) + 24) for _, spikes, _ in panels), default=96)
    lines = -(-len(panels) // across)
    parts = [_open(across * (width + 70), lines * (height + 46), title)]
    for k, (label, spikes, of) in enumerate(panels):
        x, y = (k % across) * (width + 70) + 34, (k // across) * (height + 46) + 20
        parts.append(_panel((x, y), height, step, label, spikes, of))
    return "".join([*parts, "</svg>"])


def _panel(
    at: tuple[float, float], height: float, step: float, label: str, spikes: Array, of: int
) -> str:
    (x, y), (steps, neurons) = at, spikes.shape
    shown = f"{neurons:,}" if neurons == of else f"{neurons:,} of {of:,}"
    tall = height / max(1, neurons)
    dots = [
        f"M{x + step * t:g} {y + tall * int(n):.2f}h{step - 3}"
        for t in range(steps)
        for n in spikes[t].nonzero()[0]
    ]
    frame = (
        f'<rect x="{x - 2:g}" y="{y - 2:g}" width="{step * steps + 2:g}" height="{height + 4:g}"'
    )
    stroke = max(0.6, min(3.0, tall))
    return "".join(
        [
            f'{frame} class="frame"/>',
            f'<path d="{"".join(dots)}" class="spike" stroke-width="{stroke:.2f}"/>',
            _text(x - 2, y - 7, _short(label, 22), "small"),
            _text(x - 2, y + height + 14, f"{shown} neurons", "muted small"),
        ]
    )


def _short(label: str, most: int = 30) -> str:
    return label if len(label) <= most else "…" + label[-(most - 1) :]
