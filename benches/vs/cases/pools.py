"""Thread pools and futures."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from itertools import repeat
from typing import Any

from benches.vs.case import Case, Clock, Demand, Run, Sample, in_one_thread, quiet_gc
from benches.vs.libraries import Factory
from benches.vs.subjects import PoolSubject

BATCH = 1000
WORKERS = 4


def tiny(number: int) -> int:
    """The least that a task can do."""
    return number


def submit_batches(pool: PoolSubject, n: int) -> None:
    """Submit a thousand tasks, then fetch a thousand results, as often as it takes."""
    submit = pool.submit
    for _ in range(n // BATCH):
        futures = [submit(tiny, 1) for _ in repeat(None, BATCH)]
        for future in futures:
            future.result()


def round_trips(pool: PoolSubject, n: int) -> None:
    submit = pool.submit
    for _ in repeat(None, n):
        submit(tiny, 1).result()


def map_batches(pool: PoolSubject, n: int) -> None:
    for _ in range(n // BATCH):
        for _ in pool.map(tiny, range(BATCH)):
            pass


def wait_batches(pool: PoolSubject, n: int) -> None:
    """Submit a thousand tasks and wait for all with the standard library's own wait."""
    submit = pool.submit
    for _ in range(n // BATCH):
        concurrent.futures.wait([submit(tiny, 1) for _ in repeat(None, BATCH)])


def in_pool(work: Callable[[Any, int], None], workers: int = WORKERS) -> Run:
    """Runs of ``work(pool, n)`` on a pool whose threads have been started."""

    def run(factory: Factory, n: int) -> Sample:
        pool = factory(workers)
        try:
            work(pool, BATCH)
            with quiet_gc():
                clock = Clock()
                work(pool, n)
                return clock.sample()
        finally:
            pool.shutdown()

    return run


def new_futures(new: Callable[[], object], n: int) -> None:
    for _ in repeat(None, n):
        new()


def of_the_class(loop: Callable[[Any, int], None]) -> Run:
    """For a case whose subject is the class itself."""

    def run(factory: Factory, n: int) -> Sample:
        return in_one_thread(loop)(lambda: factory, n)

    return run


CASES = (
    Case(
        "pool-submit",
        f"ThreadPoolExecutor({WORKERS}), submit + result of tiny tasks",
        "ThreadPoolExecutor",
        in_pool(submit_batches),
        (Demand(25),),
        step=BATCH,
    ),
    Case(
        "pool-round-trip",
        "the same, one round trip at a time",
        "ThreadPoolExecutor",
        in_pool(round_trips),
        (Demand(2.5),),
    ),
    Case(
        "pool-map",
        "the same, map",
        "ThreadPoolExecutor",
        in_pool(map_batches),
        (Demand(20),),
        step=BATCH,
    ),
    Case(
        "pool-wait",
        "the same, concurrent.futures.wait for 1,000",
        "ThreadPoolExecutor",
        in_pool(wait_batches),
        step=BATCH,
    ),
    Case(
        "future-new",
        "Future()",
        "Future",
        of_the_class(new_futures),
        (Demand(1 / 0.15),),
        clock="cpu",
    ),
)
