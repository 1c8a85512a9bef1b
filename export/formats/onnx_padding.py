"""Padding of ONNX windows: their own, that of a Pad before them, and what ceil_mode reaches."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..ir import Array, Shape
from ..pool_windows import divisors, windows_reached
from .onnx_file import whole
from .onnx_site import LARGEST_VALUE, Pads, Site, sums


class Windows:
    """The windows of a convolution or pool, by spatial axis.

    Attributes:
        sizes: of the map. extent: of a window, dilation included. count: of windows.
        begins, ends: padding, that of a Pad before included; ends up to where windows reach.
        outer: how much of begins and ends is the Pad's.
    """

    def __init__(self, site: Site, kernel: Shape) -> None:
        rank = len(kernel)
        self.site, self.kernel = site, kernel
        self.stride = whole(site.fields.get("strides", (1,) * rank))
        self.dilation = whole(site.fields.get("dilations", (1,) * rank))
        self.sizes = site.shape[-rank:]
        _check(site, kernel, self.stride, self.dilation)
        self.extent = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True))
        self.outer = self._outer(site.pads, rank)
        padded = sums(self.sizes, *self.outer)
        self.own = self._own(padded)
        self.begins = sums(self.outer[0], self.own[0])
        reached = [self._axis(k) for k in range(rank)]
        self.count, self.ends = (tuple(column) for column in zip(*reached, strict=True))
        if min(self.count) < 1:
            raise site.refuse(f"kernel {kernel} does not fit map {padded}")
        around = sums(self.sizes, self.begins, self.ends)
        for shape in (self.count, around):
            if prod(shape) > LARGEST_VALUE:
                raise site.refuse(f"shape {shape} exceeds {LARGEST_VALUE} elements")

    def _outer(self, pads: Pads | None, rank: int) -> tuple[Shape, Shape]:
        if pads is None:
            return (0,) * rank, (0,) * rank
        if any((*pads.begins[:-rank], *pads.ends[:-rank])):
            raise self.site.refuse("a Pad of channels before it", "pad the map's own axes only")
        return pads.begins[-rank:], pads.ends[-rank:]

    def _own(self, sizes: Shape) -> tuple[Shape, Shape]:
        """Return the operator's own padding, of begins and ends."""
        rank, auto = len(sizes), self.site.fields.get("auto_pad", b"NOTSET").decode()
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            axes = zip(sizes, self.stride, self.extent, strict=True)
            spread = [(-(-n // s) - 1) * s + e - n for n, s, e in axes]
            if min(spread) < -2:  # onnxruntime starts such windows later, others at 0
                raise self.site.refuse(
                    f"{auto} of kernel {self.kernel} at strides {self.stride} on a map {sizes},"
                    " which runtimes read differently",
                    "write its pads",
                )
            spread = [max(0, n) for n in spread]
            less, more = tuple(n // 2 for n in spread), tuple(n - n // 2 for n in spread)
            return (more, less) if auto == "SAME_LOWER" else (less, more)
        pads = (0,) * 2 * rank if auto == "VALID" else self.site.fields.get("pads", (0,) * 2 * rank)
        pads = whole(pads)
        if len(pads) != 2 * rank or min(pads) < 0:
            raise self.site.refuse(f"padding {pads}", "two numbers of each axis, none negative")
        return pads[:rank], pads[rank:]

    def _axis(self, k: int) -> tuple[int, int]:
        """Return how many windows there are and the padding behind; ceil_mode may add to both."""
        return windows_reached(
            self.sizes[k],
            self.extent[k],
            self.stride[k],
            self.begins[k],
            self.outer[1][k] + self.own[1][k],
            bool(self.site.fields.get("ceil_mode", 0)),
        )

    def divisors(self, padding_counts: bool) -> Array:
        """Return how many values an average divides by, [*count].

        A Pad's values always count; the operator's own where `padding_counts`; what ceil_mode
        reaches beyond them never.
        """
        before, behind = self.outer
        if padding_counts:
            before, behind = sums(before, self.own[0]), sums(behind, self.own[1])
        counted = tuple(zip(before, behind, strict=True))
        return divisors(self.sizes, self.extent, self.stride, self.begins, self.count, counted)


def _check(site: Site, kernel: Shape, stride: Shape, dilation: Shape) -> None:
    ranks = {len(kernel), len(stride), len(dilation), len(site.shape) - 1}
    if len(ranks) > 1:
        raise site.refuse(
            f"kernel {kernel}, strides {stride} and dilations {dilation} on a map {site.shape}"
        )
    if min((*kernel, *stride, *dilation), default=0) < 1:
        raise site.refuse("kernel, stride and dilation must be at least 1")


def pad(site: Site) -> str:
    """Hold a Pad for the windows that read it; return the node that it stands around."""
    source, rank = site.padded(), len(site.shape) + 1
    begins, ends = _sizes(site, rank)
    mode = site.fields.get("mode", b"constant").decode()
    if not any((*begins, *ends)):
        site.pass_pads()
        return source
    if mode != "constant" or begins[0] or ends[0] or min(*begins, *ends) < 0:
        raise site.refuse(
            f"a Pad of mode {mode}, {begins} before and {ends} behind",
            "pad the axes of a sample with zeros",
        )
    fill = _fill(site)
    inner = site.pads or Pads((0,) * (rank - 1), (0,) * (rank - 1), fill)
    if inner.fill != fill:
        raise site.refuse("a Pad around another of other values", "pad with zeros")
    own = Pads(sums(inner.begins, begins[1:]), sums(inner.ends, ends[1:]), fill)
    site.reader.pads[site.node.output[0]] = own
    return source


def _sizes(site: Site, rank: int) -> tuple[Shape, Shape]:
    """Return what a Pad puts before and behind each axis, the batch's included."""
    given = site.option("pads", 1)
    sizes = whole(() if given is None else given)
    axes = site.constant(3)
    where = list(range(rank)) if axes is None else [n % rank for n in whole(axes)]
    if len(sizes) != 2 * len(where):
        raise site.refuse(f"pads {sizes} of {len(where)} axes")
    begins, ends = [0] * rank, [0] * rank
    for k, axis in enumerate(where):
        begins[axis], ends[axis] = sizes[k], sizes[len(where) + k]
    return tuple(begins), tuple(ends)


def _fill(site: Site) -> Any:
    value = site.fields.get("value")
    if value is None:
        value = site.needed(2, finite=False) if site.has(2) else 0.0
    one = float(np.asarray(value).reshape(-1)[0])
    if one == 0:
        return "zero"
    if one <= float(np.finfo(np.float32).min):
        return "lowest"
    raise site.refuse(f"a Pad of {one:g}", "pad with zeros")
