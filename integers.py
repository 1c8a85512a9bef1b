"""Integers: the one road from a float graph to a number format or a chip.

    fold -> calibrate -> quantise -> what the chip rewrites -> calibrate for events, where it asks

Whoever needs integers takes it: `lower`, quantisation-aware training, each target of a report. So
the same graph, samples, scale rule and format give the same digest, whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .export.ir import Array, Calibration, Graph, InputError, LoweringError, Profile, analog_nodes
from .export.ir import profile as profile_named
from .export.ir.profile import ScaleRule

if TYPE_CHECKING:
    from .hw_targets.fit import FitReport
    from .hw_targets.target import Target
    from .sim.calibrate import Calibrated


@dataclass(frozen=True, slots=True)
class Format:
    """Where a lowering goes.

    Attributes:
        profile: the number format. chip: whose rewrites follow; None for a mere format.
    """

    profile: Profile
    chip: Target | None = None

    @property
    def tests_events(self) -> bool:
        """Whether the chip tests its threshold after every event."""
        from .hw_targets.target import takes_events

        return self.chip is not None and takes_events(self.chip)


@dataclass(frozen=True, slots=True)
class Samples:
    """What a graph is calibrated on.

    Attributes:
        x: raw samples, [sample, *shape] or [sample, time, *shape]. time_steps: T.
        spec: what they are called, for provenance.
    """

    x: Array
    spec: str
    time_steps: int


def format_of(
    target: str | Target | None, bits: int | None = None, profile: Profile | None = None
) -> Format:
    """Return the format of a chip or number format.

    Args:
        target: a chip, its name or file, or the name of a profile; None: generic.
        bits: of the weights; None: the format's own. profile: instead of the target's.

    Raises:
        UnknownNameError, TargetError: for no such target. InputError: for a width it lacks.
    """
    from .hw_targets.target import chip_for

    chip = chip_for(target) if target is None or isinstance(target, str) else target
    name = chip.profile if chip is not None else str(target or "generic")
    form = profile or profile_named(name)
    return Format(form if bits is None else form.with_bits(bits), chip)


class Road:
    """A float or folded graph on its way to integers: folded and calibrated once for all formats.

    Args:
        samples: to calibrate on. scale: how the ranges of inputs and weights are chosen.
        known: what the graph does on the samples, where an earlier lowering found it; then the
            integers are not compared with the floats, and only chips that test events ask for
            samples.
    """

    def __init__(
        self,
        graph: Graph,
        samples: Samples | None,
        scale: ScaleRule = "max",
        known: Calibration | None = None,
    ) -> None:
        self.folded, self._samples, self._known = folded(graph), samples, known
        self.scale: ScaleRule = scale

    @property
    def samples(self) -> Samples:
        """What the graph is calibrated on.

        Raises:
            InputError: where nobody gave any.
        """
        if self._samples is None:
            remedy = "give --calibrate DATA"
            raise InputError("no samples to calibrate on", remedy=remedy)
        return self._samples

    @cached_property
    def calibrated(self) -> Calibrated:
        """What the folded graph does on the samples."""
        from .sim.calibrate import calibrate

        given = self.samples
        return calibrate(self.folded, given.x, given.time_steps, self.scale, given.spec)

    def to(self, form: Format) -> Graph:
        """Return the integer graph in a format, rewritten for its chip.

        Its metadata says `time_steps`, and by neuron `spikes_that_differ` from the float graph.

        Raises:
            LoweringError, BoundsError: for what the format cannot express, naming the node.
        """
        known = self._known or self.calibrated.calibration
        graph = integers(self.folded, known, form, self.scale)
        note = {"time_steps": known.time_steps, **({} if self._known else self._compared(graph))}
        graph = graph.replace(metadata={**graph.metadata, **note})
        return for_events(graph, form, self.samples) if form.tests_events else graph

    def _compared(self, graph: Graph) -> dict[str, Any]:
        from .sim.calibrate import spikes_that_differ

        differ = spikes_that_differ(self.calibrated.trace, graph, self.samples.x)
        return {"spikes_that_differ": differ}


def folded(graph: Graph) -> Graph:
    """Return a float graph folded; a folded one as it is."""
    from .export.fold import fold

    return fold(graph) if graph.level == "float" else graph


def integers(graph: Graph, known: Calibration, form: Format, scale: ScaleRule) -> Graph:
    """Return a float or folded graph as integers, its shifts where the chip has them."""
    from .export.quantise import quantise
    from .hw_targets.shift import fold_shifts

    found = quantise(folded(graph), form.profile, known, scale)
    return found if form.chip is None else fold_shifts(found, form.chip)


def for_events(graph: Graph, form: Format, samples: Samples) -> Graph:
    """Return an integer graph with the thresholds for a chip that tests events."""
    from .hw_targets.event_calibration import calibrate_events

    assert form.chip is not None
    return calibrate_events(graph, samples.x, samples.time_steps, form.chip)


class Again:
    """Lowers networks that differ in their weights alone, as training changes them.

    The first is calibrated, for events too where the chip tests them; the others take the input
    range and the factors of the thresholds from it. None is compared with its floats.

    Args:
        form: whither. scale: see `Road`.
    """

    def __init__(self, form: Format, scale: ScaleRule) -> None:
        self.form = form
        self.scale: ScaleRule = scale
        self._calibration: Calibration | None = None
        self._factors: Mapping[str, float] = {}

    def first(self, graph: Graph, samples: Samples) -> Graph:
        """Calibrate on samples; return the first network's integers."""
        from .hw_targets.event_calibration import factors_of

        road = Road(graph, samples, self.scale)
        self._calibration = road.calibrated.calibration
        found = integers(road.folded, self._calibration, self.form, self.scale)
        if self.form.tests_events:
            found = for_events(found, self.form, samples)
        self._factors = factors_of(found)
        return found

    @property
    def calibrated(self) -> bool:
        """Whether the first network was lowered."""
        return self._calibration is not None

    def next(self, graph: Graph) -> Graph:
        """Return another network's integers."""
        from .hw_targets.event_calibration import raised

        assert self._calibration is not None
        found, chip = integers(graph, self._calibration, self.form, self.scale), self.form.chip
        bits = None if chip is None else chip.limit("threshold_bits")
        return raised(found, self._factors, bits)


def refusal(graph: Graph, form: Format, error: LoweringError) -> FitReport:
    """Return, as a fit report, all that keeps a float or folded graph from a chip's number format.

    Args:
        error: what the lowering stopped at.
    """
    from .hw_targets.fit import refused

    assert form.chip is not None
    return refused(form.chip, [*_neuron_problems(folded(graph), form.profile), error])


def _neuron_problems(graph: Graph, profile: Profile) -> Iterator[LoweringError]:
    from .export.quantise_state import neuron_problems

    host = analog_nodes(graph) if profile.host_analog else ()
    for name, node in graph.neurons.items():
        if name not in host:
            yield from neuron_problems(name, node, profile)
