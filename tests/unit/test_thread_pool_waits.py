"""Workers whose tasks wait: which of them count against `max_workers`, and which do not."""

from __future__ import annotations

import asyncio
import concurrent.futures as stdlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import futures
from counterpoint.futures import Future, ThreadPoolExecutor, cancellation_token
from tests.support import DEADLINE, eventually, loops, result, spawn
from tests.unit.pools import Busy


def by_await(pool: ThreadPoolExecutor) -> int:
    async def main() -> int:
        return await pool.submit(abs, -1)

    return asyncio.run(main())


def by_wrap_future(pool: ThreadPoolExecutor) -> int:
    async def main() -> int:
        return await asyncio.wrap_future(pool.submit(abs, -1))

    return asyncio.run(main())


def by_run_in_executor(pool: ThreadPoolExecutor) -> int:
    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(pool, abs, -1)

    return asyncio.run(main())


def by_async_for(pool: ThreadPoolExecutor) -> int:
    async def main() -> int:
        completed = futures.as_completed([pool.submit(abs, -1)])
        results = [future.result() async for future in completed]
        return results[0]

    return asyncio.run(main())


def by_stdlib_wait(pool: ThreadPoolExecutor) -> int:
    return stdlib.wait([pool.submit(abs, -1)]).done.pop().result()


def by_stdlib_as_completed(pool: ThreadPoolExecutor) -> int:
    return next(stdlib.as_completed([pool.submit(abs, -1)])).result()


def by_wait(pool: ThreadPoolExecutor) -> int:
    return futures.wait([pool.submit(abs, -1)]).done.pop().result()


def by_as_completed(pool: ThreadPoolExecutor) -> int:
    return next(futures.as_completed([pool.submit(abs, -1)])).result()


def by_exception(pool: ThreadPoolExecutor) -> int:
    future = pool.submit(abs, -1)
    assert future.exception() is None
    return future.result()


WAYS = [
    by_await,
    by_wrap_future,
    by_run_in_executor,
    by_async_for,
    by_stdlib_wait,
    by_stdlib_as_completed,
    by_wait,
    by_as_completed,
    by_exception,
]


@pytest.mark.parametrize("way", WAYS)
def test_a_task_may_wait_for_its_own_pool_in_every_way(
    one: ThreadPoolExecutor, way: Callable[[ThreadPoolExecutor], int]
) -> None:
    for _ in range(3):
        assert one.submit(way, one).result(DEADLINE) == 1
    # Nothing is left of these waits: the limit is what it was.
    with Busy(one):
        behind = one.submit(abs, -2)
        with pytest.raises(TimeoutError):
            behind.result(0.05)
    assert behind.result(DEADLINE) == 2


@pytest.mark.parametrize("way", [by_await, by_stdlib_wait])
def test_nested_in_itself(
    one: ThreadPoolExecutor, way: Callable[[ThreadPoolExecutor], int]
) -> None:
    def nest(depth: int) -> int:
        if depth == 0:
            return way(one)
        return one.submit(nest, depth - 1).result() + way(one)

    assert one.submit(nest, 5).result(DEADLINE) == 6


def test_a_callback_alone_is_no_sign_of_waiting(one: ThreadPoolExecutor) -> None:
    """A pool of one worker runs one task at a time: programs rely on that instead of a lock."""
    called = threading.Event()
    order: list[str] = []

    def task() -> None:
        future = one.submit(order.append, "second")
        future.add_done_callback(lambda _: called.set())
        assert not called.wait(0.05)
        order.append("first")

    one.submit(task).result(DEADLINE)
    assert called.wait(DEADLINE)
    assert order == ["first", "second"]


def most_at_once(pool: ThreadPoolExecutor, wait: Callable[[], Any], tasks: int = 40) -> int:
    """How many tasks of a pool ran at the same time."""
    lock, counts = threading.Lock(), [0, 0]

    def task() -> None:
        with lock:
            counts[0] += 1
            counts[1] = max(counts)
        wait()
        with lock:
            counts[0] -= 1

    for future in [pool.submit(task) for _ in range(tasks)]:
        future.result(DEADLINE)
    return counts[1]


@pytest.mark.parametrize("how", ["result", "wait", "as_completed", "stdlib"])
def test_who_waits_for_something_else_counts(how: str) -> None:
    """`max_workers` is a limit on tasks that wait for a network, a loop or another pool."""

    def wait(other: ThreadPoolExecutor) -> None:
        future = other.submit(threading.Event().wait, 0.002)
        if how == "result":
            future.result()
        elif how == "wait":
            futures.wait([future])
        elif how == "as_completed":
            list(futures.as_completed([future]))
        else:
            stdlib.wait([future])

    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(2) as other:
        assert most_at_once(pool, lambda: wait(other)) == 2
        assert len(pool._threads) == 2
        assert not pool._starter.extra_threads


def test_who_waits_for_an_event_loop_counts() -> None:
    with loops() as (loop,), ThreadPoolExecutor(2) as pool:

        def wait() -> None:
            future: Future[None] = Future()
            end = (loop.loop.call_later, 0.002, future.set_result, None)
            loop.loop.call_soon_threadsafe(*end)
            future.result()

        assert most_at_once(pool, wait) == 2


def test_who_waits_for_room_of_another_pool_counts() -> None:
    with ThreadPoolExecutor(1, max_pending=1) as other, ThreadPoolExecutor(1) as pool:
        with Busy(other):
            other.submit(int)
            waiting = pool.submit(other.submit, abs, -3)
            eventually(waiting.running)
            behind = pool.submit(abs, -2)
            with pytest.raises(TimeoutError):
                behind.result(0.05)
        assert waiting.result(DEADLINE).result(DEADLINE) == 3
        assert behind.result(DEADLINE) == 2


def test_a_future_of_nobody_is_of_no_pool(one: ThreadPoolExecutor) -> None:
    future: Future[int] = Future()
    waiting = one.submit(future.result)
    eventually(waiting.running)
    behind = one.submit(abs, -2)
    with pytest.raises(TimeoutError):
        behind.result(0.05)
    future.set_result(7)
    assert waiting.result(DEADLINE) == 7
    assert behind.result(DEADLINE) == 2


def test_the_end_of_a_future_ends_the_wait(one: ThreadPoolExecutor) -> None:
    """A worker that seemed to wait for a future counts again once that is over."""
    inner: list[Future[Any]] = []
    go_on, checked = threading.Event(), threading.Event()

    def task() -> None:
        inner.append(one.submit(abs, -1))
        with inner[0]._condition:
            pass
        eventually(inner[0].done)
        go_on.set()
        assert checked.wait(DEADLINE)

    outer = one.submit(task)
    assert go_on.wait(DEADLINE)
    behind = one.submit(abs, -2)
    with pytest.raises(TimeoutError):
        behind.result(0.05)
    checked.set()
    outer.result(DEADLINE)
    assert behind.result(DEADLINE) == 2


def test_without_a_thread_for_a_replacement_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(2) as pool:
        busy = Busy(pool)
        go_on = threading.Event()

        def task() -> str:
            assert go_on.wait(DEADLINE)
            return later.result()

        waiting = pool.submit(task)
        later = pool.submit(str, "later")
        eventually(lambda: len(pool._threads) == 2)

        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        go_on.set()
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        busy.go_on.set()
        assert waiting.result(DEADLINE) == "later"
        monkeypatch.undo()


class Slow:
    """An object whose destructor waits."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self.wait = wait

    def __del__(self) -> None:
        self.wait()


def warm(pool: ThreadPoolExecutor, workers: int) -> None:
    """Starts all workers of a pool, and lets them fall asleep."""
    barrier = threading.Barrier(workers)
    for future in [pool.submit(barrier.wait, DEADLINE) for _ in range(workers)]:
        future.result(DEADLINE)
    eventually(lambda: pool._idle_semaphore._value == workers)  # type: ignore[attr-defined]


def elsewhere(function: Callable[[], Any]) -> Any:
    """Submits in a thread that ends: without a GIL, the thread that made an object destroys it."""
    return result(spawn(function))


class TestDestructors:
    """What runs when a task's arguments are dropped may take as long as it likes."""

    def test_another_worker_runs_what_is_submitted_meanwhile(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            warm(pool, 2)
            begun, go_on = threading.Event(), threading.Event()

            def wait() -> None:
                begun.set()
                assert go_on.wait(DEADLINE)

            # The submitter has let go of the object before the task does.
            ready = threading.Event()
            elsewhere(lambda: pool.submit(lambda _: ready.wait(DEADLINE), Slow(wait)))
            ready.set()
            assert begun.wait(DEADLINE)
            pool.submit(go_on.set).result(DEADLINE)

    def test_one_may_submit_and_wait(self) -> None:
        with ThreadPoolExecutor(2) as pool:
            warm(pool, 2)
            results: list[int] = []

            def nest() -> None:
                results.append(pool.submit(abs, -3).result(DEADLINE))

            ready = threading.Event()
            elsewhere(lambda: pool.submit(lambda _: ready.wait(DEADLINE), Slow(nest)))
            ready.set()
            eventually(lambda: results == [3])

    @pytest.mark.parametrize("place", ["argument", "closure", "method", "context"])
    def test_who_waits_for_the_result_hears_of_it_first(self, place: str) -> None:
        import contextvars

        variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
        go_on, running = threading.Event(), threading.Event()
        in_time: list[bool] = []

        def wait() -> None:
            in_time.append(go_on.wait(DEADLINE))

        def work(*_: object) -> int:
            assert running.wait(DEADLINE)
            return 7

        def in_context() -> int:
            variable.set(Slow(wait))
            return work()

        class Subject(Slow):
            def method(self) -> int:
                return work()

        def submit(pool: ThreadPoolExecutor) -> Future[int]:
            if place == "context":
                return pool.submit(in_context)
            slow = Subject(wait)
            if place == "argument":
                return pool.submit(work, slow)
            if place == "closure":
                return pool.submit(lambda kept=slow: work())
            return pool.submit(slow.method)

        with ThreadPoolExecutor(2) as pool:
            futures: queue.SimpleQueue[Future[int]] = queue.SimpleQueue()
            # Begun before the thread that makes the object: one that is given that thread's number
            # when it has ended would be taken for it, and destroy the object.
            waiting = spawn(lambda: futures.get().result())
            futures.put(elsewhere(lambda: submit(pool)))
            threading.Event().wait(0.05)
            running.set()
            assert waiting.result() == 7
            go_on.set()
        eventually(lambda: in_time == [True])


class TestTimeLimits:
    def test_each_attempt_has_its_own(self) -> None:
        limit, ended, told = 0.4, [], []
        begun = time.monotonic()

        def task() -> None:
            if not ended:
                threading.Event().wait(limit / 2)
                ended.append(time.monotonic())
                raise OSError
            assert cancellation_token().wait(DEADLINE)
            told.append(time.monotonic())

        with ThreadPoolExecutor(1) as pool, pytest.raises(TimeoutError):
            pool.options(timeout=limit, retries=1).submit(task).result(DEADLINE)
        # There is no second attempt if the first was held up for so long.
        assert [at >= ended[0] + limit for at in told] == [True] or ended[0] - begun >= limit

    def test_none_runs_between_two_attempts(self, caplog: pytest.LogCaptureFixture) -> None:
        attempts: list[int] = []

        def task() -> str:
            attempts.append(1)
            if len(attempts) == 1:
                raise OSError
            return "second"

        with ThreadPoolExecutor(1) as pool:
            with Busy(pool):
                future = pool.options(timeout=0.2, retries=1).submit(task)
                between = pool.submit(threading.Event().wait, 0.4)
            assert future.result(DEADLINE) == "second"
            assert between.done()
        assert not caplog.records

    def test_one_that_ends_between_two_attempts_is_left_alone(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        attempts: list[int] = []
        go_on = threading.Event()

        def task() -> None:
            attempts.append(1)
            assert go_on.wait(DEADLINE)
            raise OSError

        with ThreadPoolExecutor(1) as pool:
            future = pool.options(retries=1).submit(task)
            eventually(lambda: attempts)
            urgent = threading.Event()
            begun = threading.Event()

            def first() -> None:
                begun.set()
                assert urgent.wait(DEADLINE)

            pool.options(priority=5).submit(first)
            go_on.set()
            assert begun.wait(DEADLINE)
            future.set_result(None)
            urgent.set()
            assert pool.submit(abs, -1).result(DEADLINE) == 1
        assert attempts == [1]
        assert not caplog.records
