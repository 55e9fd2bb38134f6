"""How cost grows: with items, pool threads, pending futures, and real threads."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benches.vs.case import Run, Sample, Work, in_threads, quiet_gc, race
from benches.vs.cases.locks import acquire_release
from benches.vs.cases.pools import BATCH, in_pool, submit_batches
from benches.vs.cases.queues import put_get
from benches.vs.crowds import crowd_series, having
from benches.vs.footprint import FREE_THREADED
from benches.vs.libraries import Factory, Library
from benches.vs.memory import QUEUES, child
from benches.vs.series import Series

POOL = "ThreadPoolExecutor"

Progress = Callable[[str], None]
Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Extent:
    """How far to go, and how often."""

    crowd: tuple[int, ...]
    items: tuple[int, ...]
    workers: tuple[int, ...]
    pending: tuple[int, ...]
    rounds: int
    pool_tasks: int
    shared_operations: int


QUICK = Extent((1, 10, 100), (100, 1000, 10_000), (1, 4, 16), (100, 1000), 1, 2000, 20_000)
FULL = Extent(
    crowd=(1, 10, 100, 300, 900),
    items=(100, 1000, 10_000, 100_000, 1_000_000),
    workers=(1, 2, 4, 8, 16, 32, 64),
    pending=(100, 1000, 10_000, 100_000, 1_000_000),
    rounds=3,
    pool_tasks=5000,
    shared_operations=200_000,
)
# Many small numbers scatter, few big ones do not.
ONE_ROUND_FROM = 100_000


def rounds_for(x: int, extent: Extent) -> int:
    return 1 if x >= ONE_ROUND_FROM else extent.rounds


def fill_and_empty(factory: Factory, count: int) -> float:
    """CPU nanoseconds to put and get one of count items that are all in the queue at once."""
    subject = factory()
    put, get = subject.put, subject.get
    items = [i * 7919 % count for i in range(count)]
    with quiet_gc():
        start = time.thread_time_ns()
        for item in items:
            put(item)
        for _ in items:
            get()
        return (time.thread_time_ns() - start) / count


def queue_times(
    libraries: Sequence[Library], extent: Extent, progress: Progress, kind: str
) -> Series:
    series = Series(f"items-{kind.lower()}", f"{kind}: put all, get all", "items", "ns")
    for count in extent.items:
        for _ in range(rounds_for(count, extent)):
            for library in having(kind, libraries):
                progress(f"{series.name}: {count}, {library.name}")
                work = partial(fill_and_empty, library.factories[kind], count)
                series.attempt(library.name, count, work)
    return series


def queue_bytes(
    libraries: Sequence[Library], extent: Extent, progress: Progress, kind: str
) -> Series:
    series = Series(f"items-{kind.lower()}-bytes", f"{kind}: bytes per item", "items", "B")
    if FREE_THREADED:
        series.notes.append("bytes of few items cannot be told from resident pages")
        return series
    for count in extent.items:
        for library in having(kind, libraries):
            progress(f"{series.name}: {count}, {library.name}")
            work = partial(answer, "bytes", "items", library.name, kind, count, exact=True)
            series.attempt(library.name, count, work)
    return series


def pool_threads(libraries: Sequence[Library], extent: Extent, progress: Progress) -> Series:
    series = Series("pool-threads", "thread pool: submit + result", "workers", "ns")
    for workers in extent.workers:
        run = in_pool(submit_batches, workers)
        for _ in range(extent.rounds):
            for library in having(POOL, libraries):
                progress(f"{series.name}: {workers}, {library.name}")
                work = partial(wall_of, run, library.factories[POOL], extent.pool_tasks)
                series.attempt(library.name, workers, work)
    return series


def pending_futures(
    libraries: Sequence[Library], extent: Extent, progress: Progress
) -> Iterator[Series]:
    submit = Series("pending-submit", "submit to a busy pool", "pending futures", "ns")
    fetch = Series("pending-fetch", "then run and fetch all", "pending futures", "ns")
    size = Series("pending-bytes", "bytes per pending future", "pending futures", "B")
    for count in extent.pending:
        for library in having(POOL, libraries):
            progress(f"pending: {count}, {library.name}")
            for _ in range(rounds_for(count, extent)):
                try:
                    timed = child("pending", library.name, count, exact=False)
                except Exception as error:
                    submit.notes.append(f"{library.name} at {count}: {error}")
                    break
                submit.add(library.name, count, timed["submit_ns"])
                fetch.add(library.name, count, timed["fetch_ns"])
            work = partial(answer, "bytes", "pending", library.name, count, exact=True)
            size.attempt(library.name, count, work)
    yield from (submit, fetch, size)


def answer(name: str, *arguments: object, exact: bool) -> float:
    """One number of what a child says."""
    return child(*arguments, exact=exact)[name]


def wall_of(run: Run, factory: Factory, n: int) -> float:
    """Wall-clock nanoseconds for one of n operations."""
    return run(factory, n).wall / n


def sharing(loop: Callable[[Any, int], None], threads: int) -> Run:
    """Threads that all run ``loop(subject, n / threads)`` on one subject."""

    def divide(subject: Any, n: int) -> list[Work]:
        return [partial(loop, subject, n // threads) for _ in range(threads)]

    return in_threads(divide)


def sharing_pool(threads: int) -> Run:
    """Threads that submit to one pool with as many workers."""

    def run(factory: Factory, n: int) -> Sample:
        pool = factory(threads)
        try:
            submit_batches(pool, BATCH)
            with quiet_gc():
                share = max(n // threads // BATCH, 1) * BATCH
                return race([partial(submit_batches, pool, share) for _ in range(threads)])
        finally:
            pool.shutdown()

    return run


def real_threads(
    libraries: Sequence[Library], extent: Extent, progress: Progress
) -> Iterator[Series]:
    """Only where threads run at once: one object shared by one and by two of them."""
    kinds: dict[str, tuple[str, Callable[[int], Run]]] = {
        "Lock": ("acquire + release", partial(sharing, acquire_release)),
        "Queue": ("put + get", partial(sharing, put_get)),
        "SimpleQueue": ("put + get", partial(sharing, put_get)),
        POOL: ("submit + result", sharing_pool),
    }
    for kind, (what, make) in kinds.items():
        title = f"one {kind} shared by real threads: {what}"
        series = Series(f"real-threads-{kind.lower()}", title, "threads", "ns")
        share = 10 if kind == POOL else 1
        n = max(extent.shared_operations // share, 2 * BATCH)
        for threads in (1, 2):
            for _ in range(extent.rounds):
                for library in having(kind, libraries):
                    progress(f"{series.name}: {threads}, {library.name}")
                    work = partial(wall_of, make(threads), library.factories[kind], n)
                    series.attempt(library.name, threads, work)
        yield series


def threads_run_at_once() -> bool:
    """Whether this interpreter runs without the GIL right now."""
    is_enabled = getattr(sys, "_is_gil_enabled", None)
    return is_enabled is not None and not is_enabled()


def measure_growth(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Series]:
    """All series whose name is wanted."""
    yield from crowd_series(libraries, extent.crowd, extent.rounds, wanted, progress)
    for kind in QUEUES:
        if wanted(f"items-{kind.lower()}"):
            yield queue_times(libraries, extent, progress, kind)
            yield queue_bytes(libraries, extent, progress, kind)
    if wanted("pool-threads"):
        yield pool_threads(libraries, extent, progress)
    if wanted("pending"):
        yield from pending_futures(libraries, extent, progress)
    if threads_run_at_once() and wanted("real-threads"):
        yield from real_threads(libraries, extent, progress)
