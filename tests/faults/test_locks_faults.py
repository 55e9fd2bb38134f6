"""Signals, forks, finalisers and exits in the middle of waiting for a lock."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from counterpoint import threading
from tests.support import DEADLINE, eventually, eventually_async, loops, result, spawn, succeeds
from tests.waits import EXCLUSIVE, WAITS, Elsewhere, Wait, every_wait

# The rest of the program, with `wait` and a subject that is not to be had.
PRELUDE = """
import os, signal, sys, threading, time
sys.path[:0] = sys.argv[2:]
from tests.waits import WAITS, Elsewhere
wait = WAITS[sys.argv[1]]
elsewhere = Elsewhere(wait)
subject = elsewhere.subject
"""
PATHS = (os.getcwd(), os.path.join(os.getcwd(), "python"))


def run(wait: Wait, code: str, timeout: float = 50.0) -> str:
    return succeeds(PRELUDE + code, wait.name, *PATHS, timeout=timeout)


INTERRUPTED = """
# The signal comes at any moment: before the wait, at its first instruction, in the middle.
import random
random.seed(7)
ROUNDS, worst = 60, 0.0
sent = [0.0]
go = threading.Event()
def send():
    for _ in range(ROUNDS):
        go.wait(); go.clear()
        latest = random.choice((0, 0, 1e-5, 5e-5, 2e-4, 1e-3, 5e-3))
        end = time.perf_counter() + latest * random.random()
        while time.perf_counter() < end:
            pass
        sent[0] = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)
sender = threading.Thread(target=send, daemon=True)
sender.start()
delays = []
for _ in range(ROUNDS):
    try:
        go.set()
        wait.take(subject, None)
        raise SystemExit("went on without being let in")
    except KeyboardInterrupt:
        delays.append(time.perf_counter() - sent[0])
    while True:
        try:
            assert wait.waiters(subject) == 0
            if wait.name == "Barrier":
                subject.reset()
            break
        except KeyboardInterrupt:
            pass
sender.join()
delays.sort()
print(delays[ROUNDS // 2], delays[ROUNDS * 9 // 10])
"""


@every_wait
def test_ctrl_c_ends_every_wait_at_once(wait: Wait) -> None:
    """A signal that the futex misses is found within 50 ms; the rest is a busy machine's doing."""
    middle, most = map(float, run(wait, INTERRUPTED).split())
    assert middle < 0.1
    assert most < 0.5


@pytest.fixture
def alarm() -> Iterator[Any]:
    """Sets a handler for SIGUSR1 and returns what sends it."""
    old = signal.getsignal(signal.SIGUSR1)

    def on_signal(handler: Any) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: handler())

    try:
        yield on_signal
    finally:
        signal.signal(signal.SIGUSR1, old)


def send_when(condition: Any) -> Any:
    """Sends the signal to this process as soon as the condition holds."""

    def wait_and_send() -> None:
        eventually(condition)
        os.kill(os.getpid(), signal.SIGUSR1)

    return spawn(wait_and_send)


@pytest.mark.parametrize("name", [n for n in EXCLUSIVE if not n.startswith("Condition")])
def test_a_signal_handler_takes_what_its_thread_waits_for(alarm: Any, name: str) -> None:
    wait = WAITS[name]
    elsewhere = Elsewhere(wait)
    subject = elsewhere.subject
    taken_inside: list[bool] = []

    def handler() -> None:
        elsewhere.free()
        taken_inside.append(wait.take(subject, DEADLINE))
        wait.give(subject)

    alarm(handler)
    sent = send_when(lambda: wait.waiters(subject) == 1)
    assert wait.take(subject, DEADLINE)
    assert taken_inside == [True]
    result(sent)
    elsewhere.end()


@pytest.mark.parametrize("name", ["Event", "Condition", "Condition-Lock", "Barrier", "Semaphore"])
def test_a_signal_handler_lets_its_own_thread_go_on(alarm: Any, name: str) -> None:
    wait = WAITS[name]
    subject = wait.make()
    alarm(lambda: wait.free(subject))
    sent = send_when(lambda: wait.waiters(subject) == 1)
    assert wait.take(subject, DEADLINE)
    result(sent)


@every_wait
def test_a_signal_handler_looks_at_what_its_thread_waits_for(alarm: Any, wait: Wait) -> None:
    seen: list[str] = []
    elsewhere = Elsewhere(wait)
    subject = elsewhere.subject
    alarm(lambda: seen.append(f"{subject!r} {subject.statistics()} {subject.waiters}"))
    sent = send_when(lambda: wait.waiters(subject) == 1)

    def stop(*_: object) -> None:
        raise InterruptedError

    old = signal.signal(signal.SIGUSR2, stop)
    try:
        interrupting = spawn(
            lambda: (eventually(lambda: seen), os.kill(os.getpid(), signal.SIGUSR2))
        )
        with pytest.raises(InterruptedError):
            wait.take(subject, None)
        result(interrupting)
    finally:
        signal.signal(signal.SIGUSR2, old)
    assert len(seen) == 1
    result(sent)
    elsewhere.end()


def test_an_interrupted_condition_holds_its_lock_again() -> None:
    """However long another has it, and however often Ctrl-C is pressed meanwhile."""
    succeeds(
        """
import os, signal, sys, threading as t
sys.path[:0] = sys.argv[1:]
from counterpoint import threading
from tests.support import eventually
for lock in threading.Lock(), threading.RLock():
    condition = threading.Condition(lock)
    waiting, held, go = t.Event(), t.Event(), t.Event()
    def other():
        eventually(lambda: condition.waiters == 1)
        with condition:
            os.kill(os.getpid(), signal.SIGINT)
            eventually(lambda: condition.waiters == 0 and lock.waiters == 1)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
    thread = t.Thread(target=other)
    thread.start()
    try:
        with condition:
            try:
                condition.wait()
            except KeyboardInterrupt:
                assert lock.owner == t.get_ident()
                raise
    except KeyboardInterrupt:
        pass
    while True:
        try:
            thread.join()
            break
        except KeyboardInterrupt:
            pass
    assert not lock.locked()
""",
        *PATHS,
    )


@every_wait
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_fork_uses_what_it_inherits(wait: Wait) -> None:
    subject = wait.make()
    waiting = spawn(wait.take, subject, None)
    eventually(lambda: wait.waiters(subject) == 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)
            use_in_child(wait, subject)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait.free(subject)
    assert result(waiting)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", ["Lock", "Semaphore"])
def test_a_task_of_another_thread_s_loop_is_gone_in_a_child(name: str) -> None:
    """Although its loop, a copy of the parent's, can still be told, and would tell the parent's."""
    subject = threading.Lock() if name == "Lock" else threading.Semaphore(1)
    assert subject.acquire()
    with loops() as [loop]:
        waiting = loop.start(subject.async_acquire())
        eventually(lambda: subject.waiters == 1)
        started = time.monotonic()
        eventually(lambda: time.monotonic() > started + 0.01)  # it is due for a hand-off
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(20)
                subject.release()
                code = 0 if subject.acquire(timeout=0) and subject.waiters == 0 else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not waiting.done()
        subject.release()
        assert result(waiting)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_task_of_the_loop_that_forks_lives_on_in_the_child() -> None:
    """As far as we are concerned: since Python 3.14 asyncio does not let the loop run on there."""

    async def main() -> None:
        lock = threading.Lock()
        assert lock.acquire()
        waiting = asyncio.create_task(lock.async_acquire())
        await eventually_async(lambda: lock.waiters == 1)
        started = time.monotonic()
        await eventually_async(lambda: time.monotonic() > started + 0.01)  # due for a hand-off
        child = os.fork()
        if child == 0:
            lock.release()
            os._exit(0 if lock.locked() and lock.waiters == 0 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        lock.release()
        assert await waiting

    asyncio.run(main())


def use_in_child(wait: Wait, subject: Any) -> None:
    """The one who waited is gone, and takes nothing away from the living."""
    if wait.name == "Barrier":
        subject.reset()
    taken = spawn(wait.take, subject, 10)
    eventually(lambda: wait.waiters(subject) >= 1)
    wait.free(subject)
    assert result(taken)
    fresh = wait.make()
    assert result(spawn(wait.take, fresh, 0.01)) is False


@every_wait
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_signal_handler_forks_and_the_child_waits_on(alarm: Any, wait: Wait) -> None:
    elsewhere = Elsewhere(wait)
    subject = elsewhere.subject
    children: list[int] = []
    is_child = False

    def handler() -> None:
        nonlocal is_child
        child = os.fork()
        if child:
            children.append(child)
        else:
            is_child = True
            signal.alarm(20)

    alarm(handler)
    sent = send_when(lambda: wait.waiters(subject) == 1)
    code = 1
    try:
        taken = wait.take(subject, 0.5)
        code = 0 if taken is False else 1
    finally:
        if is_child:
            os._exit(code)
    assert taken is False
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    result(sent)
    elsewhere.end()


@every_wait
def test_finalisers_and_weakref_callbacks_use_the_same_object(wait: Wait) -> None:
    elsewhere = Elsewhere(wait)
    subject = elsewhere.subject
    used: list[bool] = []

    class Finalised:
        def __del__(self) -> None:
            # Inside a condition's plain lock nobody can take it again, least of all its holder.
            used.append(wait.name == "Condition-Lock" or wait.take(subject, 0) is False)
            repr(subject), subject.statistics()
            if wait.name == "Barrier":
                subject.reset()

    def make_garbage() -> weakref.ref[Any]:
        garbage = Finalised()
        garbage.cycle = garbage  # type: ignore[attr-defined]
        return weakref.ref(garbage, lambda _: used.append(wait.waiters(subject) >= 0))

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            reference = make_garbage()
            wait.take(subject, 0)
            if wait.name == "Barrier":
                subject.reset()
    finally:
        gc.set_threshold(*thresholds)
    del reference
    gc.collect()
    assert used
    assert all(used)
    elsewhere.end()


EXITS = """
# Threads are in the middle of waiting, with and without a timeout, when the interpreter ends.
threads = [
    threading.Thread(target=wait.take, args=(subject, timeout), daemon=True)
    for timeout in (None, 0.05, 30.0) for _ in range(2)
]
for thread in threads:
    thread.start()
if wait.name != "Barrier":
    while wait.waiters(subject) < 4:
        time.sleep(0.001)
"""

RELEASED_LATE = """
# Nothing can be imported any more when it runs, and the records are imported when first asked for.
subject.statistics()
class Late:
    # Runs when the module is torn down, with pyo3 told that the interpreter ends.
    def __del__(self, wait=wait, subject=subject):
        wait.take(subject, 0)
        repr(subject), subject.waiters, subject.statistics()
        if wait.name in ("Lock", "Semaphore", "BoundedSemaphore", "Event", "Condition"):
            wait.free(subject)
late = Late()
late.cycle = late
import builtins
builtins.late = late
"""


@every_wait
@pytest.mark.parametrize("late", ["", RELEASED_LATE], ids=["", "released-late"])
def test_the_interpreter_ends_while_threads_wait(wait: Wait, late: str) -> None:
    started = time.monotonic()
    run(wait, EXITS + late)
    assert time.monotonic() - started < DEADLINE
