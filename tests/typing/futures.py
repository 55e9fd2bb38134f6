"""What a type checker must see of futures; checked by mypy --strict, not run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator
from typing import Any, assert_type

from counterpoint import ThreadPoolExecutor, futures, threading
from counterpoint._statistics import ExecutorStatistics


def length(text: str, *, twice: bool = False) -> int:
    return len(text) * (1 + twice)


async def pools() -> None:
    with ThreadPoolExecutor(2, max_pending=10, on_full="raise") as pool:
        future = pool.submit(length, "a", twice=True)
        assert_type(future, futures.Future[int])
        assert_type(future.result(timeout=1), int)
        assert_type(await future, int)
        assert_type(await pool.async_submit(length, "a"), futures.Future[int])
        assert_type(pool.map(length, ["a"], ordered=False, buffersize=3), Iterator[int])
        assert_type(pool.statistics(), ExecutorStatistics)
        pool.submit(length, 3)  # type: ignore[arg-type]
        pool.submit(length, "a", thrice=True)  # type: ignore[call-arg]
        ThreadPoolExecutor(on_full="wait")  # type: ignore[arg-type]
        standard: concurrent.futures.ThreadPoolExecutor = pool
        assert_type(standard.submit(length, "a"), concurrent.futures.Future[int])


def options(pool: ThreadPoolExecutor) -> None:
    urgent = pool.options(timeout=1.5, retries=2, retry_on=(OSError,), priority=3, name="n")
    assert_type(urgent, futures.TaskOptions)
    assert_type(urgent.submit(length, "a"), futures.Future[int])
    assert_type(urgent.map(length, ["a"], timeout=3), Iterator[int])
    pool.options(retry_on=3)  # type: ignore[arg-type]


async def waiting(pool: ThreadPoolExecutor) -> None:
    pending = [pool.submit(length, "a")]
    done, not_done = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
    assert_type(done, set[concurrent.futures.Future[int]])
    assert_type(not_done, set[concurrent.futures.Future[int]])
    for future in futures.as_completed(pending, timeout=1):
        assert_type(future.result(), int)
    async for future in futures.as_completed(pending):
        assert_type(future.result(), int)


def owners() -> None:
    assert_type(threading.Condition().owner, int | asyncio.Task[Any] | None)
    assert_type(threading.Semaphore().owner, None)


def tokens() -> None:
    token = futures.cancellation_token()
    assert_type(token, futures.CancellationToken)
    assert_type(token.wait(0.1), bool)
    assert_type(token.reason, str | None)
