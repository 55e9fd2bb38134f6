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

    `p50` and `p99` come from a histogram whose buckets are within 1 % of the value; `total` and
    `max` are exact.

    >>> WaitStatistics(count=0, total=0.0, p50=0.0, p99=0.0, max=0.0).count
    0
    """

    count: int  # type: ignore[assignment]  # tuple.count is of no use here
    """Waits that ended, whether in success, in a timeout or in cancellation."""
    total: float
    """Sum of all waits, in seconds."""
    p50: float
    """Half of the waits took at most this long, in seconds."""
    p99: float
    """All but one in a hundred waits took at most this long, in seconds."""
    max: float
    """The longest wait, in seconds."""


class LockStatistics(NamedTuple):
    """A lock, semaphore, condition, event, barrier or limiter."""

    name: str | None
    """The name given to the object, if any."""
    owner: int | asyncio.Task[object] | None
    """The thread ident or asyncio task that holds it; None if free or without a single owner."""
    waiters: int
    """Threads and tasks that wait for it now."""
    waits: WaitStatistics
    """Every wait for it so far."""


class QueueStatistics(NamedTuple):
    """A queue of any order."""

    name: str | None
    """The name given to the queue, if any."""
    size: int
    """Items in it now."""
    maxsize: int
    """The bound; 0 where there is none."""
    unfinished: int
    """Items put for which `task_done()` has not been called yet."""
    puts: int
    """Items put so far."""
    gets: int
    """Items taken so far."""
    max_size: int
    """The most items that it ever held."""
    put_waits: WaitStatistics
    """Waits of `put` for room."""
    get_waits: WaitStatistics
    """Waits of `get` for an item."""
    putters: int
    """Threads and tasks that wait for room now."""
    getters: int
    """Threads and tasks that wait for an item now."""


class ExecutorStatistics(NamedTuple):
    """A pool of workers."""

    name: str | None
    """The pool's `thread_name_prefix`, or None."""
    max_workers: int
    """The most workers that run tasks at the same time."""
    workers: int
    """Workers that exist now."""
    queued: int
    """Tasks that wait for a worker now."""
    running: int
    """Tasks that run now."""
    done: int
    """Tasks that returned."""
    failed: int
    """Tasks that raised, or did not end in time."""
    cancelled: int
    """Tasks that were cancelled before they ran."""
    queue_delay: WaitStatistics
    """From `submit` to the task's first instruction, of its first attempt."""
    run_time: WaitStatistics
    """From the task's first instruction to its end, once for each attempt."""
    utilisation: float
    """Time spent in tasks over `max_workers` × the pool's life so far, from 0 to 1."""
