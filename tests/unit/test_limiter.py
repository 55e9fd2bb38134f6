"""`CapacityLimiter`: tokens with borrowers, in strict order, and resizable."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint.threading import CapacityLimiter, DeadlockError
from tests.support import (
    DEADLINE,
    eventually,
    eventually_async,
    is_collected,
    loops,
    result,
    run_async,
    spawn,
)


def test_each_borrower_has_one_token_at_most() -> None:
    limiter = CapacityLimiter(5)
    with limiter:
        with pytest.raises(RuntimeError, match="already holds one of this limiter's tokens"):
            limiter.acquire()

        async def main() -> None:
            # The thread and its task are two.
            async with limiter:
                assert limiter.borrowed_tokens == 2
                with pytest.raises(RuntimeError, match="already holds"):
                    await limiter.async_acquire()
            assert limiter.borrowed_tokens == 1

        run_async(main())
    assert limiter.available_tokens == 5


def test_only_borrowers_give_back() -> None:
    limiter = CapacityLimiter(1)
    with pytest.raises(RuntimeError, match="holds none of this limiter's tokens"):
        limiter.release()
    with limiter, pytest.raises(RuntimeError, match="holds none"):
        result(spawn(limiter.release))


def test_nobody_overtakes() -> None:
    limiter, order = CapacityLimiter(1), []

    def as_thread(number: int) -> None:
        with limiter:
            order.append(number)

    async def as_task(number: int) -> None:
        async with limiter:
            order.append(number)

    limiter.acquire()
    with loops(2) as running:
        futures: list[Any] = []
        for number in range(6):
            at = number % 3
            start = running[at].start(as_task(number)) if at < 2 else spawn(as_thread, number)
            futures.append(start)
            eventually(lambda number=number: limiter.waiters == number + 1)
        limiter.release()
        assert limiter.acquire(blocking=False) is False or order == list(range(6))
        for future in futures:
            result(future)
    assert order == list(range(6))


def test_grows_to_those_who_wait_and_shrinks_without_taking_back() -> None:
    limiter = CapacityLimiter(0)
    with loops() as [loop]:
        waiting = [loop.start(limiter.async_acquire()) for _ in range(4)]
        eventually(lambda: limiter.waiters == 4)
        limiter.total_tokens = 3
        eventually(lambda: sum(future.done() for future in waiting) == 3)
        limiter.total_tokens = 1
        assert (limiter.borrowed_tokens, limiter.available_tokens) == (3, -2)
        limiter.total_tokens = math.inf
        assert all(result(future) for future in waiting)
        assert limiter.total_tokens == limiter.available_tokens == math.inf


def test_a_task_that_gives_up_holds_nothing() -> None:
    limiter = CapacityLimiter(1)

    async def main() -> None:
        async with limiter:
            assert await asyncio.create_task(limiter.async_acquire(0.001)) is False
            cancelled = asyncio.create_task(limiter.async_acquire())
            while limiter.waiters == 0:
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
        assert limiter.borrowed_tokens == 0

    run_async(main())


@pytest.mark.parametrize("total", [1, 2, math.inf])
def test_a_task_borrows_no_second_token_for_its_thread(total: float) -> None:
    limiter = CapacityLimiter(total)

    async def main() -> None:
        async with limiter:
            for acquire in (limiter.acquire, lambda: limiter.acquire(timeout=0.01)):
                with pytest.raises(RuntimeError, match="already holds") as refused:
                    acquire()
                assert refused.type is RuntimeError
            assert limiter.borrowed_tokens == 1

    run_async(main())


def test_a_blocking_acquire_that_can_never_end_is_refused() -> None:
    limiter = CapacityLimiter(2)

    async def hold(held: asyncio.Event) -> None:
        async with limiter:
            held.set()
            await asyncio.sleep(1000)

    async def main() -> None:
        events = [asyncio.Event() for _ in range(2)]
        holders = [asyncio.create_task(hold(event), name="the-holder") for event in events]
        await asyncio.gather(*(event.wait() for event in events))
        with pytest.raises(DeadlockError, match="the-holder"):
            limiter.acquire()
        with pytest.raises(DeadlockError), limiter:
            pass
        assert limiter.acquire(blocking=False) is limiter.acquire(timeout=0.001) is False
        holders[0].cancel()
        await asyncio.gather(holders[0], return_exceptions=True)
        with limiter:
            assert limiter.borrowed_tokens == 2
        holders[1].cancel()
        await asyncio.gather(holders[1], return_exceptions=True)
        assert limiter.waiters == limiter.borrowed_tokens == 0

    run_async(main())


def test_a_token_that_was_handed_to_a_task_of_this_loop_is_that_task_s() -> None:
    limiter = CapacityLimiter(1)

    async def main() -> None:
        limiter.acquire()
        waiting = asyncio.create_task(limiter.async_acquire())
        while not limiter.waiters:
            await asyncio.sleep(0)
        limiter.release()
        with pytest.raises(DeadlockError):
            limiter.acquire()
        await waiting

    run_async(main())


async def _waits_in_a_loop(limiter: CapacityLimiter, end: Callable[[], object]) -> None:
    """Blocks in a loop one of whose tasks has a token, until `end` gives another to the thread."""
    await asyncio.create_task(limiter.async_acquire())

    def act() -> None:
        eventually(lambda: limiter.waiters == 1)
        end()

    acting = spawn(act)
    with limiter:
        assert limiter.borrowed_tokens == 2
    result(acting)


def test_a_blocking_acquire_in_a_loop_waits_for_a_thread_s_token() -> None:
    limiter, held, end = CapacityLimiter(2), threading.Event(), threading.Event()

    def hold() -> None:
        with limiter:
            held.set()
            end.wait(DEADLINE)

    holding = spawn(hold)
    assert held.wait(DEADLINE)
    run_async(_waits_in_a_loop(limiter, end.set))
    result(holding)


def test_a_blocking_acquire_in_a_loop_waits_for_another_loop_s_token() -> None:
    limiter, held, end = CapacityLimiter(2), threading.Event(), threading.Event()

    async def hold() -> None:
        async with limiter:
            held.set()
            await eventually_async(end.is_set)

    with loops() as [loop]:
        holding = loop.start(hold())
        assert held.wait(DEADLINE)
        run_async(_waits_in_a_loop(limiter, end.set))
        result(holding)


def test_a_blocking_acquire_in_a_loop_waits_for_the_first_token_to_come() -> None:
    limiter = CapacityLimiter(1)

    async def main() -> None:
        await asyncio.create_task(limiter.async_acquire())
        limiter.total_tokens = 0

        def act() -> None:
            eventually(lambda: limiter.waiters == 1)
            limiter.total_tokens = 2

        acting = spawn(act)
        with limiter:
            pass
        result(acting)

    run_async(main())


def test_a_limiter_and_the_task_that_holds_its_token_are_collected() -> None:
    async def main() -> weakref.ref[Any]:
        limiter: Any = CapacityLimiter(1)
        limiter.task = asyncio.current_task()
        await limiter.async_acquire()
        return weakref.ref(limiter)

    assert is_collected(asyncio.run(main()))


def test_its_signature_says_the_default() -> None:
    signature = inspect.signature(CapacityLimiter.acquire)
    assert str(signature) == "(self, /, blocking=True, timeout=-1)"


def test_bad_arguments() -> None:
    for wrong in "1", None, 1.5, math.nan, -math.inf:
        with pytest.raises(TypeError, match=r"total_tokens must be an int or math\.inf"):
            CapacityLimiter(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^total_tokens must be >= 0, not -1$"):
        CapacityLimiter(-1)
    with pytest.raises(OverflowError):
        CapacityLimiter(2**80)
    limiter = CapacityLimiter(2)
    with pytest.raises(TypeError):
        limiter.total_tokens = "3"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="non-negative"):
        limiter.acquire(timeout=-3)
    with pytest.raises(ValueError, match="can't specify a timeout"):
        limiter.acquire(False, 3)
    assert limiter.total_tokens == 2
    with limiter:
        assert repr(limiter).endswith(": borrowed=1/2>")
