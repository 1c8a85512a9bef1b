"""NIR in: our own files exactly, everybody's as a float graph.

Other tools' files are discretised as a dialect says (`nir_discretise`), for which NIR has no words;
several edges into a node are added. The graph's metadata records dialect, dt, where dt is from,
the version of nir, the delays put into loops and what was repaired.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..ir import (
    Add,
    Array,
    Delay,
    Edge,
    FormatError,
    Graph,
    InputError,
    Neuron,
    Node,
    Output,
    Scale,
    Shape,
    SpikewrightError,
    check,
)
from ..ir.errors import FormatWarning, warn
from ..ir.graph import ENCODING_ASSUMED
from ..ir.shapes import RULES, ShapeMismatch
from ..names import unused
from ..retime import delay_spikes
from .nir_card import KEY, is_ours, restore, untouched
from .nir_discretise import DIALECTS, dialect_named, step_of
from .nir_file import NirFile, load_nir
from .nir_neurons import Integrator, Part
from .nir_nodes import CONVERTERS, KNOWN
from .nir_site import Site
from .nir_structure import Repairs, entering, no_delay, opened, walking_order, whole

CHANGED = (
    "the nodes were changed since spikewright wrote the file; they are read, not its exact graph"
)
LARGEST_VALUE = 1 << 26
"""The most elements a node may emit a sample and step, as in an archive."""


def read_nir(
    path: str | Path,
    dialect: str | None = None,
    *,
    dt: float | None = None,
    strict: bool = False,
    plain: bool = False,
) -> Graph:
    """Return the graph of a NIR file: exactly ours, or a float graph in steps of dt.

    What older or sloppier files lack is repaired, with one FormatWarning a kind of repair.

    Args:
        dialect: whose discretisation (`nir_discretise`); default: the file's own, else portable.
        dt: seconds a step; default: what the file says, else the dialect's own. Neither can act on
            a graph that is restored exactly, and is refused there.
        strict: refuse what would be repaired.
        plain: read a file of ours as other tools do, without what its metadata restores.

    Raises:
        FormatError: naming the file, the node and what is wrong.
        UnknownNameError: for a dialect that does not exist.
    """
    if dialect is not None:
        dialect_named(dialect)
    try:
        raw = load_nir(Path(path))
    except FormatError as error:
        said = f"{error.node}: {error.reason}" if error.node else error.reason
        raise FormatError(said, node=str(path), remedy=error.remedy) from None
    return graph_of(raw, path, dialect, dt=dt, strict=strict, plain=plain)


def graph_of(
    raw: NirFile,
    path: str | Path,
    dialect: str | None = None,
    *,
    dt: float | None = None,
    strict: bool = False,
    plain: bool = False,
) -> Graph:
    """Return the graph of a NIR file that was loaded; all else as `read_nir`."""
    try:
        repairs = Repairs(strict)
        if is_ours(raw.metadata) and not plain:
            held = restore(np.asarray(raw.metadata[KEY]))
            if untouched(raw):
                _refuse_idle(dialect, dt)
                return held
            repairs.note(f"metadata/{KEY}", CHANGED)
        graph = _Reader(raw, dialect, dt, repairs).graph()
    except SpikewrightError as error:
        said = f"{error.node}: {error.reason}" if error.node else error.reason
        raise FormatError(said, node=str(path), remedy=error.remedy) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        line = " ".join(str(error).split())[:120]
        reason = f"fields of a kind or shape that no NIR has ({type(error).__name__}: {line})"
        raise FormatError(reason, node=str(path), remedy="export it again") from None
    except MemoryError:
        raise FormatError("takes more memory than there is", node=str(path)) from None
    for line in repairs.lines():
        warn(f"{path}: {line}", FormatWarning)
    return graph


def _refuse_idle(dialect: str | None, dt: float | None) -> None:
    """Refuse options that cannot act on a file of ours: its graph holds steps, not seconds."""
    given = {"--dialect": dialect, "--dt": dt}
    idle = [name for name, value in given.items() if value is not None]
    if idle:
        said = f"{' and '.join(idle)} cannot act here, the graph that spikewright wrote is restored"
        raise InputError(said, remedy="leave it out")


class _Reader:
    """Builds the float graph: shapes flow from the Input, so nodes are built in that order."""

    def __init__(
        self, raw: NirFile, dialect: str | None, dt: float | None, repairs: Repairs
    ) -> None:
        said = raw.metadata.get("dialect")
        found = said if isinstance(said, str) and said in DIALECTS else "portable"
        self.name = dialect or found
        self.dialect = dialect_named(self.name)
        self.dt, self.dt_from = step_of(self.name, dt, raw.metadata.get("dt"))
        self.repairs = repairs
        self.raw = whole(opened(raw), repairs)
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.shapes: dict[str, Shape] = {}
        self.cut: list[str] = []
        self.stored: list[tuple[str, str]] = []
        self.taken = set(self.raw.nodes)
        self.sources: dict[str, list[str]] = {name: [] for name in self.raw.nodes}
        self.targets: dict[str, list[str]] = {name: [] for name in self.raw.nodes}
        for source, target in self.raw.edges:
            self.sources[target].append(source)
            self.targets[source].append(target)
        self.readout: Output | None = None

    def graph(self) -> Graph:
        for name, (kind, _) in self.raw.nodes.items():
            if kind not in CONVERTERS:
                known = ", ".join(KNOWN)
                raise FormatError(
                    f"type {kind[:40]} cannot be read", node=name, remedy=f"known: {known}"
                )
        order, back = walking_order(self.raw, self.repairs)
        closing = set(back)
        for name in order:
            self._build(name, closing)
        for name in [n for n in order if self._delays(n)]:
            if name not in self.shapes:
                raise FormatError("the shape of what it delays cannot be told", node=name)
            sources = self._joined(name, self.sources[name])
            self._connect(name, self.nodes[name], sources)
        self.edges += [Edge(*pair) for pair in self.stored]
        self._read_out()
        return check(self._with_metadata(Graph(self.nodes, self.edges, "float")))

    def _with_metadata(self, graph: Graph) -> Graph:
        """Delays that were put into loops store spikes; the metadata names them."""
        moved = delay_spikes(graph, self.cut, past_bias=self.dialect.delays_spikes)
        more = [name for name in moved.of_kind(Delay) if name not in graph.nodes]
        return moved.replace(metadata=self._metadata([*self.cut, *more]))

    def _metadata(self, delays: list[str]) -> dict[str, Any]:
        return {
            "dialect": self.name,
            "scheme": "exponential" if self.dialect.exponential else "euler",
            "dt": self.dt,
            "dt_from": self.dt_from,
            "nir_version": self.raw.version,
            "delays": delays,
            "repairs": self.repairs.lines(),
            ENCODING_ASSUMED: True,
        }

    def _read_out(self) -> None:
        """Give the Output the readout of what feeds it."""
        name = next(n for n, node in self.nodes.items() if isinstance(node, Output))
        feeding = [self.nodes[e.source] for e in self.edges if e.target == name]
        spikes = any(isinstance(node, Neuron) for node in feeding)
        usual = Output("spike_count" if spikes else "integrate")
        self.nodes[name] = self.readout or usual

    def _build(self, name: str, closing: set[tuple[str, str]]) -> None:
        if self._delays(name):
            self._delay(name)
            return
        self._shape_delays(name)
        sources = [source for source in self.sources[name] if (source, name) not in closing]
        shape = self.shapes[sources[0]] if sources else ()
        behind = [source for source in self.sources[name] if (source, name) in closing]
        sources += [self._step_back(source, name, shape) for source in behind]
        sources = self._joined(name, sources)
        parts = self._parts(name, shape if len(sources) < 2 else self.shapes[sources[0]])
        if self._ends(name, parts):
            last = parts.pop()
            assert isinstance(last, Integrator)
            self.readout = _readout(last)
            parts = parts or [Scale(np.ones(()))]
        for k, part in enumerate(parts):
            inner = f"{name}.{part.kind.lower()}{k or ''}"
            label = name if k == len(parts) - 1 else self._unused(inner)
            self._put(label, part, sources)
            sources = [label]

    def _parts(self, name: str, shape: Shape) -> list[Part]:
        kind, fields = self.raw.nodes[name]
        site = Site(name, kind, fields, shape, self.dialect, self.dt, self.repairs)
        try:
            return CONVERTERS[kind](site)
        except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
            line = " ".join(str(error).split())[:120]
            raise FormatError(f"its fields cannot be used ({line})", node=name) from None

    def _ends(self, name: str, parts: list[Part]) -> bool:
        """Whether a state that never spikes is all that the Output reads, and so its readout."""
        ends = self.targets[name]
        alone = len(ends) == 1 and self.raw.nodes[ends[0]][0] == "Output"
        return alone and len(self.sources[ends[0]]) == 1 and isinstance(parts[-1], Integrator)

    def _step_back(self, source: str, target: str, shape: Shape) -> str:
        """The value that comes back around a loop, one step later."""
        label = self._unused(f"{source}.to.{target}")
        self.nodes[label], self.shapes[label] = Delay(shape), shape
        self.stored.append((source, label))
        self.cut.append(label)
        return label

    def _delays(self, name: str) -> bool:
        kind, fields = self.raw.nodes[name]
        return kind == "Delay" and not no_delay(fields)

    def _shape_delays(self, name: str) -> None:
        """Give a Delay in a loop whose shape nothing says the shape that `name`, behind it, takes.

        Raises:
            FormatError: where that cannot be told either.
        """
        sources = self.sources[name]
        for delay in [
            s for s in sources if s not in self.shapes and self.raw.nodes[s][0] == "Delay"
        ]:
            beside = [self.shapes[source] for source in sources if source in self.shapes]
            shape = beside[0] if beside else entering(*self.raw.nodes[name])
            if shape is None:
                raise FormatError("the shape of what it delays cannot be told", node=delay)
            self._delay(delay, shape)

    def _delay(self, name: str, taken: Shape | None = None) -> None:
        """A delay of the file's own; what it stores is connected once all nodes stand."""
        kind, fields = self.raw.nodes[name]
        known = [self.shapes[a] for a in self.sources[name] if a in self.shapes]
        shape = taken or (known[0] if known else np.shape(fields.get("delay", ())))
        if shape in ((), (1,)) and taken is None and not known:
            return  # what stands behind it says the shape
        site = Site(name, kind, fields, shape, self.dialect, self.dt, self.repairs)
        exact = site.each("delay") / self.dt
        steps = np.rint(exact)
        if exact.size == 0 or (steps != steps.flat[0]).any() or not 1 <= steps.flat[0] < 1 << 15:
            raise FormatError("delays that differ, below one step or above 32767", node=name)
        if (np.abs(exact - steps) > 1e-3).any():
            raise FormatError(
                f"a delay of {exact.flat[0]:.3f} steps of {self.dt} s",
                node=name,
                remedy="give a --dt of which it is a multiple",
            )
        self.nodes[name], self.shapes[name] = Delay(shape, int(steps.flat[0])), shape

    def _joined(self, name: str, sources: list[str]) -> list[str]:
        """Return the one source of a node, an Add where there are several."""
        if len(sources) < 2:
            return sources
        label = self._unused(f"{name}.sum")
        self._connect(label, Add(), sources)
        return [label]

    def _unused(self, label: str) -> str:
        """Return a name for a node that the file does not have."""
        name = unused(label, self.taken)
        self.taken.add(name)
        return name

    def _put(self, name: str, part: Part, sources: list[str]) -> None:
        if isinstance(part, Integrator):
            self._integrate(name, part, sources[0])
        else:
            self._connect(name, part, sources)

    def _integrate(self, name: str, part: Integrator, source: str) -> None:
        """y[t] = keep y[t-1] + x[t] as a loop of an Add and a Delay."""
        if part.bias is not None:
            raise FormatError(
                "v_leak of a node that never spikes, before the Output",
                node=name,
                remedy="let it feed the Output alone",
            )
        back, shape = self._unused(f"{name}.back"), self.shapes[source]
        self.nodes[back], self.shapes[back] = Delay(shape), shape
        kept = back
        if (part.keep != 1).any():
            kept = self._unused(f"{name}.kept")
            self._connect(kept, Scale(part.keep), [back])
        self._connect(name, Add(), [source, kept])
        self.edges.append(Edge(name, back))

    def _connect(self, name: str, node: Node, sources: list[str]) -> None:
        if name in self.nodes and not isinstance(node, Delay):
            raise FormatError("two nodes of this name", node=name)
        self.nodes[name] = node
        self.edges += [Edge(source, name, port) for port, source in enumerate(sources)]
        try:
            shape = RULES[type(node)](node, *(self.shapes[s] for s in sources))
        except ShapeMismatch as error:
            raise FormatError(str(error), node=name) from None
        except TypeError:
            raise FormatError(f"a {node.kind} with {len(sources)} inputs", node=name) from None
        if not shape or not 1 <= np.prod(shape, dtype=float) <= LARGEST_VALUE:
            raise FormatError(f"shape {shape}, 1..{LARGEST_VALUE} elements are read", node=name)
        self.shapes[name] = shape


def _readout(last: Integrator) -> Output:
    """Return the readout that is this state."""
    if (last.keep == 1).all():
        return Output("integrate", bias=last.bias)
    return Output("leaky", bias=last.bias, beta=_array(last.keep))


def _array(values: Array) -> Array:
    return np.asarray(values, np.float64)
