"""What the registry needs of objects and their meters, and the records that it makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from counterpoint._statistics import (
    ExecutorStatistics,
    LockStatistics,
    QueueStatistics,
)

if TYPE_CHECKING:
    from counterpoint._core import Meter
    from counterpoint._loop.statistics import LoopStatistics
    from counterpoint._process.statistics import ProcessPoolStatistics

__all__ = [
    "EXECUTORS",
    "HOMES",
    "LOCKS",
    "LOOPS",
    "PROCESS_POOLS",
    "QUEUES",
    "Measured",
    "Row",
    "Statistics",
    "combine",
]

EXECUTORS = frozenset({"ThreadPoolExecutor"})
PROCESS_POOLS = frozenset({"ProcessPoolExecutor"})
QUEUES = frozenset({"Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"})
LOCKS = frozenset(
    {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"}
    | {"RWLock", "CapacityLimiter"}
)
LOOPS = frozenset({"EventLoop"})
# By name and module: a program's class may have the same name.
HOMES = {
    **dict.fromkeys(EXECUTORS | PROCESS_POOLS, "counterpoint.futures"),
    **dict.fromkeys(QUEUES, "counterpoint.queue"),
    **dict.fromkeys(LOCKS, "counterpoint.threading"),
    **dict.fromkeys(LOOPS, "counterpoint._loop.loop"),
}

Statistics: TypeAlias = (
    "LockStatistics | QueueStatistics | ExecutorStatistics | ProcessPoolStatistics | LoopStatistics"
)


class Measured(Protocol):
    """What the registry asks of an object that it observes."""

    @property
    def _meter(self) -> Meter: ...

    def statistics(self) -> Statistics:
        """The object's own record, for what it holds now."""


class Row(NamedTuple):
    """What all objects of one kind, made on one line, did together."""

    kind: str
    """The class's name: `Lock`, `Queue`, `ThreadPoolExecutor`, …"""
    name: str | None
    """Their name, where they share one."""
    site: str
    """`file:line` of their creation."""
    objects: int
    """How many were made there."""
    statistics: Statistics
    """Counts and waits of all of them, dead or alive; gauges (size, waiters, …) of those alive."""


def combine(kind: str, name: str | None, meter: Meter, now: list[Statistics]) -> Statistics:
    """One record for many objects.

    Args:
        kind: their class.
        meter: what all of them counted, dead or alive.
        now: the own records of those alive, for what they hold now.
    """
    if kind in PROCESS_POOLS:
        return _process_pool(name, meter, now)
    if kind in LOOPS:
        return _loop(name, meter, now)
    build = _executor if kind in EXECUTORS else _queue if kind in QUEUES else _lock
    return build(name, meter, now)


def _sum(now: list[Statistics], gauge: str) -> int:
    return sum(getattr(statistics, gauge, 0) for statistics in now)


def _lock(name: str | None, meter: Meter, now: list[Statistics]) -> LockStatistics:
    return LockStatistics(name, None, _sum(now, "waiters"), meter.waits("waits"))


def _queue(name: str | None, meter: Meter, now: list[Statistics]) -> QueueStatistics:
    counts = meter.counts()
    return QueueStatistics(
        name=name,
        size=_sum(now, "size"),
        maxsize=counts.get("maxsize", 0),
        unfinished=_sum(now, "unfinished"),
        puts=counts.get("puts", 0),
        gets=counts.get("gets", 0),
        max_size=counts.get("max_size", 0),
        put_waits=meter.waits("put_waits"),
        get_waits=meter.waits("get_waits"),
        putters=_sum(now, "putters"),
        getters=_sum(now, "getters"),
    )


def _executor(name: str | None, meter: Meter, now: list[Statistics]) -> ExecutorStatistics:
    counts = meter.counts()
    capacity = counts.get("capacity_ns", 0)
    return ExecutorStatistics(
        name=name,
        max_workers=counts.get("max_workers", 0),
        workers=_sum(now, "workers"),
        queued=_sum(now, "queued"),
        running=_sum(now, "running"),
        done=counts.get("done", 0),
        failed=counts.get("failed", 0),
        cancelled=counts.get("cancelled", 0),
        queue_delay=meter.waits("queue_delay"),
        run_time=meter.waits("run_time"),
        utilisation=min(1.0, counts.get("busy_ns", 0) / capacity) if capacity else 0.0,
        queue_histogram=tuple(meter._histogram("queue_delay")),
        run_histogram=tuple(meter._histogram("run_time")),
    )


def _process_pool(name: str | None, meter: Meter, now: list[Statistics]) -> ProcessPoolStatistics:
    # There is a pool, so this is imported already.
    from counterpoint._process.statistics import ProcessPoolStatistics

    counts = meter.counts()
    shared = _executor(name, meter, now)
    return ProcessPoolStatistics(
        *shared,
        crashes=counts.get("crashes", 0),
        restarts=counts.get("restarts", 0),
        each_worker=(),
    )


def _loop(name: str | None, meter: Meter, now: list[Statistics]) -> LoopStatistics:
    # There is a loop, so this is imported already.
    from counterpoint._loop.statistics import GAUGES, collect

    return collect(name, meter, [_sum(now, gauge) for gauge in GAUGES])
