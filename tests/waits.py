"""Every way to wait for a lock, in one shape, so that one test can be made of each.

An object is made so that it is not to be had. Then `take` and `async_take` wait for it, `free`
lets one of those who wait go on (and must be called in the thread that made the object), and
`give` undoes a take.
"""

from __future__ import annotations

import threading as stdlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from counterpoint import threading
from tests.support import DEADLINE, result, spawn


class Wait(NamedTuple):
    """One way to wait."""

    name: str
    make: Callable[[], Any]
    take: Callable[[Any, float | None], bool]
    async_take: Callable[[Any, float | None], Any]
    free: Callable[[Any], object]
    give: Callable[[Any], object]
    # Where in line: `waiters` counts those who wait.
    waiters: Callable[[Any], int] = lambda subject: subject.waiters

    def __repr__(self) -> str:
        return self.name


class Elsewhere:
    """A subject that another thread made, and that it frees when asked to."""

    def __init__(self, wait: Wait) -> None:
        self._wait, self._ended, self._frees = wait, stdlib.Event(), False
        made = stdlib.Event()
        self._thread = spawn(self._run, made)
        assert made.wait(DEADLINE)

    def _run(self, made: stdlib.Event) -> None:
        self.subject = self._wait.make()
        made.set()
        self._ended.wait()
        if self._frees:
            self._wait.free(self.subject)

    def free(self) -> None:
        """Frees the subject in its thread, sooner or later."""
        self._frees = True
        self._ended.set()

    def end(self) -> None:
        """Ends the thread, and waits for what it did."""
        self._ended.set()
        result(self._thread)


def _nothing(_: Any) -> None:
    pass


def _lock_take(lock: Any, timeout: float | None) -> bool:
    return lock.acquire() if timeout is None else lock.acquire(timeout=timeout)


async def _lock_async_take(lock: Any, timeout: float | None) -> bool:
    return await lock.async_acquire(timeout)


def _release(lock: Any) -> None:
    lock.release()


def _held(kind: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> Any:
        lock = kind()
        lock.acquire()
        return lock

    return make


def _writing() -> threading.RWLock:
    lock = threading.RWLock()
    lock.write_lock.acquire()
    return lock


def _reading() -> threading.RWLock:
    lock = threading.RWLock()
    lock.read_lock.acquire()
    return lock


def _condition_take(condition: Any, timeout: float | None) -> bool:
    with condition:
        return condition.wait(timeout)


async def _condition_async_take(condition: Any, timeout: float | None) -> bool:
    async with condition:
        return await condition.async_wait(timeout)


def _notify(condition: Any) -> None:
    with condition:
        condition.notify()


async def _event_async_take(event: Any, timeout: float | None) -> bool:
    return await event.async_wait(timeout)


def _barrier_take(barrier: Any, timeout: float | None) -> bool:
    try:
        return barrier.wait(timeout) == 0
    except threading.BrokenBarrierError:
        return False


async def _barrier_async_take(barrier: Any, timeout: float | None) -> bool:
    try:
        return await barrier.async_wait(timeout) == 0
    except threading.BrokenBarrierError:
        return False


WAITS = {
    wait.name: wait
    for wait in (
        Wait("Lock", _held(threading.Lock), _lock_take, _lock_async_take, _release, _release),
        Wait("RLock", _held(threading.RLock), _lock_take, _lock_async_take, _release, _release),
        Wait(
            "Semaphore",
            lambda: threading.Semaphore(0),
            lambda semaphore, timeout: semaphore.acquire(timeout=timeout),
            _lock_async_take,
            _release,
            _release,
        ),
        Wait(
            "BoundedSemaphore",
            _held(threading.BoundedSemaphore),
            lambda semaphore, timeout: semaphore.acquire(timeout=timeout),
            _lock_async_take,
            _release,
            _release,
        ),
        Wait(
            "Condition",
            threading.Condition,
            _condition_take,
            _condition_async_take,
            _notify,
            _nothing,
        ),
        Wait(
            "Condition-Lock",
            lambda: threading.Condition(threading.Lock()),
            _condition_take,
            _condition_async_take,
            _notify,
            _nothing,
        ),
        Wait(
            "Event",
            threading.Event,
            lambda event, timeout: event.wait(timeout),
            _event_async_take,
            lambda event: event.set(),
            _nothing,
        ),
        Wait(
            "Barrier",
            lambda: threading.Barrier(2),
            _barrier_take,
            _barrier_async_take,
            lambda barrier: barrier.wait(DEADLINE),
            _nothing,
        ),
        Wait(
            "ReadLock",
            _writing,
            lambda lock, timeout: _lock_take(lock.read_lock, timeout),
            lambda lock, timeout: lock.read_lock.async_acquire(timeout),
            lambda lock: lock.write_lock.release(),
            lambda lock: lock.read_lock.release(),
        ),
        Wait(
            "WriteLock",
            _reading,
            lambda lock, timeout: _lock_take(lock.write_lock, timeout),
            lambda lock, timeout: lock.write_lock.async_acquire(timeout),
            lambda lock: lock.read_lock.release(),
            lambda lock: lock.write_lock.release(),
        ),
        Wait(
            "CapacityLimiter",
            _held(lambda: threading.CapacityLimiter(1)),
            _lock_take,
            _lock_async_take,
            _release,
            _release,
        ),
    )
}

# Those of which one free() lets one through, the others still waiting.
EXCLUSIVE = [name for name in WAITS if name not in ("Event", "Barrier", "ReadLock")]

every_wait = pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
exclusive_waits = pytest.mark.parametrize("wait", [WAITS[n] for n in EXCLUSIVE], ids=EXCLUSIVE)
