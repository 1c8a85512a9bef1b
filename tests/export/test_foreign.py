"""Live modules of other frameworks: traced by `lower`, equal to their own run in every spike.

Each framework's tests run where it is installed. Weights are multiples of 1/32 and thresholds
stand between the values that potentials take, so that float32 decides nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikewright as sw
from spikewright.export.foreign import PACKAGES
from spikewright.export.ir import Delay, LoweringError, Neuron
from spikewright.export.trace import example_layout, trace

torch = pytest.importorskip("torch")
nn = torch.nn
GRID = 1 / 32
NEAR = GRID / 3 + GRID / 1024


def filled(module: Any, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            for values in filter(torch.is_tensor, (layer.weight, layer.bias)):
                codes = torch.randint(-24, 33, values.shape, generator=generator)
                values.data = codes.float() * GRID
    return module


def threshold(level: float) -> float:
    return round(level / GRID) * GRID + NEAR


def spikes(*shape: int) -> Any:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(3)) < 0.4).float()


def assert_equal(module: Any, sample: Any, least: float = 0.05, **options: Any) -> Any:
    module = filled(module)
    samples = example_layout(module, sample).samples(sample)
    found = sw.agreement(module, samples, **options)
    assert found.by_neuron and found.spike_rate > least, found
    assert found.equal, str(found)
    return found


class TestSnntorch:
    """snntorch 1.0: states held inside, handed along, or in a loop inside forward()."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        self.snn = pytest.importorskip("snntorch", reason="pip install snntorch==1.0.0")

    def two(self, **options: Any) -> tuple[Any, Any]:
        return tuple(
            self.snn.Leaky(beta=0.5, threshold=threshold(level), **options) for level in (1.5, 1)
        )

    @pytest.mark.parametrize("reset", ["subtract", "zero"])
    def test_state_held_inside(self, reset: str) -> None:
        one, two = self.two(init_hidden=True, reset_mechanism=reset)
        two.output = True
        module = nn.Sequential(nn.Flatten(), nn.Linear(20, 16), one, nn.Linear(16, 5), two)
        assert_equal(module, spikes(3, 4, 5), time_steps=20)

    def test_a_loop_over_time_as_in_the_tutorials(self) -> None:
        snn = self.snn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc1, self.fc2 = nn.Linear(20, 16), nn.Linear(16, 5)
                self.lif1 = snn.Leaky(beta=0.5, threshold=threshold(1.5))
                self.lif2 = snn.Leaky(beta=0.5, threshold=threshold(1))

            def forward(self, x: Any) -> Any:
                mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
                spk_rec, mem_rec = [], []
                for step in range(x.size(0)):
                    spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
                    spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                    spk_rec.append(spk2)
                    mem_rec.append(mem2)
                return torch.stack(spk_rec, dim=0), torch.stack(mem_rec, dim=0)

        module = Net()
        assert_equal(module, spikes(20, 3, 20))
        graph = trace(module, spikes(20, 3, 20))
        assert graph.metadata["time_steps"] == 20 and graph.input.shape == (20,)
        assert list(graph.neurons) == ["lif1", "lif2"]
        assert graph.neurons["lif1"].reset == "soft_after_decay"

    def test_the_same_frame_in_every_step(self) -> None:
        one, two = self.two()

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc1, self.fc2, self.one, self.two = (
                    nn.Linear(20, 16),
                    nn.Linear(16, 5),
                    one,
                    two,
                )

            def forward(self, x: Any, steps: int = 8) -> Any:
                mem1 = mem2 = None
                found = []
                for _ in range(steps):
                    spk1, mem1 = self.one(self.fc1(x), mem1)
                    spk2, mem2 = self.two(self.fc2(spk1), mem2)
                    found.append(spk2)
                return torch.stack(found)

        assert_equal(Net(), spikes(3, 20))

    def test_synaptic_and_recurrent(self) -> None:
        snn = self.snn
        synaptic = snn.Synaptic(alpha=0.5, beta=0.5, threshold=threshold(2), init_hidden=True)
        loop = snn.RLeaky(
            beta=0.5, linear_features=16, threshold=threshold(2), init_hidden=True,
            reset_mechanism="zero", reset_delay=False,
        )  # fmt: skip
        module = nn.Sequential(nn.Linear(20, 16), loop, nn.Linear(16, 6), synaptic)
        assert_equal(module, spikes(3, 20), time_steps=20)
        assert list(trace(module, spikes(3, 20)).of_kind(Delay)) == ["1.delay"]

    def test_what_cannot_be_said_is_refused(self) -> None:
        snn = self.snn
        cases = {
            "reset_mechanism 'none'": snn.Leaky(beta=0.5, reset_mechanism="none", init_hidden=True),
            "state_quant": snn.Leaky(beta=0.5, state_quant=lambda v: v, init_hidden=True),
            "drops the step": snn.Synaptic(
                alpha=0.5, beta=0.5, reset_mechanism="zero", init_hidden=True
            ),
            "no rule for the layer Alpha": snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
        }
        for says, layer in cases.items():
            with pytest.raises(LoweringError, match=says) as caught:
                trace(nn.Sequential(nn.Linear(4, 4), layer), spikes(2, 4))
            if isinstance(layer, snn.Alpha):
                assert "known: Leaky, Synaptic, RLeaky, RSynaptic;" in str(caught.value)

    def test_a_state_that_is_computed_is_refused(self) -> None:
        one, _ = self.two()

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc, self.one = nn.Linear(20, 16), one

            def forward(self, x: Any) -> Any:
                mem, found = None, []
                for _ in range(3):
                    spk, mem = self.one(self.fc(x), mem)
                    mem = mem * 0.5
                    found.append(spk)
                return torch.stack(found)

        with pytest.raises(LoweringError, match="computed outside"):
            trace(Net(), spikes(2, 20))

    def test_tracing_leaves_the_state_as_it_was(self) -> None:
        one, _ = self.two(init_hidden=True)
        module = nn.Sequential(nn.Linear(20, 16), one)
        module(spikes(7, 20))
        before = one.mem.clone()
        trace(module, spikes(3, 20))
        assert torch.equal(one.mem, before)

    def test_lowering_reports_the_agreement(self) -> None:
        one, two = self.two(init_hidden=True)
        module = filled(nn.Sequential(nn.Linear(20, 16), one, nn.Linear(16, 5), two))
        graph = sw.lower(module, spikes(3, 20), level="float", time_steps=12)
        assert graph.metadata["agreement"]["differ"] == 0
        integer = sw.lower(module, spikes(3, 20), time_steps=12)
        assert integer.level == "integer" and integer.metadata["agreement"]["differ"] == 0


class TestSpikingjelly:
    """spikingjelly 2.0, single step and multi-step."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        reason = "pip install --no-deps spikingjelly==2.0.0"
        self.neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
        self.layer = pytest.importorskip("spikingjelly.activation_based.layer", reason=reason)
        self.functional = sys.modules["spikingjelly.activation_based"].functional

    def module(self) -> Any:
        layer, neuron = self.layer, self.neuron
        return nn.Sequential(
            layer.Conv2d(3, 6, 3, padding=1),
            neuron.IFNode(v_threshold=threshold(2), v_reset=None),
            layer.AvgPool2d(2, 2),
            layer.Conv2d(6, 4, 3),
            neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=threshold(0.5)),
            layer.Flatten(),
            layer.Linear(4, 8),
            neuron.ParametricLIFNode(init_tau=2.0, decay_input=False, v_threshold=threshold(0.5)),
            layer.Linear(8, 5),
            neuron.CUBALIFNode(0.5, 0.5, threshold(1)),
        )

    def test_single_step(self) -> None:
        assert_equal(self.module(), spikes(4, 3, 6, 6), time_steps=20)

    def test_multi_step(self) -> None:
        module = self.module()
        self.functional.set_step_mode(module, "m")
        found = assert_equal(module, spikes(20, 4, 3, 6, 6))
        assert len(found.by_neuron) == 4

    def test_reset_to_a_value_and_leak_toward_it(self) -> None:
        node = self.neuron.LIFNode(2.0, False, threshold(1), v_reset=-0.25)
        assert_equal(nn.Sequential(nn.Linear(20, 16), node), spikes(4, 20), time_steps=20)


class TestNorse:
    """norse 1.1: states handed along, by SequentialState or by hand."""

    @pytest.fixture(autouse=True)
    def names(self) -> None:
        reason = "pip install --no-deps norse==1.1.0"
        self.norse = pytest.importorskip("norse.torch", reason=reason)
        self.box = pytest.importorskip("norse.torch.module.lif_box", reason=reason)

    def lif(self, level: float) -> Any:
        p = self.box.LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(level))
        return self.box.LIFBoxCell(p, dt=1e-3)

    def test_sequential_state(self) -> None:
        norse = self.norse
        p = norse.LIFParameters(
            tau_mem_inv=torch.tensor(250.0),
            tau_syn_inv=torch.tensor(500.0),
            v_th=torch.tensor(threshold(0.5)),
        )
        module = norse.SequentialState(
            nn.Conv2d(3, 6, 3, padding=1),
            self.lif(threshold(0.5)),
            nn.Conv2d(6, 4, 3),
            norse.LIFCell(p, dt=1e-3),
            nn.Flatten(),
            nn.Linear(64, 5),
            norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(threshold(2)))),
        )
        assert_equal(module, spikes(4, 3, 6, 6), time_steps=20)

    def test_states_by_hand(self) -> None:
        one, two = self.lif(threshold(0.5)), self.lif(threshold(0.25))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc1, self.one, self.fc2, self.two = (
                    nn.Linear(20, 16),
                    one,
                    nn.Linear(16, 5),
                    two,
                )

            def forward(self, x: Any) -> Any:
                s1 = s2 = None
                found = []
                for x_t in x:
                    z, s1 = self.one(self.fc1(x_t), s1)
                    z, s2 = self.two(self.fc2(z), s2)
                    found.append(z)
                return torch.stack(found)

        assert_equal(Net(), spikes(20, 3, 20))

    def test_over_time(self) -> None:
        norse = self.norse
        p = norse.LIFParameters(
            torch.tensor(500.0), torch.tensor(250.0), v_th=torch.tensor(threshold(1))
        )
        module = norse.SequentialState(
            nn.Linear(20, 16), norse.LIF(p), nn.Linear(16, 8), norse.LIF(p)
        )
        assert_equal(module, spikes(20, 3, 20))


class TestSinabs:
    """sinabs 3.1: [batch, time, ...], and squeezed to [batch * time, ...]."""

    @pytest.fixture(autouse=True)
    def layers(self) -> None:
        reason = "pip install --no-deps sinabs==3.1.3"
        self.sl = pytest.importorskip("sinabs.layers", reason=reason)
        self.activation = pytest.importorskip("sinabs.activation", reason=reason)

    def test_squeezed(self) -> None:
        sl = self.sl
        module = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            sl.IAFSqueeze(spike_threshold=torch.tensor(threshold(2)), min_v_mem=-2.0, batch_size=4),
            sl.SumPool2d(2),
            nn.Flatten(),
            nn.Linear(54, 5),
            sl.LIFSqueeze(tau_mem=2.0, spike_threshold=torch.tensor(threshold(2)), batch_size=4),
        )
        assert_equal(module, spikes(80, 3, 6, 6))

    def test_batch_first(self) -> None:
        sl, activation = self.sl, self.activation
        single = {"spike_fn": activation.SingleSpike, "reset_fn": activation.MembraneReset()}
        module = nn.Sequential(
            nn.Linear(20, 16),
            sl.LIF(4.0, spike_threshold=torch.tensor(threshold(0.5)), **single),
            nn.Linear(16, 5),
            sl.LIF(4.0, 3.0, torch.tensor(threshold(2)), norm_input=False),
        )
        assert_equal(module, spikes(4, 20, 20))

    @pytest.mark.parametrize("norm_input", [True, False])
    def test_trained_decays(self, norm_input: bool) -> None:
        """alphas in place of time constants; 4 / ln 2 halves in 4 steps."""
        sl, options = self.sl, {"train_alphas": True, "norm_input": norm_input}
        half = 1 / np.log(2)
        module = nn.Sequential(
            nn.Linear(20, 16),
            sl.LIF(half, spike_threshold=torch.tensor(threshold(0.5)), **options),
            nn.Linear(16, 5),
            sl.LIF(half, half, torch.tensor(threshold(1)), **options),
        )
        for layer in (module[1], module[3]):
            layer.alpha_mem.data.fill_(0.5)
        module[3].alpha_syn.data.fill_(0.5)
        assert_equal(module, spikes(4, 20, 20))
        readout = nn.Sequential(*module[:3], sl.ExpLeak(half, train_alphas=True))
        assert trace(readout, spikes(4, 20, 20)).output.readout == "leaky"

    @pytest.mark.parametrize("axis", [0, 1])
    def test_a_mean_over_time_is_one_over_the_second_axis(self, axis: int) -> None:
        layers = nn.Sequential(nn.Linear(20, 16), self.sl.IAF(torch.tensor(threshold(2))))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = layers

            def forward(self, x: Any) -> Any:
                return self.layers(x).mean(axis)

        module, x = filled(Net()), spikes(4, 20, 20)
        if axis == 0:
            with pytest.raises(LoweringError, match="mean over the batch"):
                trace(module, x)
            return
        graph = trace(module, x, encoding="spikes")
        with torch.no_grad():
            own = module(x).numpy()
        assert np.allclose(sw.run(graph, x.numpy()).output[-1] / 20, own) and own.any()

    def test_a_floor_above_rest_is_refused(self) -> None:
        module = nn.Sequential(nn.Linear(20, 16), self.sl.IAF(min_v_mem=0.25))
        with pytest.raises(LoweringError, match="min_v_mem above 0"):
            trace(module, spikes(4, 20, 20))


def test_a_module_without_neurons_is_compared_by_what_it_returns() -> None:
    found = sw.agreement(nn.Linear(3, 3), spikes(2, 3))
    assert found.fault is None and found.outputs is not None and found.outputs < 1e-6


def test_no_framework_is_imported() -> None:
    """The tables are data: a framework that the user has not imported is not needed."""
    for path in (Path(__file__).parents[2] / "export").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & set(PACKAGES), path


def test_lowering_imports_no_framework_that_the_user_has_not() -> None:
    """In a fresh process, on a module of plain torch, with a framework at hand."""
    code = (
        "import sys, torch, spikewright as sw\n"
        "from spikewright.trainer.neurons import LIF\n"
        "net = torch.nn.Sequential(torch.nn.Linear(4, 3), LIF(tau=2.0))\n"
        "sw.lower(net, torch.ones(4, 2, 4))\n"
        f"print(sorted(set({PACKAGES!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_agreement_sees_a_difference() -> None:
    from spikewright.export.ir import Graph, Input, Output
    from spikewright.export.ir.noted import Noted
    from spikewright.sim.agreement import agreement

    neuron = Neuron((2,), np.array(0.5), beta=np.array(0.5))
    nodes = {"in": Input((2,), "spikes"), "n": neuron, "out": Output("spike_count")}
    graph = Graph.chain(nodes, "float")
    x = np.ones((4, 1, 2), np.float32)
    assert agreement(graph, x, {"n": Noted(x, np.ones((4, 1, 2)))}).equal
    found = agreement(graph, x, {"n": Noted(x, np.zeros((4, 1, 2)))})
    assert found.differ == 1 and "100.000% of spikes differ" in str(found)


def test_a_recurrent_neuron_that_is_never_reset_is_refused():
    snn = pytest.importorskip("snntorch")
    layer = snn.RLeaky(0.5, V=0.1, all_to_all=False, reset_mechanism="none", init_hidden=True)
    with pytest.raises(LoweringError, match="reset_mechanism 'none'"):
        trace(torch.nn.Sequential(layer), torch.rand(2, 4))
