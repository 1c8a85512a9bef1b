"""ONNX operators that rearrange: of a sample, since the batch has to stay the first axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..ir import Array, Flatten, Reshape, Shape, Transpose
from .onnx_file import whole
from .onnx_site import Site

KEEP = "keep the batch as the first axis"


def reshape(site: Site) -> str:
    """Reshape, to a shape that may be computed from the batch."""
    allow_zero = bool(site.fields.get("allowzero", 0))
    targets = site.sized(1)
    fulls = site.reader.folding.full(site.shape)
    shapes = [_resolved(site, t, f, allow_zero) for t, f in zip(targets, fulls, strict=True)]
    return _to(site, shapes)


def _resolved(site: Site, target: Array, full: Shape, allow_zero: bool) -> Shape:
    """Return the shape that `target` asks for, with its 0 (as before) and -1 (the rest)."""
    asked = whole(target)
    sizes = [full[k] if n == 0 and not allow_zero else n for k, n in enumerate(asked)]
    if sizes.count(-1) == 1:
        rest = prod(n for n in sizes if n != -1)
        if rest < 1 or prod(full) % rest:
            raise site.refuse(f"{full} does not take the shape {asked}", KEEP)
        sizes[sizes.index(-1)] = prod(full) // rest
    if min(sizes, default=0) < 1 or prod(sizes) != prod(full):
        raise site.refuse(f"{full} does not take the shape {asked}", KEEP)
    return tuple(sizes)


def _to(site: Site, shapes: Sequence[Shape]) -> str:
    """Append what gives a sample the same shape whatever the batch is."""
    batches = site.reader.folding.batches
    inner = {shape[1:] for shape in shapes}
    if len(inner) > 1 or any(s[:1] != (b,) for s, b in zip(shapes, batches, strict=True)):
        raise site.refuse(f"gives {shapes[0]} of a batch of {batches[0]}", KEEP)
    (shape,) = inner
    if not shape:
        raise site.refuse("leaves no axis beside the batch", "keep one axis")
    if shape == site.shape:
        return site.source()
    return site.put(Flatten() if len(shape) == 1 else Reshape(shape))


def flatten(site: Site) -> str:
    """Flatten at an axis."""
    rank = len(site.shape) + 1
    axis = int(site.fields.get("axis", 1))
    axis += rank if axis < 0 else 0
    fulls = site.reader.folding.full(site.shape)
    return _to(site, [(prod(full[:axis]), prod(full[axis:])) for full in fulls])


def squeeze(site: Site) -> str:
    """Squeeze of the axes named, or of all of size 1."""
    given = site.option("axes", 1)
    fulls = site.reader.folding.full(site.shape)
    shapes = []
    for full in fulls:
        ones = [k for k, n in enumerate(full) if n == 1]
        axes = ones if given is None else [n % len(full) for n in whole(given)]
        if any(full[k] != 1 for k in axes):
            raise site.refuse(f"squeezes axes {tuple(axes)} of {full}")
        shapes.append(tuple(n for k, n in enumerate(full) if k not in axes))
    return _to(site, shapes)


def unsqueeze(site: Site) -> str:
    """Unsqueeze: axes of size 1 at these places of the output."""
    axes = whole(site.needed(1) if "axes" not in site.fields else site.fields["axes"])
    rank = len(site.shape) + 1 + len(axes)
    places = {n % rank for n in axes}
    if len(places) < len(axes):
        raise site.refuse(f"unsqueezes axes {axes}, some of them twice")
    shapes = []
    for full in site.reader.folding.full(site.shape):
        sizes = iter(full)
        shapes.append(tuple(1 if k in places else next(sizes) for k in range(rank)))
    return _to(site, shapes)


def transpose(site: Site) -> str:
    """Transpose of a sample's axes; a Pad around them goes along."""
    rank = len(site.shape) + 1
    axes = whole(site.fields.get("perm", tuple(reversed(range(rank)))))
    if sorted(axes) != list(range(rank)) or axes[0] != 0:
        raise site.refuse(f"permutes the axes to {axes}", KEEP)
    inner = tuple(k - 1 for k in axes[1:])
    site.pass_pads(inner)
    if inner == tuple(range(rank - 1)):
        return site.padded()
    return site.put(Transpose(inner), site.padded())
