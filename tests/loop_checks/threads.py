"""Calls from other threads: none is lost, and each thread's come in its order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from tests.loop_checks.arena import Arena

THREADS = 8


def _call_from_threads(arena: Arena, call: Callable[..., object], count: int) -> list[list[int]]:
    """What each of the threads had called, in the order in which the loop did so."""
    seen: list[list[int]] = [[] for _ in range(THREADS)]
    together = threading.Barrier(THREADS)
    last = arena.loop.create_future()
    missing = THREADS * count

    def called(thread: int, number: int) -> None:
        nonlocal missing
        seen[thread].append(number)
        missing -= 1
        if not missing:
            last.set_result(None)

    def many(thread: int) -> None:
        together.wait()
        for number in range(count):
            call(called, thread, number)

    threads = [threading.Thread(target=many, args=(index,)) for index in range(THREADS)]
    for each in threads:
        each.start()

    async def wait() -> None:
        await last

    arena.run(wait())
    for each in threads:
        each.join()
    return seen


def threadsafe(arena: Arena) -> None:
    """call_soon_threadsafe() from 8 threads loses nothing and keeps each thread's order"""
    count = arena.effort.calls
    seen = _call_from_threads(arena, arena.loop.call_soon_threadsafe, count)
    for each in seen:
        assert each == list(range(count))


def threadsafe_one_by_one(arena: Arena) -> None:
    """a call from another thread wakes a loop that waits, each time"""

    async def main() -> int:
        woken = 0
        for _ in range(arena.effort.calls // 10):
            future = arena.loop.create_future()
            arena.loop.run_in_executor(
                None, arena.loop.call_soon_threadsafe, future.set_result, None
            )
            await future
            woken += 1
        return woken

    assert arena.run(main()) == arena.effort.calls // 10


def threadsafe_after_close(arena: Arena) -> None:
    """a call from another thread to a loop that has been closed raises RuntimeError"""
    arena.run(asyncio.sleep(0))
    arena.close()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            arena.loop.call_soon_threadsafe(int)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [RuntimeError], errors


def threadsafe_while_closing(arena: Arena) -> None:
    """threads that call while the loop is closed get their call done, or RuntimeError"""
    errors: list[BaseException] = []
    begun = threading.Semaphore(0)
    # Else the threads would add calls faster than the loop can make them.
    room = threading.Semaphore(100)

    def many() -> None:
        begun.release()
        try:
            while True:
                room.acquire(timeout=0.01)
                arena.loop.call_soon_threadsafe(room.release)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=many) for _ in range(THREADS)]
    for each in threads:
        each.start()
    for _ in threads:
        begun.acquire()
    arena.run(asyncio.sleep(0.01))
    arena.loop.close()
    for each in threads:
        each.join()
    assert {type(error) for error in errors} == {RuntimeError}, errors


def coroutines(arena: Arena) -> None:
    """so does run_coroutine_threadsafe(): all results come to the threads that wait for them"""
    results: list[int] = []

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    def many() -> None:
        for number in range(arena.effort.calls // 50):
            future = asyncio.run_coroutine_threadsafe(double(number), arena.loop)
            results.append(future.result(20) - 2 * number)

    async def wait() -> None:
        calls = [arena.loop.run_in_executor(None, many) for _ in range(4)]
        await asyncio.gather(*calls)

    arena.run(wait())
    assert results == [0] * (4 * (arena.effort.calls // 50))


ALL = {
    "threadsafe_calls": threadsafe,
    "threadsafe_one_by_one": threadsafe_one_by_one,
    "threadsafe_after_close": threadsafe_after_close,
    "threadsafe_while_closing": threadsafe_while_closing,
    "threadsafe_coroutines": coroutines,
}
