"""What a type checker must see; checked by mypy --strict, not run."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

from counterpoint import queue, threading
from counterpoint._statistics import LockStatistics, QueueStatistics


async def locks() -> None:
    lock = threading.Lock()
    with lock as held:
        assert_type(held, bool)
    async with threading.RLock() as held:
        assert_type(held, bool)
    assert_type(await lock.async_acquire(timeout=0.5), bool)
    assert_type(lock.statistics(), LockStatistics)
    condition = threading.Condition(lock)
    assert_type(condition.wait_for(lambda: [1]), list[int])
    assert_type(await threading.Barrier(1).async_wait(), int)
    assert_type(threading.RWLock("fair").write_lock, threading.WriteLock)


async def queues() -> None:
    jobs: queue.Queue[str] = queue.Queue(maxsize=3, overflow="drop_oldest", on_drop=print)
    jobs.put("a", timeout=1)
    assert_type(jobs.get(), str)
    assert_type(await jobs.async_get(), str)
    assert_type(jobs.get_many(10), list[str])
    assert_type(jobs.statistics(), QueueStatistics)
    for job in jobs:
        assert_type(job, str)
    async for job in jobs:
        assert_type(job, str)
    size: Callable[[bytes], int] = len
    ranked: queue.PriorityQueue[bytes] = queue.PriorityQueue(key=size)
    assert_type(ranked.peek(), bytes)
