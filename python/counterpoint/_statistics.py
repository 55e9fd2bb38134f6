"""The frozen records that every object's `statistics()` returns.

Times are in seconds. A wait is counted when a thread or a task really had to wait (about 10 µs or
more); an operation that succeeded at once appears in the counts of its object only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio

__all__ = ["ExecutorStatistics", "LockStatistics", "QueueStatistics", "WaitStatistics"]


class WaitStatistics(NamedTuple):
    """How often, and for how long, something was waited for.

    `p50` and `p99` come from a histogram whose buckets are within 7 % of the value; `total` and
    `max` are exact.

    >>> WaitStatistics(count=0, total=0.0, p50=0.0, p99=0.0, max=0.0).count
    0
    """

    count: int  # type: ignore[assignment]  # tuple.count is of no use here
    total: float
    p50: float
    p99: float
    max: float


class LockStatistics(NamedTuple):
    """A lock, semaphore, condition, event, barrier or limiter."""

    name: str | None
    owner: int | asyncio.Task[object] | None
    waiters: int
    waits: WaitStatistics


class QueueStatistics(NamedTuple):
    """A queue of any order."""

    name: str | None
    size: int
    maxsize: int
    unfinished: int
    puts: int
    gets: int
    max_size: int
    put_waits: WaitStatistics
    get_waits: WaitStatistics
    putters: int
    getters: int


class ExecutorStatistics(NamedTuple):
    """A pool of workers."""

    name: str | None
    max_workers: int
    workers: int
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    queue_delay: WaitStatistics
    run_time: WaitStatistics
    utilisation: float
    queue_histogram: tuple[tuple[float, int], ...]
    run_histogram: tuple[tuple[float, int], ...]


def describe(record: type[tuple[object, ...]], **fields: str) -> None:
    """Give each field its text, which `help()` and the documentation show."""
    for field, text in fields.items():
        getattr(record, field).__doc__ = text


# What a process pool's record says, too.
TASKS = {
    "max_workers": "The most workers that run tasks at the same time.",
    "workers": "Workers that exist now.",
    "queued": "Tasks that wait for a worker now.",
    "running": "Tasks that run now.",
    "done": "Tasks that returned.",
    "cancelled": "Tasks that were cancelled before they ran.",
    "queue_delay": "From `submit` to the task's first instruction, of its first attempt.",
    "run_time": "From the task's first instruction to its end, once for each attempt.",
    "utilisation": "Time spent in tasks over `max_workers` × the pool's life so far, from 0 to 1.",
    "queue_histogram": (
        "How many delays were at most so many seconds, and more than the entry before says."
    ),
    "run_histogram": "The same of run times.",
}
describe(
    WaitStatistics,
    count="Waits that ended, whether in success, in a timeout or in cancellation.",
    total="Sum of all waits, in seconds.",
    p50="Half of the waits took at most this long, in seconds.",
    p99="All but one in a hundred waits took at most this long, in seconds.",
    max="The longest wait, in seconds.",
)
describe(
    LockStatistics,
    name="None: no lock has a name.",
    owner="The thread ident or asyncio task that holds it; None if free or without a single owner.",
    waiters="Threads and tasks that wait for it now.",
    waits="Every wait for it so far.",
)
describe(
    QueueStatistics,
    name="None: no queue has a name.",
    size="Items in it now.",
    maxsize="The bound; 0 where there is none.",
    unfinished="Items put for which `task_done()` has not been called yet.",
    puts="Items put so far.",
    gets="Items taken so far.",
    max_size="The most items that it ever held.",
    put_waits="Waits of `put` for room.",
    get_waits="Waits of `get` for an item.",
    putters="Threads and tasks that wait for room now.",
    getters="Threads and tasks that wait for an item now.",
)
describe(
    ExecutorStatistics,
    **TASKS,
    name="The pool's `thread_name_prefix`, or None.",
    failed="Tasks that raised, or did not end in time.",
)
