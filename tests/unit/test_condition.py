"""What `Condition` does beyond the stdlib's: tasks, mixed crowds, cancellations."""

from __future__ import annotations

import asyncio
import gc
import threading as stdlib
from typing import Any

import pytest

from counterpoint.threading import Condition, Lock, RLock
from tests.support import DEADLINE, eventually, eventually_async, loops, result, run_async, spawn

locks = pytest.mark.parametrize("kind", [Lock, RLock])


@locks
def test_notifications_reach_threads_and_tasks_in_order(kind: Any) -> None:
    condition, order = Condition(kind()), []

    def as_thread(number: int) -> None:
        with condition:
            assert condition.wait(DEADLINE)
            order.append(number)

    async def as_task(number: int) -> None:
        async with condition:
            assert await condition.async_wait(DEADLINE)
            order.append(number)

    with loops(2) as running:
        futures: list[Any] = []
        for number in range(6):
            at = number % 3
            start = running[at].start(as_task(number)) if at < 2 else spawn(as_thread, number)
            futures.append(start)
            eventually(lambda: condition.waiters == len(futures))
        for number in range(6):
            with condition:
                condition.notify()
            eventually(lambda number=number: len(order) > number)
        for future in futures:
            result(future)
    assert order == list(range(6))


@locks
def test_notify_counts(kind: Any) -> None:
    condition = Condition(kind())
    waiting = [spawn(_wait, condition) for _ in range(5)]
    eventually(lambda: condition.waiters == 5)
    with condition:
        condition.notify(0)
        condition.notify(-3)
        assert condition.waiters == 5
        condition.notify(2)
        assert condition.waiters == 3
    eventually(lambda: sum(future.done() for future in waiting) == 2)
    with condition:
        condition.notify_all()
    assert all(result(future) for future in waiting)


def _wait(condition: Condition) -> bool:
    with condition:
        return condition.wait(DEADLINE)


def test_needs_its_lock_held() -> None:
    condition = Condition()
    for call in condition.wait, condition.notify, condition.notify_all:
        with pytest.raises(RuntimeError, match="on un-acquired lock"):
            call()
    with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
        run_async(condition.async_wait())
    assert condition.waiters == 0


def test_a_task_waits_only_for_locks_of_ours() -> None:
    condition: Any = Condition(stdlib.Lock())  # type: ignore[arg-type]
    with condition:
        assert condition.wait(0.001) is False
    with pytest.raises(TypeError, match="give the condition a counterpoint Lock or RLock"):
        run_async(condition.async_acquire())


def test_the_depth_of_the_lock_survives_a_wait() -> None:
    lock = RLock()
    condition = Condition(lock)
    with lock, lock, condition:
        assert condition.wait(0.001) is False
        assert lock._recursion_count() == 3

    async def main() -> None:
        async with lock, lock, condition:
            assert await condition.async_wait(0.001) is False
            assert lock._recursion_count() == 3

    run_async(main())
    assert not lock.locked()


@locks
def test_a_cancelled_task_holds_the_lock_when_it_hears_of_it(kind: Any) -> None:
    lock = kind()
    condition = Condition(lock)
    held: list[bool] = []

    async def wait() -> None:
        async with condition:
            try:
                await condition.async_wait()
            except asyncio.CancelledError:
                held.append(lock.owner is asyncio.current_task())
                raise

    async def main() -> None:
        task = asyncio.create_task(wait())
        await eventually_async(lambda: condition.waiters == 1)
        async with condition:
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
                task.cancel()
            assert held == []
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    run_async(main())
    assert held == [True]
    assert not lock.locked()


@locks
def test_a_task_that_is_thrown_away_leaves_the_lock_to_its_holder(kind: Any) -> None:
    condition = Condition(kind())

    async def wait() -> None:
        async with condition:
            await condition.async_wait()

    def leave_behind() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(wait())
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        while condition.waiters == 0:
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()

    leave_behind()
    with condition:
        condition.notify()
        gc.collect()
        assert condition.locked()
    assert not condition.locked()
    assert condition.waiters == 0


def test_wait_for_returns_what_the_predicate_did() -> None:
    condition, box = Condition(), [0]

    async def as_task() -> int:
        async with condition:
            return await condition.async_wait_for(lambda: box[0], DEADLINE)

    def as_thread() -> int:
        with condition:
            return condition.wait_for(lambda: box[0], DEADLINE)

    with loops() as [loop]:
        futures = [loop.start(as_task()), spawn(as_thread)]
        eventually(lambda: condition.waiters == 2)
        with condition:
            condition.notify_all()
        eventually(lambda: condition.waiters == 2)
        with condition:
            box[0] = 7
            condition.notify_all()
        assert [result(future) for future in futures] == [7, 7]
    with condition:
        assert condition.wait_for(lambda: 0, 0.001) == 0

    async def in_vain() -> int:
        async with condition:
            return await condition.async_wait_for(lambda: 0, 0.001)

    assert run_async(in_vain()) == 0


def test_the_lock_s_methods_are_the_condition_s() -> None:
    lock = Lock()
    condition = Condition(lock)
    assert condition.acquire(timeout=1)
    assert lock.locked()
    assert condition.locked()
    condition.release()
    assert repr(condition) == f"<Condition({lock!r}, 0)>"


def test_notify_all_s_old_name_warns() -> None:
    condition = Condition()
    with condition, pytest.warns(DeprecationWarning, match="notify_all"):
        condition.notifyAll()
