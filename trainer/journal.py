"""What a training reports while it runs: a line of numbers now and then, and warnings once."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..export.formats.atomic import append_whole, atomic_path
from ..export.ir.errors import MissingPackageError
from .neurons import LIF, MixedLIF

DEAD, SATURATED = 0.001, 0.95
"""Spike rates of a layer beyond which it carries nothing: it never fires, or always does."""
COLLAPSED = 0.05
"""Embedding deviation (1 in a healthy batch) below which all embeddings are one."""


def warn(message: str) -> None:
    """Say a warning on stderr; a progress bar there moves out of the way."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class Journal:
    """The numbers of a training.

    Attributes:
        path: of a JSON Lines file, one object a line: step, epoch, loss, lr, images_per_s and what
            was noted. Lines beyond the step that a resumed training begins at are dropped.
        every: steps between two lines. tensorboard: folder for TensorBoard's event files.
        tell: takes each warning, said once.
    """

    path: Path | None = None
    every: int = 50
    tensorboard: Path | None = None
    tell: Callable[[str], None] = warn
    due: bool = False
    _noted: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _board: Any = None

    @contextmanager
    def watching(self, module: nn.Module, steps_done: int) -> Iterator[None]:
        """Within the context the spike rates of `module` are noted on the steps that are due."""
        self._begin(steps_done)
        hooks = [
            layer.register_forward_hook(partial(self._spikes, name))
            for name, layer in module.named_modules()
            if isinstance(layer, LIF)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            if self._board is not None:
                self._board.close()

    def _begin(self, steps_done: int) -> None:
        if self.tensorboard is not None:
            self._board = _summary_writer(self.tensorboard, steps_done)
        if self.path is not None:
            kept = _lines_until(self.path, steps_done) if steps_done else []
            with atomic_path(self.path, force=True) as temporary:
                temporary.write_text("".join(kept), encoding="utf-8")

    def begin_step(self, step: int) -> None:
        """Say which step (from 1) comes; whether it is due follows."""
        self.due = step == 1 or step % self.every == 0
        self._noted.clear()

    def note(self, name: str, value: float) -> None:
        """Keep a number for the line of this step."""
        self._noted[name] = value

    def warn_once(self, about: str, message: str) -> None:
        """Say a warning, once for each `about`."""
        if about not in self._told:
            self._told.add(about)
            self.tell(message)

    def end_step(self, step: int, **values: float) -> None:
        """Write the line of a step that is due."""
        if not self.due:
            return
        line = {"step": step, **values, **self._noted}
        if self.path is not None:
            append_whole(self.path, json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in line.items():
                self._board.add_scalar(name, value, step)

    def embeddings(self, z: Tensor) -> None:
        """Note how widely embeddings [N, D] spread, and warn where they have collapsed."""
        if not z.isfinite().all():
            return  # the loss says so
        deviation = embedding_deviation(z)
        self.note("embedding_deviation", deviation)
        self.note("effective_rank", effective_rank(z))
        if deviation < COLLAPSED:
            self.warn_once(
                "collapse",
                f"the embeddings have collapsed: deviation {deviation:.3f}, healthy near 1; "
                "lower --lr, or take another --pair",
            )

    def _spikes(self, name: str, layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if not (self.due and layer.training):  # a network that is traced is in eval mode
            return
        mixed = isinstance(layer, MixedLIF) and layer.dual and layer.training
        spikes = output[:, : output.shape[1] // 2] if mixed else output
        rate = float(spikes.detach().float().mean())
        self.note(f"spike_rate/{name}", rate)
        if not DEAD <= rate <= SATURATED:
            state = "dead" if rate < DEAD else "saturated"
            self.warn_once(
                f"{state} {name}", f"{name} is {state}: it fires in {rate:.2%} of its steps"
            )


def embedding_deviation(z: Tensor) -> float:
    """Return sqrt(D) times the mean deviation of L2-normalised embeddings z [N, D].

    1 where they spread evenly over the sphere, 0 where all are one (Chen and He, arXiv 2011.10566,
    section 4.1, there without the factor).
    """
    unit = nn.functional.normalize(z.detach().float(), dim=1)
    deviation = float(unit.std(0, correction=0).mean())
    return deviation * math.sqrt(z.shape[1])


def effective_rank(z: Tensor) -> float:
    """Return exp(-sum p log p), p the singular values of z [N, D] over their sum.

    Roy and Vetterli, EUSIPCO 2007; for embeddings Garrido et al., arXiv 2210.02885, eq. 1.
    """
    values = _singular_values(z.detach().float())
    p = values / values.sum() + 1e-7
    rank: float = (-(p * p.log()).sum()).exp().item()
    return rank


def _singular_values(z: Tensor) -> Tensor:
    from torch.linalg import eigvalsh

    gram = z.T @ z if len(z) >= z.shape[1] else z @ z.T
    values: Tensor = eigvalsh(gram)
    return values.clamp(min=0).sqrt()


def _lines_until(path: Path, steps_done: int) -> list[str]:
    """Return the whole lines of the steps that count."""
    if not path.is_file():
        return []
    kept: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            whole = line.endswith("\n") and int(json.loads(line)["step"]) <= steps_done
        except (ValueError, KeyError, TypeError):
            whole = False
        if whole:
            kept.append(line)
    return kept


def _summary_writer(folder: Path, steps_done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        install = "pip install tensorboard"
        raise MissingPackageError.of("tensorboard", "write event files", install) from None
    return SummaryWriter(str(folder), purge_step=steps_done + 1)
