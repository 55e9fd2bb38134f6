"""`CapacityLimiter`: tokens with borrowers, in strict order, and resizable."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from counterpoint.threading import CapacityLimiter
from tests.support import eventually, loops, result, run_async, spawn


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
