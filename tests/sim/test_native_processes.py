"""The native engine's threads: forked, refused, and in single steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socketpair
from threading import Barrier, Event, Thread

import numpy as np
import pytest

from spikewright.export.ir import Array, InputError
from spikewright.sim import native
from spikewright.sim.native import MOST_THREADS, Native, NativeSession
from tests.fuzz.wide import wide_graph, wide_input

from .test_native import AVAILABLE, wide

HUNG_S = 120
"""After which a child or a thread is taken to hang; on a machine however busy it is done before."""
TOLD = 2
STATM = Path("/proc/self/statm")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
threaded_forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def code_of_child(work: Callable[[], int]) -> int:
    """What `work` returns in a forked child; 1 if it raises, -SIGKILL where it hangs."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    for _ in range(HUNG_S * 100):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def in_child(work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a forked child."""
    return code_of_child(lambda: 0 if work() else 1) == 0


@forks
@threaded_forks
def test_threads_of_a_session_that_was_forked() -> None:
    """The child has none of its parent's threads: it starts its own, and both give the same."""
    session = Native(threads=3).prepare(wide(65, "spikes"))
    x = np.random.default_rng(0).integers(0, 2, (4, 3, 65))
    expected = session.run(x, "output").output

    def same() -> bool:
        return np.array_equal(session.run(x, "output").output, expected)

    assert in_child(same) and same()


@contextmanager
def in_its_midst(hold_next: Callable[[int], None], call: Callable[[], object]) -> Iterator[None]:
    """Within the context another thread is in the midst of `call`; it has ended after it."""
    ours, theirs = socketpair()
    with ours, theirs:
        ours.settimeout(HUNG_S)
        hold_next(theirs.fileno())
        thread = Thread(target=call)
        thread.start()
        try:
            assert ours.recv(1)  # it is there
            yield
        finally:
            ours.send(b".")
            thread.join()


@forks
@threaded_forks
@pytest.mark.parametrize("threads", [1, 2])
def test_a_fork_while_another_thread_runs(threads: int) -> None:
    """The child finds a lock that nobody in it holds: it takes one of its own."""
    session = Native(threads=threads).prepare(wide(65, "spikes"))
    x = np.random.default_rng(0).integers(0, 2, (4, 3, 65)).astype(np.uint8)
    expected = session.run(x, "output").output
    outputs: list[Array] = []
    with in_its_midst(
        session._runner.hold_next, lambda: outputs.append(session.run(x, "output").output)
    ):
        assert in_child(lambda: np.array_equal(session.run(x, "output").output, expected))
    assert np.array_equal(outputs, [expected])
    assert np.array_equal(session.run(x, "output").output, expected)


def told(session: NativeSession, x: Array) -> bool:
    """Whether a step is refused because of the fork, in the words that are due."""
    try:
        session.step(x)
    except InputError as error:
        said = str(error)
        assert "forked" in said and "reset()" in said and "threads:" not in said
        return True
    return False


@forks
@threaded_forks
@pytest.mark.parametrize("threads", [1, 3])
def test_a_fork_while_another_thread_steps(threads: int) -> None:
    """The child's copy of the state is half advanced: it is told so, and a reset mends it."""
    session = Native(threads).prepare(wide(300, "spikes"))
    x = np.random.default_rng(0).integers(0, 2, (20, 300)).astype(np.uint8)
    steps = [session.step(x) for _ in range(3)]
    session.reset()
    session.step(x)

    def told_then_mended() -> bool:
        refused = told(session, x) and told(session, x)
        session.reset()
        return refused and np.array_equal(session.step(x), steps[0])

    outputs: list[Array] = []
    with in_its_midst(session._stream.hold_next, lambda: outputs.append(session.step(x))):
        assert in_child(told_then_mended)
    assert np.array_equal(outputs, steps[1:2])
    assert in_child(lambda: np.array_equal(session.step(x), steps[2])), "nobody was in a step"
    assert np.array_equal(session.step(x), steps[2])


@forks
@threaded_forks
@pytest.mark.parametrize("threads", [1, 3])
def test_forks_at_any_moment_of_steps(threads: int) -> None:
    """Wherever a fork falls, the child is told, or goes on; a reset gives the first step."""
    session = Native(threads).prepare(wide(300, "spikes"))
    x = np.random.default_rng(0).integers(0, 2, (500, 300)).astype(np.uint8)
    first = session.step(x)
    ends = Event()

    def work() -> None:
        while not ends.is_set():
            session.step(x)

    def told_or_going_on() -> int:
        code = TOLD if told(session, x) else 0
        session.reset()
        return code if np.array_equal(session.step(x), first) else 1

    thread = Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            assert code_of_child(told_or_going_on) in (0, TOLD)
    finally:
        ends.set()
        thread.join()


@forks
def test_threads_of_a_forked_child_step_at_once() -> None:
    """Nobody was in a step at the fork: no thread takes another one's step for its parent's."""
    session = Native().prepare(wide(65, "spikes"))
    x = np.ones((200, 65), np.uint8)
    session.step(x)

    def all_go_on() -> bool:
        done: list[int] = []
        together = Barrier(4)

        def work() -> None:
            together.wait()
            session.step(x)
            done.append(1)

        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(done) == 4

    for _ in range(10):
        assert in_child(all_go_on)


def test_too_many_threads_are_refused() -> None:
    said = f"threads 200000, at most {MOST_THREADS}; as many as this process may use"
    with pytest.raises(InputError, match=said):
        Native(threads=200_000)


@forks
@pytest.mark.parametrize("in_step", [False, True])
def test_threads_that_the_system_does_not_start(in_step: bool) -> None:
    """In a process of its own, whose memory has no room for so many stacks; then it has."""
    resource = pytest.importorskip("resource")
    if not STATM.exists():
        pytest.skip("no /proc on this platform")
    graph = wide(65, "spikes")
    x: Array = np.random.default_rng(0).integers(0, 2, (2, 128, 65)).astype(np.uint8)
    expected = Native().prepare(graph).run(x, "output").output
    session = Native(threads=128).prepare(graph)

    def output() -> Array:
        if in_step:
            return np.stack([session.step(frame) for frame in x])
        return session.run(x, "output").output

    def refused_then_lent() -> bool:
        held = int(STATM.read_text().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (held + 2**27, before[1]))
        with pytest.raises(InputError, match=r"128 threads: .*fewer threads") as refused:
            output()
        resource.setrlimit(resource.RLIMIT_AS, before)
        return "reset()" not in str(refused.value) and np.array_equal(output(), expected)

    assert in_child(refused_then_lent)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("isa", AVAILABLE)
def test_threads_share_the_rows_of_a_step(isa: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = wide_graph(rng)
    x = wide_input(graph, rng)
    whole = Native(isa=isa).prepare(graph).run(x, "output").output
    for threads in (2, 3):
        session = Native(threads, isa).prepare(graph)
        assert np.array_equal(np.stack([session.step(frame) for frame in x]), whole)


class Refusing:
    """An engine on a system that lends no AMX."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def isa_available(self) -> list[str]:
        return ["generic", "avx512vnni", "amx"]

    def isa_lent(self, isa: str) -> bool:
        self.asked.append(isa)
        return isa != "amx"


def test_registers_that_are_not_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing asks for nothing; a refused table of choice gives way, a forced one is an error."""
    asked: list[str] = []
    monkeypatch.setattr(native, "_engine", lambda: Refusing(asked))
    monkeypatch.delenv(native.ISA_VARIABLE, raising=False)
    assert native.isa_info()["chosen"] == "amx" and not asked
    assert native._lent_isa(native._engine(), None) == "avx512vnni"
    with pytest.raises(InputError, match="'amx'"):
        native._lent_isa(native._engine(), "amx")
