"""The registry: which locks, queues, executors and event loops were made, where, and what they
counted.

While enabled, every constructor of ours calls `created(obj)`. The registry keeps a weak reference
to the object and a strong one to its *meter*, a small native object that holds the counts and
outlives what it measures. Records are grouped by kind and creation site: the innermost line outside
this package and outside the stdlib's threading, queue, concurrent and asyncio modules. The meters
of dead objects are merged into one per group, so a program that makes a million locks on one line
costs one record and those that are alive.

What is needed from the native core
-----------------------------------
`_core.set_observer(callable | None)`
    While set, Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event, Barrier, RWLock,
    CapacityLimiter, Queue, LifoQueue, PriorityQueue, SimpleQueue, ThreadPoolExecutor,
    ProcessPoolExecutor and EventLoop call it with the new object, once, at the end of the
    constructor that makes `_meter` valid, without any core lock held. A Condition's own lock is
    reported as well, before it, because others wait for it than for the condition; so is the
    executor of a multiprocessing.Pool. What else is made inside another of ours is not, nor is a
    future. What the observer raises (only KeyboardInterrupt and the like can come out of it) is
    raised by the constructor.
`obj._meter`
    A `_core.Meter`, the same one at each access; made at the latest when first asked for. It is
    asked for through the class of ours, as `statistics()` is: a subclass may have other things of
    these names. It has
    `name` (an executor's `thread_name_prefix`, else None), `counts()`, and `waits(which)`, which
    raises KeyError for a name that its family lacks.
`_core.merge_meters(list[Meter]) -> Meter`
    A new, independent meter: histograms merged, each count added up, except that of a count whose
    name starts with `max` the largest is taken. Its name is the first one's.

The counts by family, all of them int; a missing one reads as 0:

- locks: none; waits `waits`;
- queues: `puts`, `gets`, `max_size`, `maxsize` (the bound); waits `put_waits`, `get_waits`;
- executors: `done`, `failed`, `cancelled`, `max_workers`, `busy_ns` (spent in tasks), `capacity_ns`
  (max_workers × life, until the shutdown was complete); waits `queue_delay`, `run_time`;
- process pools: the same, and `crashes`, `restarts`;
- event loops: `turns`, `polls`, `callbacks`, `timers_fired`, `connections`, `bytes_received`,
  `bytes_sent`, `stalls`, `asleep_ns`, `elapsed_ns` (of turns that were measured); waits `lag`,
  `run_time`, `depth` (a microsecond is one callback).

What only a living object can tell (size, waiters, running) is taken from its `statistics()`.

Reentrancy: `created` may be called from a `__del__`, a weakref callback or a signal handler while
this thread is already in here. So a record only ever goes onto a deque (atomic on every build), and
the sweep that sorts records into groups runs under a lock that is tried, never awaited.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections import deque
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from counterpoint import _core
from counterpoint._core import Guard
from counterpoint._observe.rows import HOMES, LOCKS, Measured, Row, Statistics, combine

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from counterpoint._core import Meter

__all__ = [
    "Cost",
    "Measured",
    "Meter",
    "Row",
    "clear",
    "cost",
    "created",
    "disable",
    "enable",
    "snapshot",
]


class Cost(NamedTuple):
    """What observing itself cost."""

    seconds: float
    """Time spent in `created`."""
    unobserved: int
    """Objects left out: most often because observing them all would have cost more than 1 %."""


# Class of ours, file and line of creation.
_Key: TypeAlias = tuple[type, str, int]
# Plain tuples: one is made for each object, and a named one takes twice as long.
_Record: TypeAlias = "tuple[weakref.ref[Measured], Meter]"


class _Group:
    """All records of one kind and site."""

    __slots__ = ("alive", "dead", "objects", "ours")

    def __init__(self, ours: type) -> None:
        self.ours = ours
        self.alive: list[_Record] = []
        self.dead: Meter | None = None
        self.objects = 0

    def meters(self) -> list[Meter]:
        kept = [self.dead] if self.dead is not None else []
        for reference, meter in self.alive:
            # Asking a living object for its meter brings the meter's counts up to date.
            measured = reference()
            kept.append(meter if measured is None else _meter_of(self.ours, measured))
        return kept

    def fold(self) -> None:
        """Merge what the dead counted into one meter."""
        dead = [self.dead] if self.dead is not None else []
        alive = []
        for record in self.alive:  # once only: an object may die at any moment
            if record[0]() is None:
                dead.append(record[1])
            else:
                alive.append(record)
        self.alive = alive
        if dead:
            self.dead = dead[0] if len(dead) == 1 else _core.merge_meters(dead)


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# The stdlib's modules that make our objects on a caller's behalf; their callers are the sites.
_GO_BETWEEN = (
    _PACKAGE,
    *(
        os.path.join(os.path.dirname(os.__file__), name)
        for name in ("threading.py", "queue.py", "concurrent" + os.sep, "asyncio" + os.sep)
    ),
)
_THREAD_INIT: CodeType = threading.Thread.__init__.__code__
_SWEEP_AT_LEAST = 256
# What observing may cost: 50 ms, and then 1 % of the run (3 % for queues and executors).
_FREE_NS = 50_000_000
_SHARE = 100
_LARGER_SHARE = 33


class _State:
    """Everything that changes, so that a forked child can start afresh by one assignment."""

    def __init__(self) -> None:
        self.incoming: deque[tuple[_Key, _Record]] = deque()
        self.groups: dict[_Key, _Group] = {}
        self.sweeping = Guard(reentrant=False)
        self.sweep_at = _SWEEP_AT_LEAST
        self.since = perf_counter_ns()
        self.spent_ns = 0
        self.left_out: deque[None] = deque()
        self.unobserved = 0
        self.unreadable = 0


_state = _State()


def enable() -> None:
    """Observe every object made from now on. Enabling twice is the same as once."""
    _state.since = perf_counter_ns()
    _core.set_observer(created)


def disable() -> None:
    """Observe no further object; what is known stays, and objects already known go on counting."""
    _core.set_observer(None)


def clear() -> None:
    """Forget everything observed so far."""
    global _state
    _state = _State()


def cost() -> Cost:
    """What observing has cost so far."""
    state = _state
    # In this order: one that is counted meanwhile is counted twice rather than not at all.
    unobserved = len(state.left_out) + state.unobserved + state.unreadable
    return Cost(state.spent_ns / 1e9, unobserved)


def created(obj: Measured) -> None:
    """Take note of a new object. Our constructors call this, nobody else."""
    state = _state
    begin = perf_counter_ns()
    ours = _ours(type(obj))
    share = _SHARE if ours is None or ours.__name__ in LOCKS else _LARGER_SHARE
    if ours is None or state.spent_ns > _FREE_NS + (begin - state.since) // share:
        _leave_out(state)
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # a constructor of ours in Python
    if frame is not None and frame.f_code is _THREAD_INIT:
        return  # Thread._started: one per thread, of no interest to anybody
    file, line = _site(frame)
    try:
        record = weakref.ref(obj), _meter_of(ours, obj)
    except Exception:  # whatever a subclass does must not break its user's constructor
        _leave_out(state)
        return
    state.incoming.append(((ours, file, line), record))
    if len(state.incoming) >= state.sweep_at:
        _try(_sweep, state)
    # Unlocked: on a free-threaded build a lost update makes the estimate lower, nothing worse.
    state.spent_ns += perf_counter_ns() - begin


def _leave_out(state: _State) -> None:
    """Count an object that is not observed: a deque loses none, as a number in two threads may."""
    state.left_out.append(None)
    if len(state.left_out) >= _SWEEP_AT_LEAST:
        _try(_count_left_out, state)


def _try(tidy: Callable[[_State], None], state: _State) -> None:
    with state.sweeping.held(timeout=0) as is_ours:
        if is_ours:
            tidy(state)


def snapshot() -> list[Row]:
    """What every kind and site has counted until now, in order of first creation.

    Raises:
        RuntimeError: when a signal handler or finalizer that interrupted the registry calls it.
    """
    state = _state
    with state.sweeping.held(timeout=5.0) as is_ours:
        if not is_ours:
            raise RuntimeError(
                "the registry is busy: call snapshot() outside finalizers and signals"
            )
        _sweep(state)
        rows, state.unreadable = [], 0
        for (ours, file, line), group in state.groups.items():
            try:
                rows.append(_row(ours, file, line, group))
            except Exception:  # one row must not cost the others
                state.unreadable += group.objects
        return rows


def _site(frame: FrameType | None) -> tuple[str, int]:
    """The innermost line that is neither ours nor a go-between's, in a file if there is one.

    Code without a file is generated (a dataclass's ``__init__``) or the program itself (``-c``).
    """
    generated = "?", 0
    while frame is not None:
        file = frame.f_code.co_filename
        if not _is_go_between(file):
            if not file.startswith("<"):
                return file, frame.f_lineno
            if generated[1] == 0:
                generated = file, frame.f_lineno
        frame = frame.f_back
    return generated


@functools.lru_cache(maxsize=4096)
def _is_go_between(file: str) -> bool:
    return file.startswith(_GO_BETWEEN)


def _ours(cls: type) -> type | None:
    """The class of ours that it is, or that the program derived it from."""
    for base in cls.__mro__:
        name = base.__name__
        if name in HOMES and base.__module__ == HOMES[name]:
            return base
    return None


def _meter_of(ours: Any, obj: Measured) -> Meter:
    """The meter that our class has of the object, whatever a subclass keeps under the name."""
    meter: Meter = ours._meter.__get__(obj)
    return meter


def _count_left_out(state: _State) -> None:
    """Make one number of them. The caller holds `sweeping`."""
    for _ in range(len(state.left_out)):
        state.left_out.popleft()
        state.unobserved += 1


def _sweep(state: _State) -> None:
    """Sort new records into groups and fold the dead. The caller holds `sweeping`."""
    while state.incoming:
        key, record = state.incoming.popleft()
        group = state.groups.setdefault(key, _Group(key[0]))
        group.alive.append(record)
        group.objects += 1
    for group in state.groups.values():
        group.fold()
    # Next time when as many came as there are to look through: a sweep costs O(1) for each object
    # made.
    alive = sum(len(group.alive) for group in state.groups.values())
    state.sweep_at = max(_SWEEP_AT_LEAST, alive)


def _row(ours: type, file: str, line: int, group: _Group) -> Row:
    kind, meters = ours.__name__, group.meters()
    names = {meter.name for meter in meters}
    name = names.pop() if len(names) == 1 else None
    meter = meters[0] if len(meters) == 1 else _core.merge_meters(meters)
    now = [current for record in group.alive if (current := _now(ours, record)) is not None]
    statistics = combine(kind, name, meter, now)
    return Row(kind, name, f"{file}:{line}", group.objects, statistics)


def _now(ours: Any, record: _Record) -> Statistics | None:
    obj = record[0]()
    if obj is None:
        return None
    try:
        statistics: Statistics = ours.statistics(obj)
    except Exception:  # a subclass whose constructor never came to ours
        return None
    return statistics


def _after_fork() -> None:
    # The summary is that of the process that was started; a child stops observing and pays nothing.
    disable()
    clear()


os.register_at_fork(after_in_child=_after_fork)
