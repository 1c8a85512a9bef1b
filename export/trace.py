"""Trace: a torch module and one example input to a float graph.

By torch.fx, not torch.export: fx keeps modules, and with them the source paths that every number
and error is traced back to; torch.export decomposes them into operators and unrolls neurons over
time. Layers with a `to_node(shape)` method (our neurons) describe themselves; torch's layers are in
`torch_layers`, functions and methods in `torch_functions`, neurons of snntorch, norse, spikingjelly
and sinabs in `foreign`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .containers import CONTAINERS, Looped, Part
from .foreign import (
    Time,
    class_name,
    foreign_rule,
    is_listed,
    is_stateful,
    known_classes,
    not_taken,
    plain_nodes,
    started,
    time_of,
    value_place,
)
from .foreign_calls import COLLECTED, RETURNED, START, one_step
from .foreign_loop import Loop, repeated
from .foreign_state import kept_state
from .ir import (
    Add,
    Delay,
    Edge,
    Graph,
    Input,
    InputError,
    LoweringError,
    Neuron,
    Node,
    Output,
    Shape,
    SpikewrightError,
    check,
)
from .ir.nodes import Encoding, MaxPool, Readout
from .layout import Layout, layout_of, squeezed_layer
from .loop_output import How, is_last, refuse_collected
from .symbolic import first_line, symbolic, torch_for_tracing
from .time_first import moves_time_first
from .torch_functions import INSTEAD, Lead, adds_constant, averaged_first, convert_call
from .torch_layers import (
    LAYERS,
    RESHAPES,
    LayerRule,
    Refused,
    check_axes,
    rule_of,
    table_name,
    time_folded,
)
from .unwrap import unwrapped
from .users_code import names_its_errors


def trace(
    module: Any,
    sample: Any,
    *,
    encoding: Encoding = "direct",
    readout: Readout | None = None,
    multi_step: bool | None = None,
) -> Graph:
    """Return the float graph of `module` in eval mode (Path A of a dual-path network).

    Args:
        module: a torch.nn.Module whose forward takes one tensor and returns one.
        sample: one example input as the module takes it: [time, batch, *shape] for multi-step
            modules (ours), [batch, *shape] otherwise.
        encoding: how raw samples become values (`Input`).
        readout: of the Output; default `integrate`, or `spike_count` behind a neuron.
        multi_step: whether the first axis is time; default: whether a submodule says so.

    Raises:
        LoweringError: naming the source path that cannot be traced, and the remedy.
    """
    return graph_of(follow(module, sample, multi_step), encoding=encoding, readout=readout)


@dataclass(frozen=True, slots=True)
class Followed:
    """What a module does to an example input.

    Attributes:
        traced: the torch.fx module, reduced to one step where forward() loops over time.
        loop: which it was, or None. layout: where the time of the example lies.
        multi_step: whether a layer takes all steps.
    """

    module: Any
    sample: Any
    traced: Any
    loop: Loop | None
    layout: Layout
    multi_step: bool


@names_its_errors
def follow(module: Any, sample: Any, multi_step: bool | None = None) -> Followed:
    """Follow `module` in eval mode, for `graph_of`.

    Raises:
        LoweringError: naming the source path that cannot be traced, and the remedy.
    """
    torch, module = torch_for_tracing(), unwrapped(module)
    multi = is_multi_step(module) if multi_step is None else multi_step
    with eval_mode(module), kept_state(module), torch.no_grad():
        traced = symbolic(module, sample)
        turned = sample.ndim > 2 and moves_time_first(traced.graph)
        loop = _one_step(traced, sample.swapaxes(0, 1) if turned else sample)
    layout = layout_of(module, sample, multi, loop)
    if turned and layout.order != "steps":
        raise LoweringError(
            "exchanges the first two axes of an input that is not [batch, time, ...]",
            node=type(module).__name__,
            remedy="leave the batch axis in front",
        )
    return Followed(module, sample, traced, loop, layout.turned() if turned else layout, multi)


@names_its_errors
def graph_of(
    followed: Followed, *, encoding: Encoding = "direct", readout: Readout | None = None
) -> Graph:
    """Return the float graph of a module that was followed, see `trace`."""
    torch, traced, loop = torch_for_tracing(), followed.traced, followed.loop
    sample, order, multi = followed.sample, followed.layout.order, followed.multi_step
    if followed.layout.moved:
        sample, order = sample.swapaxes(0, 1), "steps"
    sample = sample if loop is None else loop.first(sample)
    lead = _lead(sample, multi and order != "step", order)
    steps = followed.layout.steps(followed.sample)
    _refuse_unknown(traced)
    with eval_mode(followed.module), kept_state(followed.module) as kept, torch.no_grad():
        _run(torch, traced, sample, multi)
        kept.rest()
        builder = _Builder(traced, lead, encoding, readout)
        builder.repeats = multi and len(lead.sizes) == 1
        # What hooks made of weights in that run is read of the layers.
        for fx_node in traced.graph.nodes:
            builder.add(fx_node)
    known = {"time_steps": steps} if steps else {}
    return check(builder.graph().replace(metadata={**known, **builder.returns}))


def _node_of(layer: Any, shape: Shape) -> Node:
    """Return the node by which a layer describes itself."""
    node = layer.to_node(shape)
    if not isinstance(node, Node):
        raise Refused(
            f"to_node() of {type(layer).__name__} returns a {type(node).__name__}",
            "return a node of spikewright.export.ir, such as a Neuron",
        )
    return node


def example_layout(module: Any, sample: Any) -> Layout:
    """Return on which axis of an example input the time of `module` lies."""
    module = unwrapped(module)
    if squeezed_layer(module) is not None:
        return layout_of(module, sample, True)
    return follow(module, sample).layout


@names_its_errors
def as_example(module: Any, samples: Any) -> Any:
    """Return samples [sample, time, ...] as `module` takes them.

    A module of one step a call has no time axis: it is given its samples as they are.
    """
    if squeezed_layer(module) is not None:
        folded = samples.reshape(-1, *samples.shape[2:])
        return example_layout(module, folded).example(samples)
    if is_multi_step(unwrapped(module)):
        return example_layout(module, samples).example(samples)
    turned = samples.swapaxes(0, 1) if samples.ndim > 1 else samples
    try:
        return turned if example_layout(module, turned).order == "steps" else samples
    except LoweringError:  # a loop of another length: tracing says what is wrong with it
        return samples


def is_multi_step(module: Any) -> bool:
    """Return whether `module` takes [time, batch, ...]: whether a layer of it says so.

    Raises:
        LoweringError: for a layer with a `to_node` of its own that does not say what it takes.
    """
    for path, layer in module.named_modules():
        if hasattr(layer, "to_node") and not hasattr(layer, "multi_step"):
            raise LoweringError(
                f"{type(layer).__name__} has to_node(), but does not say whether it takes "
                "[time, batch, ...] or one step, [batch, ...]",
                node=path or type(layer).__name__,
                remedy="give its class the attribute multi_step = True, or False",
            )
    return any(
        getattr(m, "multi_step", False) or time_of(m) in ("steps", "batch first")
        for m in module.modules()
    )


def _lead(sample: Any, multi_step: bool, order: Time) -> Lead:
    axes = 2 if multi_step else 1
    if sample.ndim <= axes:
        wanted = "[time, batch, ...]" if multi_step else "[batch, ...]"
        raise InputError(f"the example input is {tuple(sample.shape)}, this module takes {wanted}")
    sizes = tuple(int(n) for n in sample.shape[:axes])
    return Lead(sizes, sizes, time=int(order == "batch first"))


@contextmanager
def eval_mode(module: Any) -> Iterator[None]:
    """Within the context the module is in eval mode."""
    training = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, mode in training.items():
            m.training = mode


def _one_step(traced: Any, sample: Any) -> Loop | None:
    """Reduce the fx graph, in place, to one step of its neurons; return the loop it was."""
    modules = dict(traced.named_modules())
    try:
        loop = one_step(traced, modules, is_stateful, tuple(sample.shape))
    except Refused as refused:
        raise refused.at("forward()") from None
    traced.recompile()
    return repeated(traced.graph) if loop is None else loop


def _layer(traced: Any, fx_node: Any) -> str:
    """Return the class of the layer that a node calls, else nothing."""
    if fx_node.op != "call_module":
        return ""
    return type(traced.get_submodule(fx_node.target)).__name__


def _remedy(layer: str, multi_step: bool) -> str | None:
    if not multi_step or not layer.startswith(("Conv", "BatchNorm", "AvgPool", "MaxPool", "Adapt")):
        return None
    return f"the neurons make this a multi-step network, [time, batch, ...]: {time_folded(layer)}"


def _run(torch: Any, traced: Any, sample: Any, multi_step: bool) -> None:
    """Run the sample through, noting each value's shape in `meta`."""

    class Shapes(torch.fx.Interpreter):  # type: ignore[misc]
        def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
            return self.fetch_attr(target).forward(*args, **kwargs)  # its hooks are nodes here

        def run_node(self, n: Any) -> Any:
            try:
                value = super().run_node(n)
            except Exception as error:
                raise LoweringError(
                    f"fails on the example input: {first_line(error)}",
                    node=_path(n),
                    remedy=_remedy(_layer(traced, n), multi_step),
                ) from error
            whole = value[0] if n.op == "call_module" and isinstance(value, tuple) else value
            n.meta["value_shape"] = tuple(whole.shape) if hasattr(whole, "shape") else None
            n.meta["whole"] = value if isinstance(value, tuple) else None
            n.meta["value"] = value if n.op == "get_attr" else None
            return value

    Shapes(traced).run(sample)


def _path(fx_node: Any) -> str:
    """Return the source path: the module called, or the one whose forward() calls the function."""
    if fx_node.op in ("call_module", "get_attr"):
        return str(fx_node.target)
    stack = fx_node.meta.get("nn_module_stack") or {}
    inside = next(reversed(stack), "") if stack else ""
    name = getattr(fx_node.target, "__name__", str(fx_node.target)).strip("_")
    return f"{inside}.{name}" if inside else name


class _Builder:
    """Collects nodes and edges while walking the fx graph."""

    def __init__(
        self, traced: Any, lead: Lead, encoding: Encoding, readout: Readout | None
    ) -> None:
        self.modules = dict(traced.named_modules())
        self.encoding: Encoding = encoding
        self.readout: Readout | None = readout
        self.lead = lead
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.names: dict[Any, str] = {}
        self.spiking: set[Any] = set()
        self.integrators: dict[Any, Output] = {}
        self.potentials: dict[Any, Output] = {}
        self.returns: dict[str, str] = {}
        self.leads: dict[Any, Lead] = {}
        self.repeats = False  # whether one frame becomes all steps within forward()

    def add(self, fx_node: Any) -> None:
        """Convert one fx node."""
        try:
            getattr(self, f"_{fx_node.op}")(fx_node)
        except Refused as refused:
            raise refused.at(self._where(fx_node)) from None
        except SpikewrightError:
            raise
        except Exception as error:  # arguments no rule foresees, a to_node() of the user's
            raise LoweringError(
                f"no rule takes this call ({type(error).__name__}: {first_line(error)})",
                node=self._where(fx_node),
                remedy="write it in a common form, or give what computes it a layer with a "
                "to_node(shape) method",
            ) from error

    def _where(self, fx_node: Any) -> str:
        path = _path(fx_node)
        lines = [ln.strip() for ln in (fx_node.stack_trace or "").splitlines() if "File" in ln]
        lines = [line for line in lines if "/torch/" not in line]
        return path if fx_node.op == "call_module" or not lines else f"{path} ({_place(lines[-1])})"

    def shape(self, fx_node: Any) -> Shape:
        """Return a value's shape without its leading axes."""
        full = fx_node.meta["value_shape"]
        if full is None:
            raise Refused("a value that is not a tensor", "return tensors only")
        return tuple(full[len(self.leads[fx_node].sizes) :])

    def _placeholder(self, fx_node: Any) -> None:
        if self.names:
            raise Refused("forward() takes more than one input", "give the rest default values")
        self.leads[fx_node] = self.lead
        self.names[fx_node] = self._put("input", Input(self.shape(fx_node), self.encoding), ())

    def _get_attr(self, fx_node: Any) -> None:
        """A constant: `convert_call` reads its value where it is used."""

    def _call_module(self, fx_node: Any) -> None:
        module = self.modules[fx_node.target]
        if len(fx_node.args) != 1:
            raise Refused(f"called with {len(fx_node.args)} plain arguments", "pass one tensor")
        source = fx_node.args[0]
        self.leads[fx_node] = self.leads[source]
        before, after = self.shape(source), self.shape(fx_node)
        rule = foreign_rule(module)
        container = CONTAINERS.get(class_name(module))
        if rule is not None or container is not None:
            self.spiking.add(fx_node)
            if self.repeats and len(self.leads[source].sizes) == 1 and is_stateful(module):
                raise Refused(
                    "fires once, before its values are repeated over time",
                    "repeat what enters it",
                )
        if container is not None:
            self._contain(fx_node, container(module, before, after, plain_nodes), source)
            return
        if hasattr(module, "to_node"):
            nodes = [_node_of(module, after)]
        elif rule is not None:
            found = rule(module, after)
            if isinstance(found, Looped):
                self._loop(fx_node, found, source)
                return
            start = fx_node.meta.get(START)
            nodes = found if start is None else started(found, start, after)
        elif table_name(module) in RESHAPES:
            called = convert_call("reshape", fx_node, self.leads)
            self.leads[fx_node], nodes = called.lead, called.nodes
        else:
            layer = _rule(module)
            check_axes(module, before, len(self.leads[source].sizes))
            nodes = layer(module, before, after)
        self._check_lead(fx_node, type(module).__name__)
        if self.leads[source].averaged and any(isinstance(n, (Neuron, MaxPool)) for n in nodes):
            raise averaged_first(f"a {type(module).__name__}")
        if nodes and isinstance(nodes[-1], Output):
            places = self.integrators if value_place(module) == 0 else self.potentials
            places[fx_node] = nodes[-1]
            nodes = nodes[:-1]
        self._chain(fx_node, nodes, (source,))

    def _contain(self, fx_node: Any, found: Looped | list[Part], source: Any) -> None:
        """Put what stands for a container."""
        if self.leads[source].averaged:
            raise averaged_first(f"a {type(self.modules[fx_node.target]).__name__}")
        if isinstance(found, Looped):
            self._loop(fx_node, found, source)
            return
        if any(isinstance(part.node, Output) for part in found):
            raise Refused("a readout within a container", "put it behind the container")
        self.names[fx_node] = self._parts(_path(fx_node), found, self.names[source])

    def _check_lead(self, fx_node: Any, layer: str) -> None:
        """Refuse a layer that leaves other axes for time and batch than it was given."""
        sizes, full = self.leads[fx_node].sizes, tuple(fx_node.meta["value_shape"])
        if full[: len(sizes)] != sizes:
            raise Refused(
                f"{layer} makes {list(full)} of time and batch {list(sizes)}",
                "keep these axes as they are",
            )

    def _loop(self, fx_node: Any, looped: Looped, source: Any) -> None:
        """Put what takes back its own value a step later, added to its input."""
        path = _path(fx_node)
        feeding = self._row(f"{path}.input", looped.into, self.names[source])
        delay = f"{path}.delay"
        self.nodes[delay] = Delay(looped.shape)
        back = self._row(f"{path}.recurrent", looped.back, delay)
        total = self._put(f"{path}.sum", Add(), (feeding, back))
        last = self._parts(path, looped.body, total)
        self.edges.append(Edge(last, delay))
        behind, readout = looped.behind, looped.behind[-1] if looped.behind else None
        if isinstance(readout, Output):
            self.integrators[fx_node], behind = readout, behind[:-1]
        self.names[fx_node] = self._row(path, behind, last)

    def _row(self, path: str, nodes: list[Node], feeding: str) -> str:
        """Put `nodes` one behind the other; return the last."""
        return self._parts(path, [Part("", node) for node in nodes], feeding)

    def _parts(self, path: str, parts: list[Part], feeding: str) -> str:
        for part in parts:
            name = f"{path}.{part.path}" if part.path else path
            name = f"{name}.{part.node.kind.lower()}" if name in self.nodes else name
            feeding = self._put(name, part.node, (feeding,))
        return feeding

    def _call_function(self, fx_node: Any) -> None:
        name = getattr(fx_node.target, "__name__", str(fx_node.target))
        self._call(fx_node, name)

    def _call_method(self, fx_node: Any) -> None:
        self._call(fx_node, str(fx_node.target))

    def _call(self, fx_node: Any, name: str) -> None:
        if fx_node.meta["value_shape"] is None:
            return  # a size or another plain value: its uses are seen in the shapes
        if name == "getitem" and fx_node.args[0] in self.spiking:
            self._item(fx_node, fx_node.args[0], fx_node.args[1])
            return
        called = convert_call(name, fx_node, self.leads)
        self.leads[fx_node] = called.lead
        self._chain(fx_node, called.nodes, called.sources)

    def _item(self, fx_node: Any, source: Any, index: Any) -> None:
        """Take one of what a neuron returns: ``spikes, state = neuron(x)``; or its last step."""
        module = self.modules[source.target]
        lead, output = self.leads[source], self.integrators.get(source)
        self.leads[fx_node], self.names[fx_node] = lead, self.names[source]
        if isinstance(source.meta["whole"], tuple):
            output = self.potentials.get(source, output)
            if index != value_place(module):
                raise not_taken(module, index)
        elif output is not None and len(lead.sizes) == 2 and is_last(index, lead.time):
            self.leads[fx_node] = lead.without_time()
            self.returns["returns"] = "last step"
        else:
            raise Refused("takes a part of what a neuron emits", "return every step and neuron")
        if output is not None:
            self.integrators[fx_node] = output

    def _output(self, fx_node: Any) -> None:
        source = fx_node.args[0]
        if source not in self.names:
            raise Refused("forward() does not return one tensor", "return the output only")
        self._note_output(fx_node, source)
        if source in self.potentials:
            raise not_taken(self.modules[source.target], 0)
        if source in self.integrators:
            self._put("output", self.integrators[source], (self.names[source],))
            return
        last = self.nodes[self.names[source]]
        usual: Readout = "spike_count" if last.kind == "Neuron" else "integrate"
        readout: Readout = self.readout or usual
        self._put("output", Output(readout), (self.names[source],))

    def _note_output(self, fx_node: Any, source: Any) -> None:
        """Note which of several tensors is the output, and how its steps are collected."""
        lead, integrates = self.leads[source], source in self.integrators
        how: How | None = fx_node.meta.get(COLLECTED) or ("sum" if lead.summed else None)
        how = how or ("mean" if lead.averaged and not integrates else None)
        if how is not None:
            refuse_collected(how, integrates)
            self.returns["returns"] = how
        whole = source.meta.get("whole")
        pair = isinstance(whole, tuple) and not isinstance(source.meta["whole"][-1], (tuple, list))
        count = len(whole) if pair and len(whole) > 1 else fx_node.meta.get(RETURNED, 1)
        if count > 1:
            name = self.names[source]
            what = f"the spikes of {name}" if isinstance(self.nodes[name], Neuron) else name
            layer = source if source.op == "call_module" else source.args[0]
            what = f"the potential of {_path(layer)}" if integrates else what
            self.returns["took"] = f"the first of {count} values that forward() returns, {what}"

    def _chain(self, fx_node: Any, nodes: list[Node], sources: tuple[Any, ...]) -> None:
        """Put `nodes` one behind the other; the first takes all sources."""
        for source in sources:
            if source in self.integrators:
                raise Refused("reads a leaky integrator", "integrate at the output only")
            if source in self.potentials:
                raise not_taken(self.modules[source.target], 0)
            if self.leads[source].summed and any(adds_constant(node) for node in nodes):
                raise Refused("a bias behind a sum over time", "take the sum over time last")
        feeding = tuple(self.names[source] for source in sources)
        path = _path(fx_node)
        for k, node in enumerate(nodes):
            name = path if k == 0 else f"{path}.{node.kind.lower()}"
            feeding = (self._put(name, node, feeding),)
        self.names[fx_node] = feeding[0]

    def _put(self, name: str, node: Node, sources: tuple[str, ...]) -> str:
        unique, k = name, 2
        while unique in self.nodes:
            unique, k = f"{name}@{k}", k + 1
        self.nodes[unique] = node
        self.edges += [Edge(source, unique, port) for port, source in enumerate(sources)]
        return unique

    def graph(self) -> Graph:
        """Return what was collected, without the nodes that lead nowhere."""
        kept, ways = {"output"}, list(reversed(self.edges))
        for edge in ways:  # every edge was put in after those of its source
            if edge.target in kept:
                kept.add(edge.source)
        nodes = {name: node for name, node in self.nodes.items() if name in kept | {"input"}}
        return Graph(nodes, [edge for edge in self.edges if edge.target in kept], "float")


def _refuse_unknown(traced: Any) -> None:
    """Refuse a layer that no table has, before it is run: it may not run alone."""
    for fx_node in traced.graph.nodes:
        if fx_node.op == "call_module":
            module = traced.get_submodule(fx_node.target)
            if not hasattr(module, "to_node") and not is_stateful(module) and not is_listed(module):
                try:
                    _rule(module)
                except Refused as refused:
                    raise refused.at(_path(fx_node)) from None


def _rule(module: Any) -> LayerRule:
    rule = rule_of(module)
    if rule is None:
        name = type(module).__name__
        known = known_classes(module) or ", ".join(name.rsplit(".", 1)[-1] for name in LAYERS)
        instead = INSTEAD.get("pad" if "Pad" in name else name.lower(), f"known: {known}")
        raise Refused(
            f"no rule for the layer {name}",
            f"{instead}; or give your own layer a to_node(shape) method",
        )
    return rule


def _place(line: str) -> str:
    """Return ``file.py:12`` of a stack-trace line, without its folder."""
    parts = line.replace('"', "").replace(",", "").split()
    return f"{parts[1].rsplit('/', 1)[-1]}:{parts[3]}"
