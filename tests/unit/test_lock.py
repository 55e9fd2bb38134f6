"""What `Lock` does beyond the stdlib's: owners, tasks, refused deadlocks."""

from __future__ import annotations

import asyncio
import re
import threading as stdlib
from typing import Any

import pytest

from counterpoint.threading import DeadlockError, Lock
from tests.support import DEADLINE, eventually, eventually_async, loops, result, run_async, spawn


def test_the_owner_is_a_thread_a_task_or_nobody() -> None:
    lock = Lock()
    assert lock.owner is None
    with lock:
        assert lock.owner == stdlib.get_ident()

    async def main() -> None:
        async with lock as held:
            assert held is True
            assert lock.owner is asyncio.current_task()
            assert lock.statistics().owner is asyncio.current_task()

    run_async(main())
    assert lock.owner is None


def test_a_timeout_is_looked_at_even_where_the_lock_is_free() -> None:
    lock = Lock()
    with pytest.raises(TypeError, match="timeout must be a number or None"):
        run_async(lock.async_acquire(timeout="x"))  # type: ignore[arg-type]
    assert not lock.locked()


def test_whoever_it_is_handed_to_owns_it() -> None:
    lock = Lock()
    lock.acquire()
    seen: list[object] = []

    async def as_task() -> None:
        async with lock:
            seen.append(lock.owner is asyncio.current_task())

    def as_thread() -> None:
        with lock:
            seen.append(lock.owner == stdlib.get_ident())

    with loops() as [loop]:
        futures: list[Any] = []
        for start in (lambda: loop.start(as_task()), lambda: spawn(as_thread)):
            futures.append(start())
            eventually(lambda: lock.waiters == len(futures))
        lock.release()
        for future in futures:
            result(future)
    assert seen == [True, True]


def test_a_task_releases_for_a_thread_and_a_thread_for_a_task() -> None:
    lock = Lock()
    lock.acquire()

    async def release() -> None:
        lock.release()
        await lock.async_acquire()

    run_async(release())
    assert lock.locked()
    lock.release()
    assert not lock.locked()


def test_a_blocking_acquire_that_can_never_end_is_refused_naming_the_task() -> None:
    async def main() -> None:
        lock = Lock()

        async def hold(held: asyncio.Event, end: asyncio.Event) -> None:
            async with lock:
                held.set()
                await end.wait()

        held, end = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(hold(held, end), name="the-holder")
        await held.wait()
        with pytest.raises(DeadlockError, match=re.escape("the-holder")):
            lock.acquire()
        with pytest.raises(DeadlockError, match="can never end"):
            with lock:
                pass
        # Those that end are not refused.
        assert lock.acquire(timeout=0.01) is False
        assert lock.acquire(blocking=False) is False
        assert lock.waiters == 0
        end.set()
        await holder
        with lock:
            pass

    run_async(main())


def test_a_task_of_another_loop_may_be_waited_for() -> None:
    lock = Lock()
    release = stdlib.Event()

    async def hold() -> None:
        async with lock:
            while not release.is_set():
                await asyncio.sleep(0)

    async def block() -> bool:
        stdlib.Timer(0, release.set).start()
        return lock.acquire(timeout=DEADLINE)

    with loops() as [loop]:
        holding = loop.start(hold())
        eventually(lock.locked)
        assert run_async(block())
        result(holding)
    lock.release()


def test_a_blocking_acquire_goes_before_the_tasks_of_its_own_loop() -> None:
    """They cannot run before it ends, so behind them it would wait for ever."""
    lock = Lock()
    lock.acquire()

    async def main() -> None:
        order: list[str] = []

        async def as_task() -> None:
            async with lock:
                order.append("task")

        task = asyncio.create_task(as_task())
        await eventually_async(lambda: lock.waiters == 1)

        def release() -> None:
            eventually(lambda: lock.waiters == 2)
            lock.release()

        releasing = spawn(release)
        assert lock.acquire(timeout=DEADLINE)
        order.append("thread")
        lock.release()
        await task
        result(releasing)
        assert order == ["thread", "task"]

    run_async(main())


def test_errors_are_the_stdlib_s() -> None:
    ours: Any = Lock()
    theirs: Any = stdlib.Lock()
    for call in (
        lambda lock: lock.release(),
        lambda lock: lock.acquire(timeout=-2),
        lambda lock: lock.acquire(False, 1),
        lambda lock: lock.acquire(timeout=1e20),
        lambda lock: lock.acquire(timeout=float("nan")),
        lambda lock: lock.acquire(timeout="1"),
        lambda lock: lock.acquire(1, 2, 3),
        lambda lock: lock.acquire(nonsense=1),
    ):
        with pytest.raises((RuntimeError, ValueError, OverflowError, TypeError)) as expected:
            call(theirs)
        with pytest.raises(expected.type):
            call(ours)
        assert not ours.locked()
    with pytest.raises(RuntimeError, match=r"^release unlocked lock$"):
        ours.release()
    with pytest.raises(TypeError, match="takes no arguments"):
        Lock(1)  # type: ignore[call-arg]


def test_repr_tells_the_state() -> None:
    lock = Lock()
    assert re.fullmatch(
        r"<unlocked counterpoint\.threading\.Lock object at 0x[0-9a-f]+>", repr(lock)
    )
    with lock:
        assert repr(lock).startswith("<locked ")


def test_an_unobserved_exception_of_the_body_leaves_it_free() -> None:
    lock = Lock()
    with pytest.raises(ZeroDivisionError):
        with lock:
            raise ZeroDivisionError

    async def main() -> None:
        async with lock:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_async(main())
    assert not lock.locked()
