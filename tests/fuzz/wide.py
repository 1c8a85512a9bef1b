"""Random graphs of wide layers: what the engine cuts into tiles and blocks of several steps.

Few layers of 32 to 512 outputs: strided, pointwise and grouped convolutions, wide linear layers,
attention of wide heads, delays of currents; and steps that no block of the engine divides.
"""

from __future__ import annotations

import numpy as np

from spikewright.export.ir import (
    Add,
    Array,
    BoundsError,
    Conv1d,
    Conv2d,
    Delay,
    Graph,
    Input,
    Linear,
    MatMul,
    Neuron,
    Node,
    Output,
    Scale,
    Shape,
    check,
)

from .graphs import (
    Draft,
    Rng,
    _codes,
    _heads,
    _pool,
    _residual,
    _settle_shape,
    enliven,
    padding_end,
)
from .graphs import random_input as narrow_input
from .neurons import random_neuron

PRODUCTS = 3_000_000
"""At most so many a step and layer: the reference multiplies them all."""


def wide_graph(rng: Rng) -> Graph:
    """Return a checked integer graph; the same generator state gives the same graph."""
    while True:
        draft = Draft(rng)
        _input(draft)
        for _ in range(draft.pick(1, 2)):
            if len(draft.shape) == 2 and draft.spikes and draft.chance(0.5):
                _attention(draft)
            else:
                _layer(draft)
        draft.put(Output("spike_count" if draft.chance(0.5) else "none"), name="output")
        graph = Graph(draft.nodes, draft.edges, "integer")
        try:
            return enliven(check(graph), rng)
        except BoundsError:
            continue


def wide_input(graph: Graph, rng: Rng) -> Array:
    """Return encoded values [time, batch, *shape] of 1 to 3 samples and 1 to 13 steps."""
    return narrow_input(graph, rng, int(rng.integers(1, 4)), int(rng.integers(1, 14)))


def _input(draft: Draft) -> None:
    rank = int(draft.rng.integers(1, 4))
    if rank == 1:
        draft.shape = (draft.pick(16, 400),)
    elif rank == 2:
        draft.shape = (draft.pick(2, 70), draft.pick(4, 48))
    elif draft.chance(0.15):  # frames of which few go through a layer together
        draft.shape = (draft.pick(1, 3), draft.pick(12, 40), draft.pick(12, 40))
    else:
        draft.shape = (draft.pick(1, 70), draft.pick(1, 10), draft.pick(1, 10))
    kind = str(draft.rng.choice(["direct", "spikes", "frames", "frames of int32"]))
    low, high = {"direct": (-127, 127), "spikes": (0, 1), "frames": (0, 9)}.get(kind, (-300, 300))
    scale = 1 / 127 if kind == "direct" else None
    node = Input(draft.shape, kind.split()[0], scale, low, high)  # type: ignore[arg-type]
    draft.put(node, name="input")
    draft.spikes = kind == "spikes"


def _outputs(draft: Draft, products: int) -> int:
    """32 to 512, small ones as often as large; fewer where each costs `products` a step."""
    most = max(32, min(512, PRODUCTS // max(1, products)))
    return int(np.exp(draft.rng.uniform(np.log(32), np.log(most + 1))))


def _weight(draft: Draft, shape: Shape) -> Node:
    shift = draft.pick(1, 2) if draft.chance(0.1) else 0
    if len(shape) == 1 or (len(shape) == 2 and draft.chance(0.5)):
        outputs = _outputs(draft, int(np.prod(shape)))
        weight, bits = _codes(draft, outputs, shape[-1])
        return Linear(weight, scale=np.float64(0.01), weight_shift=shift, bits=bits)
    rank = len(shape) - 1
    kernel = (1,) * rank if draft.chance(0.4) else tuple(draft.pick(1, 3) for _ in range(rank))
    groups = _groups(draft, shape[0])
    outputs = _outputs(draft, int(np.prod(shape) * np.prod(kernel)) // groups)
    outputs = -(-outputs // groups) * groups
    weight, bits = _codes(draft, outputs, shape[0] // groups, *kernel)
    kind = Conv1d if rank == 1 else Conv2d
    padding = tuple(draft.pick(0, k // 2) for k in kernel)
    return kind(
        weight,
        stride=(2,) * rank if draft.chance(0.5) else tuple(draft.pick(1, 3) for _ in range(rank)),
        padding=padding,
        padding_end=padding_end(draft, padding, (1,) * rank),
        dilation=tuple(2 if k == 2 and draft.chance(0.3) else 1 for k in kernel),
        groups=groups,
        weight_shift=shift,
        bits=bits,
    )


def _groups(draft: Draft, channels: int) -> int:
    """One, one a channel, or any divisor."""
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    if draft.chance(0.6):
        return 1
    return channels if draft.chance(0.3) else int(draft.rng.choice(divisors))


def _layer(draft: Draft) -> None:
    """Wide weights, perhaps delayed, scaled or joined by delayed currents, then a neuron."""
    draft.put(_weight(draft, draft.shape))
    _settle_shape(draft)
    _on_currents(draft)
    _neuron(draft)
    if draft.chance(0.3):
        _residual(draft)
    if draft.chance(0.2):
        _pool(draft)
    if draft.chance(0.15):
        draft.put(Delay(draft.shape, draft.pick(1, 3)))


def _on_currents(draft: Draft) -> None:
    if draft.chance(0.2) and len(draft.shape) > 1 and min(draft.shape[1:]) >= 2:
        _pool(draft)
    if draft.chance(0.2):
        channels = (draft.shape[0], *(1,) * (len(draft.shape) - 1))
        draft.put(Scale(draft.rng.integers(1, 4, channels).astype(np.int32)))
    if draft.chance(0.3):
        now = draft.here
        delayed = draft.put(Delay(draft.shape, draft.pick(1, 3)))
        if draft.chance(0.5):
            draft.put(Add(), now, delayed)


def _neuron(draft: Draft) -> None:
    simple = Neuron(draft.shape, np.int32(2**29))  # the kind that joins its weights' tiles
    draft.put(simple if draft.chance(0.4) else random_neuron(draft.rng, draft.shape))
    draft.spikes = True


def _attention(draft: Draft) -> None:
    """(q kT) v of wide features, the scores or the products perhaps delayed."""
    tokens, source = draft.shape, draft.here
    heads = int(draft.rng.choice([1, 2, 4]))
    features = heads * draft.pick(max(1, 32 // heads), 64 // heads)
    weight, bits = _codes(draft, features, tokens[-1])
    spikes = []
    for _ in range(3):
        draft.put(Linear(draft.rng.permutation(weight), bits=bits), source)
        draft.shape = (tokens[0], features)
        _neuron(draft)
        if heads > 1:
            _heads(draft, draft.shape, heads)
        spikes.append(draft.here)
    q, k, v = spikes
    draft.put(MatMul(transpose_b=True), q, k)
    if draft.chance(0.3):
        draft.put(Delay((*([heads] if heads > 1 else []), tokens[0], tokens[0])))
    draft.put(MatMul(), draft.here, v)
    draft.shape = (tokens[0], features) if heads == 1 else (heads, tokens[0], features // heads)
    if draft.chance(0.3):
        draft.put(Delay(draft.shape, draft.pick(1, 2)))
    _neuron(draft)
