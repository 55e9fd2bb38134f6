"""What `RLock` does beyond the stdlib's: tasks that hold it again and again."""

from __future__ import annotations

import asyncio
import threading as stdlib

import pytest

from counterpoint.threading import DeadlockError, RLock
from tests.support import eventually, loops, result, run_async, spawn


def test_a_task_holds_it_as_often_as_it_likes_either_way() -> None:
    lock = RLock()

    async def main() -> None:
        async with lock:
            async with lock:
                with lock:
                    assert lock.owner is asyncio.current_task()
                    assert lock._recursion_count() == 3
                    assert lock.acquire(blocking=False)
                    lock.release()
        assert not lock.locked()

    run_async(main())


def test_its_repr_names_the_owner() -> None:
    lock = RLock()

    async def main() -> None:
        async with lock:
            assert " owner=the-holder count=1 " in repr(lock)

    async def named() -> None:
        await asyncio.create_task(main(), name="the-holder")

    run_async(named())
    assert " owner=0 count=0 " in repr(lock)
    with lock:
        assert f" owner={lock.owner} count=1 " in repr(lock)


def test_another_task_of_the_same_thread_is_another_owner() -> None:
    lock = RLock()

    async def main() -> None:
        async with lock:

            async def other() -> None:
                assert lock._recursion_count() == 0
                assert not lock._is_owned()
                assert await lock.async_acquire(0) is False
                with pytest.raises(DeadlockError):
                    lock.acquire()
                with pytest.raises(RuntimeError, match=r"^cannot release un-acquired lock$"):
                    lock.release()

            await asyncio.create_task(other())
            assert lock._recursion_count() == 1

    run_async(main())


def test_the_thread_and_its_task_are_two() -> None:
    lock = RLock()
    with lock:
        assert run_async(lock.async_acquire(0.01)) is False
    assert not lock.locked()


def test_it_is_handed_over_once_and_held_once() -> None:
    lock = RLock()
    lock.acquire()
    lock.acquire()
    counts: list[int] = []

    async def as_task() -> None:
        async with lock:
            counts.append(lock._recursion_count())

    def as_thread() -> None:
        with lock:
            counts.append(lock._recursion_count())

    with loops() as [loop]:
        futures = [loop.start(as_task())]
        eventually(lambda: lock.waiters == 1)
        futures.append(spawn(as_thread))
        eventually(lambda: lock.waiters == 2)
        lock.release()
        assert lock.owner == stdlib.get_ident()
        lock.release()
        for future in futures:
            result(future)
    assert counts == [1, 1]


def test_release_save_and_restore_keep_the_depth() -> None:
    lock = RLock()
    for _ in range(3):
        lock.acquire()
    saved = lock._release_save()
    assert not lock.locked()
    lock._acquire_restore(saved)
    assert lock._recursion_count() == 3
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        result(spawn(lock._release_save))
    for _ in range(3):
        lock.release()
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        lock._release_save()


def test_repr_tells_owner_and_depth() -> None:
    lock = RLock()
    with lock, lock:
        assert f"owner={stdlib.get_ident()} count=2" in repr(lock)
        assert repr(lock).startswith("<locked counterpoint.threading.RLock object")
    assert repr(lock).startswith("<unlocked ")


def test_a_cancelled_wait_does_not_hold_it_once_more() -> None:
    lock = RLock()

    async def main() -> None:
        async with lock:
            waiting = asyncio.create_task(lock.async_acquire())
            while lock.waiters == 0:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert not lock.locked()

    run_async(main())
