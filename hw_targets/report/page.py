"""The page: content as HTML, every name escaped, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...export.ir.visible import escaped
from ..fit import counted
from . import svg
from .style import CSS


def page(data: Mapping[str, Any]) -> str:
    """Return the report's HTML."""
    network = data["network"]
    title = f"spikewright report: {network.get('source', 'network')}"
    sections = "".join(section(data) for section in SECTIONS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{CSS}</style></head>"
        f"<body><main><h1>{escaped(title)}</h1>{sections}</main></body></html>\n"
    )


def number(value: Any, form: str = ",.4g") -> str:
    """Return a cell: text escaped, numbers grouped, nothing for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:{form}}"
    return escaped(str(value))


def percent(share: float | None) -> str:
    """Return a fraction as a percentage."""
    return "–" if share is None else f"{100 * share:.2f} %"


def table(head: Sequence[str], body: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table; the first `left` columns are text. Cells are HTML already."""
    kinds = ["" if k < left else ' class="n"' for k in range(len(head))]
    top = "".join(f"<th{kind}>{escaped(name)}</th>" for name, kind in zip(head, kinds, strict=True))
    lines = (
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in body
    )
    body_html = "".join(lines)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body_html}</tbody></table></div>"
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<div><dt>{escaped(k)}</dt><dd>{v}</dd></div>" for k, v in pairs)
    return f'<dl class="facts">{items}</dl>'


def _summary(data: Mapping[str, Any]) -> str:
    network, totals = data["network"], data["totals"]
    shape = "×".join(map(str, network["input_shape"]))
    of = ", at step timing" if any(fit["timing"] == "event" for fit in data["fits"]) else ""
    of += ", thresholds calibrated for events" if data["calibrated_for_events"] else ""
    shares = [(f"accuracy, {name}{of}", percent(v)) for name, v in data["accuracies"].items()]
    samples = data["samples"]
    pairs = [
        *shares,
        ("spike rate", percent(totals["spike_rate"])),
        ("SOPs per inference, per event", number(totals["sops"] / samples, ",.0f")),
        ("parameters", number(network["parameters"])),
        ("input", f"{shape}, {escaped(network['encoding'])}, T = {data['time_steps']}"),
        ("number format", number(network["profile"])),
        ("samples", number(samples)),
    ]
    return _facts(pairs)


def _proof(data: Mapping[str, Any]) -> str:
    found = data["verification"]
    names = " = ".join(escaped(name) for name in found["executors"])
    if found["equal"]:
        text = (
            f"<strong>{names}</strong> in all {found['values_compared']:,} values compared: every "
            f"spike, membrane potential and output of {found['samples']:,} samples over "
            f"{found['time_steps']} steps. No tolerance."
        )
        return f'<h2>Proof of equality</h2><p class="good">{text}</p>'
    first = found["first_difference"]
    text = (
        f"<strong>Not equal.</strong> {escaped(first['layer'])} {escaped(first['quantity'])}, "
        f"step {first['time_step']}, index {escaped(str(first['index']))}: "
        f"{escaped(str(first['values']))}"
    )
    return f'<h2>Proof of equality</h2><p class="bad">{text}</p>'


def _layers(data: Mapping[str, Any]) -> str:
    head = (
        "layer", "kind", "shape", "bits", "parameters", "threshold", "worst case",
        "spikes", "spike rate", "SOPs", "effective", "per spike", "MACs", "differs from float",
    )  # fmt: skip
    body = [
        (
            escaped(row["name"]),
            escaped(row["kind"]),
            "×".join(map(str, row["shape"])),
            number(row["bits"]),
            number(row["parameters"] or None),
            _span(row["v_threshold"]),
            number(row["bound"]),
            number(row["spikes"] or None),
            percent(row["spike_rate"]),
            number(row["sops"] or None),
            number(row["sops_effective"] or None),
            number(row["sops_per_spike"] or None),
            number(row["macs"] or None),
            percent(row["spikes_that_differ"]),
        )
        for row in data["layers"]
    ]
    note = (
        f"SOPs and MACs are sums over {data['samples']:,} samples and {data['time_steps']} steps, "
        "counted synapse by synapse (borders, stride and groups taken into account); effective "
        "leaves out zero weights. An integer of several spikes is one event in SOPs, and as many "
        "in those per spike; the spike rate is the share of neurons and steps with a spike. A "
        "repeated frame has its MACs once. Worst case is the largest |value| that weights allow."
    )
    return f'<h2>Layers</h2>{table(head, body, 3)}<p class="muted">{note}</p>'


def _span(values: Sequence[float] | None) -> str:
    if values is None:
        return "–"
    low, high = values
    return f"{low:,.0f}" if low == high else f"{low:,.0f} … {high:,.0f}"


def _activity(data: Mapping[str, Any]) -> str:
    steps = [f"t = {t}" for t in range(data["time_steps"])]
    rates = data["steps"]["spike_rate"]
    sops = {name: row for name, row in data["steps"]["sops"].items() if any(row)}
    shares = [[100 * value for value in row] for row in rates.values()]
    parts = ["<h2>Activity</h2>"]
    parts += ["<h3>Spike rate per layer and step, in percent</h3>"]
    parts.append(svg.heat_map("spike rate in percent", list(rates), steps, shares, ".1f"))
    parts += [
        "<h3>SOPs per layer and step, mean per sample (an analog input has MACs, no SOPs)</h3>"
    ]
    parts.append(svg.heat_map("SOPs", list(sops), steps, list(sops.values()), ",.0f"))
    parts += ["<h3>Spike raster of one sample</h3>", _raster(data["raster"])]
    return "".join(parts)


def _raster(data: Mapping[str, Any]) -> str:
    panels = []
    for name, layer in data["layers"].items():
        spikes = np.zeros((len(layer["spikes"]), layer["neurons"]), bool)
        for t, fired in enumerate(layer["spikes"]):
            spikes[t, fired] = True
        panels.append((name, spikes, layer["of"]))
    return svg.raster("spike raster", panels)


def _cores(fit: Mapping[str, Any]) -> str:
    if not fit["lowered"]:
        return ": its number format cannot express the network"
    cores = f", {counted(fit['cores'], 'core')} in layer order"
    return cores if fit["limited"] else ": it names no limits"


VERDICTS = {True: "fits", False: "does not fit", None: "not known whether it fits"}


def _fits(data: Mapping[str, Any]) -> str:
    parts = ["<h2>Fit</h2>"]
    for fit in data["fits"]:
        verdict = VERDICTS[fit["fits"]]
        kind = "good" if fit["fits"] else "bad"
        host = ", ".join(escaped(name) for name in fit["host_layers"])
        note = f" On the host, outside the fit: {host} (analog input)." if host else ""
        events = " (tested after every event)" if fit["timing"] == "event" else ""
        share = fit["accuracy"]
        shares = "" if share is None else f", accuracy {percent(share)}{events}"
        parts.append(
            f"<h3>{escaped(fit['target'])}: number format {number(fit['profile'])}{shares}</h3>"
            f'<p class="{kind}"><strong>{verdict}</strong>{_cores(fit)}.{note}</p>'
        )
        if fit["unknown"]:
            parts.append(f"<p>Not known: {escaped('; '.join(fit['unknown']))}.</p>")
        if fit["violations"]:
            keys = ("layer", "limit", "allowed", "found", "remedy")
            body = [[escaped(v[key]) for key in keys] for v in fit["violations"]]
            parts.append(table(keys, body, 5))
        elif fit["limited"]:
            most = [(name, number(value)) for name, value in fit["per_core_max"].items()]
            parts.append(_facts((f"fullest core: {name}", value) for name, value in most))
    return "".join(parts)


def _energy(data: Mapping[str, Any]) -> str:
    parts = ["<h2>Energy and latency per inference</h2>", _energy_table(data["estimates"])]
    for found in data["estimates"]:
        if found["energy_uj"] is None:
            continue
        name = f"{found['target']}, cost table {found['cost']}"
        parts.append(f"<h3>{escaped(name)}</h3>")
        labels, values = list(found["layers_uj"]), list(found["layers_uj"].values())
        parts.append(svg.bars(f"energy per layer, {name}", labels, values, ".3g", "µJ"))
        parts.append(_constants(found))
    return "".join(parts)


def _energy_table(estimates: Sequence[Mapping[str, Any]]) -> str:
    body = []
    for found in estimates:
        energy = found["energy_uj"]
        split = "no sourced energy for this chip"
        fits = {True: "", False: ", does not fit", None: ", fit not known"}[found["fits"]]
        if energy:
            split = ", ".join(f"{escaped(k)} {v:.3g}" for k, v in energy.items() if k != "total")
        body.append(
            (
                escaped(found["target"]) + fits,
                number(found["cost"]),
                split,
                number(energy["total"] if energy else None) + _ends(found["energy_range_uj"]),
                number(found["latency_us"]) + _ends(found["latency_range_us"]),
                number(found["static_mw"]),
                f"{number(found['sops'], ',.0f')} {escaped(found['sops_are'])}",
            )
        )
    head = ("target", "cost table", "parts, µJ", "energy, µJ", "latency, µs", "static, mW", "SOPs")
    return table(head, body, 3)


def _comparison(data: Mapping[str, Any]) -> str:
    found = data["comparison"]
    if found is None:
        return ""
    head = ("method", "about", "SNN, µJ", "ANN, µJ", "break-even spike rate")
    body = [
        (
            escaped(method["name"]),
            escaped(method["about"]),
            number(method["snn_uj"]),
            number(method["ann_uj"]),
            percent(method["break_even_spike_rate"]),
        )
        for method in found["methods"]
    ]
    return (
        f"<h2>Beside the same network as a quantised ANN</h2>{table(head, body, 2)}"
        f'<p class="muted">{escaped(found["verdict"])}</p>'
    )


def _ends(ends: Sequence[float] | None) -> str:
    """Return a published range, as the words that follow a figure."""
    return "" if ends is None else f" ({number(ends[0])} to {number(ends[1])})"


def _constants(found: Mapping[str, Any]) -> str:
    keys = ("name", "value", "unit", "evidence", "scope", "operating_point", "source")
    body = [
        [number(c[key]) if key == "value" else escaped(str(c[key])) for key in keys]
        for c in found["constants"]
    ]
    rules = "; ".join(escaped(rule) for rule in found["conventions"])
    missing = "; ".join(escaped(item) for item in found["not_modelled"])
    doubt = f" Published error: {escaped(found['uncertainty'])}." if found["uncertainty"] else ""
    return (
        f'{table(keys, body, 7)}<p class="muted">Conventions: {rules}. Not modelled: {missing}.'
        f"{doubt}</p>"
    )


def _provenance(data: Mapping[str, Any]) -> str:
    network = data["network"]
    pairs = [("digest (sha256)", f"<code>{escaped(network['digest'])}</code>")]
    for key in ("source", "model", "data", "scale_rule"):
        if key in network:
            pairs.append((key.replace("_", " "), escaped(str(network[key]))))
    for key in ("training", "calibration"):
        for name, value in network.get(key, {}).items():
            if isinstance(value, (str, int, float)):
                pairs.append((f"{key}: {name}".replace("_", " "), number(value)))
    return f"<h2>Provenance</h2>{_facts(pairs)}"


SECTIONS: tuple[Callable[[Mapping[str, Any]], str], ...] = (
    _summary,
    _proof,
    _layers,
    _activity,
    _fits,
    _energy,
    _comparison,
    _provenance,
)
