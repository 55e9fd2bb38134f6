"""What a subclass may name its own: all that the standard library's class leaves free."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import queue as stdlib_queue
import threading as stdlib_threading
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import futures, queue, threading
from counterpoint._statistics import ExecutorStatistics, LockStatistics, QueueStatistics
from tests.support import run_async

ARGUMENTS: dict[str, tuple[Any, ...]] = {"Barrier": (2,)}
LOCKS = ("RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier")
QUEUES = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")
PAIRS: dict[str, tuple[type, Any]] = {
    **{name: (getattr(threading, name), getattr(stdlib_threading, name)) for name in LOCKS},
    **{name: (getattr(queue, name), getattr(stdlib_queue, name)) for name in QUEUES},
    "ThreadPoolExecutor": (futures.ThreadPoolExecutor, concurrent.futures.ThreadPoolExecutor),
}
# What the stdlib's class has only in its instances, or under another name.
INSIDE = {"_lock", "_waiters", "_flag", "_cond", "_value", "_initial_value", "is_shutdown"}

every_class = pytest.mark.parametrize("name", PAIRS)


def free_names(name: str) -> list[str]:
    """Names that ours computes and the stdlib's objects do not have."""
    ours, theirs = PAIRS[name]
    known = set(dir(theirs(*ARGUMENTS.get(name, ())))) | INSIDE
    computed = [
        each
        for each in dir(ours)
        if hasattr(type(inspect.getattr_static(ours, each)), "__get__")
        and not callable(getattr(ours, each))
    ]
    # The native half of the pool has a name that nobody else would think of.
    return [each for each in computed if each not in known and "counterpoint" not in each]


def derived(name: str) -> Any:
    return type("Mine", (PAIRS[name][0],), {})(*ARGUMENTS.get(name, ()))


@every_class
def test_our_names_are_free(name: str) -> None:
    names = free_names(name)
    assert "_meter" in names
    for each in names:
        mine = derived(name)
        before = getattr(mine, each)
        setattr(mine, each, "its own")
        assert getattr(mine, each) == "its own"
        assert vars(mine)[each] == "its own"
        delattr(mine, each)
        assert type(getattr(mine, each)) is type(before)


@pytest.mark.parametrize("name", LOCKS)
def test_the_attributes_that_are_meant(name: str) -> None:
    assert {"owner", "waiters", "_meter"} <= set(free_names(name))


@every_class
def test_statistics_do_not_go_by_what_a_subclass_means(name: str) -> None:
    mine = derived(name)
    for each in free_names(name):
        setattr(mine, each, ["its own"])
    seen = mine.statistics()
    assert isinstance(seen, (ExecutorStatistics, LockStatistics, QueueStatistics))
    if isinstance(seen, LockStatistics):
        assert (seen.owner, seen.waiters, seen.waits.count) == (None, 0, 0)


def test_a_condition_s_methods_can_be_replaced_as_the_stdlib_s() -> None:
    class Counting(threading.Condition):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0
            native = self.acquire
            self.acquire = lambda *args: self._counted(native, *args)  # type: ignore[misc]

        def _counted(self, native: Callable[..., bool], *args: Any) -> bool:
            self.count += 1
            return native(*args)

    condition = Counting()
    assert condition.acquire(False)
    condition.release()
    assert condition.count == 1


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_a_condition_s_owner_is_that_of_its_lock(name: str) -> None:
    lock = getattr(threading, name)()
    condition = threading.Condition(lock)

    async def as_task() -> None:
        async with condition:
            assert condition.owner is asyncio.current_task() is condition.statistics().owner

    assert condition.owner is None
    with condition:
        assert condition.owner == threading.get_ident() == condition.statistics().owner
    run_async(as_task())
    assert condition.owner is None


def test_who_has_no_single_owner_has_none() -> None:
    condition = threading.Condition(stdlib_threading.Lock())  # type: ignore[arg-type]
    with condition:
        assert condition.owner is None
    semaphore, limiter = threading.Semaphore(), threading.CapacityLimiter(1)
    with semaphore, limiter:
        assert semaphore.owner is None
        assert limiter.owner is None
    for subject in (threading.BoundedSemaphore(), threading.Event(), threading.Barrier(1)):
        assert subject.owner is None
        assert subject.statistics().owner is None
