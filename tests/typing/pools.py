"""What a type checker must see of the pools; checked by mypy --strict, not run."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor as StdlibProcessPoolExecutor
from typing import assert_type

import counterpoint
from counterpoint.futures import ProcessFuture, ProcessPoolExecutor, WorkerCrashed


def half(number: int) -> float:
    return number / 2


def accepts_the_stdlib_s(pool: StdlibProcessPoolExecutor) -> None:
    """An instance of ours is one of these."""


async def processes() -> None:
    with ProcessPoolExecutor(2, on_worker_death="break", max_pending=3) as pool:
        assert_type(pool, ProcessPoolExecutor)
        accepts_the_stdlib_s(pool)
        future = pool.submit(half, 3)
        assert_type(future, ProcessFuture[float])
        assert_type(await future, float)
        assert_type(future.kill(), bool)
        assert_type(pool.options(timeout=1).submit(half, 3), ProcessFuture[float])
        assert_type(list(pool.map(half, [1], ordered=False)), list[float])


def crash(error: WorkerCrashed) -> None:
    assert_type(error.exitcode, int | None)
    assert_type(counterpoint.ProcessPoolExecutor(1), ProcessPoolExecutor)
