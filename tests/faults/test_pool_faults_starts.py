"""Threads of a pool whose start fails, is interrupted, or takes long."""

from __future__ import annotations

import threading

import pytest

from counterpoint.futures import ThreadPoolExecutor
from tests.faults.scripts import run
from tests.support import DEADLINE, eventually
from tests.unit.pools import Busy


class TestStarts:
    """Starting a thread runs Python code, in which a signal handler may raise."""

    @pytest.mark.parametrize("arrives", ["before", "after"])
    def test_an_interruption_after_the_start(
        self, monkeypatch: pytest.MonkeyPatch, arrives: str
    ) -> None:
        begun, go_on = threading.Event(), threading.Event()
        real = threading.Thread.start

        def initialize() -> None:
            begun.set()
            assert go_on.wait(DEADLINE)

        pool = ThreadPoolExecutor(1, initializer=initialize)

        def start(thread: threading.Thread) -> None:
            real(thread)
            assert begun.wait(DEADLINE)
            if arrives == "before":
                go_on.set()
                eventually(lambda: ran)
            raise KeyboardInterrupt

        ran: list[int] = []
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(ran.append, 1)
        monkeypatch.undo()
        go_on.set()
        assert [pool.submit(abs, -n).result(DEADLINE) for n in range(3)] == [0, 1, 2]
        assert ran == [1]
        threads = list(pool._threads)
        assert len(threads) == 1
        pool.shutdown()
        assert not any(thread.is_alive() for thread in threads)
        assert pool._counterpoint_pool.sizes() == (0, 0, 0)

    def test_an_interruption_before_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(_: threading.Thread) -> None:
            monkeypatch.undo()
            raise KeyboardInterrupt

        with ThreadPoolExecutor(1) as pool:
            monkeypatch.setattr(threading.Thread, "start", start)
            with pytest.raises(KeyboardInterrupt):
                pool.submit(int)
            assert pool.submit(abs, -1).result(DEADLINE) == 1

    def test_a_failed_start_leaves_a_usable_pool(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with ThreadPoolExecutor(1) as pool:
            monkeypatch.setattr(threading.Thread, "start", start)
            for _ in range(3):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    pool.submit(int)
            monkeypatch.undo()
            assert not pool._threads
            assert pool.submit(abs, -1).result(DEADLINE) == 1

    def test_a_thread_that_ends_before_it_works_is_replaced(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Interruption(BaseException):
            pass

        start, alive = threading.Thread.start, threading.Event()

        def interrupted(thread: threading.Thread) -> None:
            # What a signal's handler raises here may end the thread that is waited for.
            monkeypatch.undo()
            monkeypatch.setattr(thread, "run", lambda: alive.wait(DEADLINE))
            start(thread)
            raise Interruption

        with ThreadPoolExecutor(1) as pool:
            monkeypatch.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(Interruption):
                pool.submit(int)
            alive.set()
            assert pool.submit(abs, -1).result(DEADLINE) == 1

    def test_real_signals(self) -> None:
        program = """
import random, traceback
from counterpoint.futures import ThreadPoolExecutor
class Interruption(BaseException): pass
def handle(*_): raise Interruption
signal.signal(signal.SIGALRM, handle)
def spin():
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
def mend():
    # In CPython 3.14 a handler that raises just behind an `__enter__` leaves the lock locked
    # (gh-148874), this one too, without which no thread starts any more.
    limbo = threading._active_limbo_lock
    if getattr(limbo, "_is_owned", bool)():
        limbo.release()
def ignore(what):
    # So may the thread that `start` waits for: it ends before it comes to anything of ours.
    frames = traceback.extract_tb(what.exc_traceback)
    if any(frame.filename != threading.__file__ for frame in frames):
        sys.__unraisablehook__(what)
sys.unraisablehook = ignore
random.seed(11)
interrupted = 0
# Threads die at the end: what a handler raises in a callback of a weak reference, of which a thread
# has one, the interpreter prints and forgets.
threads = []
for _ in range(300):
    pool = ThreadPoolExecutor(2)
    threads.append(pool._threads)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(20e-6, 400e-6))
            pool.submit(pow, 2, 3)
        except RuntimeError:
            # The stdlib's Condition, with which Thread.start waits, may make this of it.
            pass
        spin()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Interruption:
        interrupted += 1
    stopped = False
    while not stopped:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            stopped = True
            # A handler that is due runs here, and not behind. Before 3.13 a thread that takes the
            # GIL may hide from the main thread that one is; this looks at the signals themselves.
            signal.raise_signal(signal.SIGALRM)
        except Interruption:
            pass
    mend()
    assert pool.submit(pow, 2, 3).result(20) == 8
    pool.shutdown(wait=False)
print(interrupted > 0, flush=True)
# The stdlib's `start`, interrupted, may leave a thread behind that waits for ever.
os._exit(0)
"""
        assert run(program) == "True\n"


def test_a_slow_initializer_keeps_no_task_from_an_idle_worker() -> None:
    first, go_on = threading.Event(), threading.Event()

    def initialize() -> None:
        if first.is_set():
            assert go_on.wait(DEADLINE)
        first.set()

    with ThreadPoolExecutor(2, initializer=initialize) as pool:
        with Busy(pool):
            slow = pool.submit(int)
            eventually(lambda: len(pool._threads) == 2)
        slow.result(DEADLINE)
        eventually(lambda: pool._counterpoint_pool.sizes()[2] == 1)
        assert pool.submit(abs, -1).result(DEADLINE) == 1
        go_on.set()
