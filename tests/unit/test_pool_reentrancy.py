"""Pools and futures used from within their own operations: signals, the collector, weakrefs.

What runs inside (a handler, a destructor, a weakref callback, a done callback) submits to the pool,
or settles and watches the future, that its own thread is in the middle of.
"""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import InvalidStateError
from contextlib import contextmanager
from typing import Any

import pytest

from counterpoint import futures
from counterpoint.futures import Future, ThreadPoolExecutor
from tests.support import DEADLINE, eventually, is_collected

in_the_main_thread = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(),
    reason="signals reach the main thread",
)
STORM = 150
DEPTH = 8

# A pool of one worker and of several, and one that a submission may have to wait for.
POOLS: dict[str, Callable[[], ThreadPoolExecutor]] = {
    "one": lambda: ThreadPoolExecutor(1),
    "three": lambda: ThreadPoolExecutor(3),
    "bounded": lambda: ThreadPoolExecutor(2, max_pending=3),
}
every_pool = pytest.mark.parametrize("make", POOLS.values(), ids=list(POOLS))


@contextmanager
def alarms(handler: Callable[[], object], interval: float = 0.0005) -> Iterator[None]:
    """Runs the handler in the main thread, over and over, wherever that is, itself included.

    Where it has to wait it is not interrupted without end: the stack is not that deep.
    """
    depth, is_over = 0, False

    def handle(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth < DEPTH:
            arm()
        handler()
        depth -= 1
        arm()

    def arm() -> None:
        if not is_over:
            signal.setitimer(signal.ITIMER_REAL, interval)

    old = signal.signal(signal.SIGALRM, handle)
    arm()
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@contextmanager
def eager_collector(threshold: int = 10) -> Iterator[None]:
    """The collector runs every few objects."""
    old = gc.get_threshold()
    gc.set_threshold(threshold)
    try:
        yield
    finally:
        gc.set_threshold(*old)


def settle(future: Future[Any], value: object) -> bool:
    """Whether it was this call that did."""
    try:
        future.set_result(value)
    except InvalidStateError:
        return False
    return True


@in_the_main_thread
@every_pool
def test_a_storm_of_signals_whose_handler_submits(make: Callable[[], ThreadPoolExecutor]) -> None:
    submitted: list[Future[int]] = []

    with make() as pool:

        def handler() -> None:
            # A handler is interrupted by the next signal as anything else is.
            submitted.append(pool.submit(abs, -9))
            pool.statistics()

        done = 0
        with alarms(handler):
            while len(submitted) < STORM:
                batch = [pool.submit(abs, -number) for number in range(20)]
                assert [each.result(DEADLINE) for each in batch] == list(range(20))
                done += 20
        assert [each.result(DEADLINE) for each in submitted] == [9] * len(submitted)
    seen = pool.statistics()
    assert (seen.done, seen.queued, seen.running) == (done + len(submitted), 0, 0)


@in_the_main_thread
@every_pool
def test_a_storm_of_signals_whose_handler_waits_for_what_it_submits(
    make: Callable[[], ThreadPoolExecutor],
) -> None:
    handled = 0

    with make() as pool:

        def handler() -> None:
            nonlocal handled
            assert pool.submit(abs, -7).result(DEADLINE) == 7
            handled += 1

        with alarms(handler, 0.002):
            while handled < 50:
                assert pool.submit(abs, -1).result(DEADLINE) == 1
                assert list(pool.map(abs, range(5))) == list(range(5))


@in_the_main_thread
def test_a_storm_of_signals_whose_handler_settles_the_future_in_hand() -> None:
    current: Future[str] = Future()
    handled, called = 0, list[Future[str]]()
    # No number: the handler of the next signal runs between what is read and what is written.
    by_handler: list[bool] = []

    def handler() -> None:
        nonlocal handled
        handled += 1
        future = current
        future.add_done_callback(called.append)
        by_handler.append(settle(future, "handler"))
        assert future.result(0) in ("handler", "loop")
        watched.append(future)

    watched: list[Future[str]] = []
    rounds = by_loop = 0
    with alarms(handler):
        while handled < STORM:
            current = future = Future()
            future.add_done_callback(called.append)
            watched.append(future)
            by_loop += settle(future, "loop")
            assert future.result(0) in ("handler", "loop")
            assert future.exception(0) is None
            rounds += 1
    # The one before the first round is the handler's, if anybody's.
    assert rounds <= sum(by_handler) + by_loop <= rounds + 1
    # Each callback was called once, with its future.
    assert sorted(map(id, called)) == sorted(map(id, watched))


@in_the_main_thread
@pytest.mark.parametrize("wait", ["result", "exception", "wait", "as_completed"])
def test_a_handler_settles_what_it_interrupts_the_wait_for(wait: str) -> None:
    for _ in range(5):
        future: Future[int] = Future()
        with alarms(lambda future=future: settle(future, 3), 0.01):
            if wait == "result":
                future.result(DEADLINE)
            elif wait == "exception":
                assert future.exception(DEADLINE) is None
            elif wait == "wait":
                assert futures.wait([future], DEADLINE).done == {future}
            else:
                assert list(futures.as_completed([future], DEADLINE)) == [future]
        assert future.result(0) == 3


@in_the_main_thread
def test_a_handler_cancels_what_it_interrupts_the_wait_for() -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(release.wait, DEADLINE)
        future = pool.submit(int)
        with alarms(future.cancel, 0.01), pytest.raises(futures.CancelledError):
            future.result(DEADLINE)
        release.set()


@in_the_main_thread
def test_a_handler_makes_the_room_that_its_thread_waits_for() -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1, max_pending=1) as pool:
        pool.submit(release.wait, DEADLINE)
        eventually(lambda: pool.statistics().running == 1)
        pool.submit(int)
        with alarms(release.set, 0.01):
            assert pool.submit(int).result(DEADLINE) == 0


@every_pool
def test_the_collector_runs_destructors_that_submit(make: Callable[[], ThreadPoolExecutor]) -> None:
    submitted: list[Future[int]] = []

    with make() as pool:

        class Cycle:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                submitted.append(pool.submit(abs, -1))

        with eager_collector():
            while len(submitted) < STORM:
                # What stays makes the collector run; it does so whenever something is made.
                Cycle()
                assert pool.submit(abs, -2).result(DEADLINE) == 2
                assert list(pool.map(abs, range(3))) == [0, 1, 2]
        gc.collect()  # none may die when the pool is closed
        assert [each.result(DEADLINE) for each in submitted] == [1] * len(submitted)


def test_the_collector_runs_destructors_that_settle_the_future_in_hand() -> None:
    current: Future[str] = Future()
    died, called = 0, list[Future[str]]()
    watched: list[Future[str]] = []

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            nonlocal died
            died += 1
            watched.append(current)
            current.add_done_callback(called.append)
            settle(current, "collector")
            assert current.done()

    with eager_collector(3):
        while died < STORM:
            Cycle()
            current = future = Future()
            future.add_done_callback(called.append)
            watched.append(future)
            settle(future, "loop")
            assert future.result(0) in ("collector", "loop")
    gc.collect()
    assert sorted(map(id, called)) == sorted(map(id, watched))


def test_a_weakref_callback_submits_from_the_worker_that_lets_go_of_the_argument() -> None:
    answers: list[int] = []

    class Argument:
        def __call__(self) -> int:
            return 1

    with ThreadPoolExecutor(1) as pool:

        def callback(_: object) -> None:
            # The only worker waits here, and does not count.
            answers.append(pool.submit(abs, -5).result(DEADLINE))

        argument = Argument()
        reference = weakref.ref(argument, callback)
        future = pool.submit(argument)
        del argument
        assert future.result(DEADLINE) == 1
        eventually(lambda: answers)
        assert reference() is None
        assert pool.submit(abs, -6).result(DEADLINE) == 6
    assert answers == [5]


def test_a_weakref_callback_submits_when_a_result_is_let_go() -> None:
    class Value:
        pass

    seen: list[Future[int]] = []
    with ThreadPoolExecutor(1) as pool:
        future: Future[Any] = pool.submit(Value)
        reference = weakref.ref(future.result(DEADLINE), lambda _: seen.append(pool.submit(int)))
        del future
        assert is_collected(reference)
        assert [each.result(DEADLINE) for each in seen] == [0]


def test_a_weakref_callback_settles_the_future_that_its_thread_settles() -> None:
    class Held:
        pass

    outcomes: list[bool] = []

    def gone(_: object) -> None:
        outcomes.append(settle(future, "callback"))
        future.add_done_callback(lambda future: outcomes.append(future.done()))

    held = [Held()]
    reference = weakref.ref(held[0], gone)
    future: Future[str] = Future()
    future.add_done_callback(lambda _: held.clear())
    future.set_result("set_result")
    assert reference() is None
    assert (outcomes, future.result(0)) == ([False, True], "set_result")


def test_a_callback_watches_and_settles_its_own_future() -> None:
    seen: list[object] = []

    def callback(future: Future[int]) -> None:
        seen.append(settle(future, 2))
        seen.append(future.result(0))
        future.add_done_callback(lambda future: seen.append(future.cancel()))

    future: Future[int] = Future()
    future.add_done_callback(callback)
    future.add_done_callback(lambda _: seen.append("next"))
    future.set_result(1)
    assert seen == [False, 1, False, "next"]


def test_a_callback_in_the_worker_submits_and_waits() -> None:
    seen: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(threading.Event().wait, 0.01)
        future.add_done_callback(lambda _: seen.append(pool.submit(abs, -3).result(DEADLINE)))
        eventually(lambda: seen)
    assert seen == [3]
