"""`Condition` between processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from multiprocessing import context
from typing import Any, TypeVar

from counterpoint import _core

from .locks import Lock, OwnerDied, RLock
from .sharing import Shared

__all__ = ["Condition"]

T = TypeVar("T")


class _Waiters(Shared, _core.ProcessWaiters):
    """The memory of a condition."""

    __slots__ = ()


class _Count:
    """A number that the stdlib keeps in a semaphore."""

    def __init__(self, count: Callable[[], int]) -> None:
        self.get_value = count


class Condition:
    """A condition for processes and their threads.

    Equals `multiprocessing.Condition(lock)`. Different: those who wait are notified in the order
    in which they came, and `notify()` does not wait until they are awake, so nobody who dies
    meanwhile keeps it waiting; a notification that a dead process had goes to somebody else. If
    somebody died with the lock, the next to enter, or to return from `wait()`, gets `OwnerDied`
    instead of True.

    Args:
        lock: A `Lock` or `RLock` of this module or of the stdlib; a new RLock by default.

    >>> from counterpoint import multiprocessing
    >>> condition = multiprocessing.Condition()
    >>> with condition:
    ...     condition.wait(0.01)
    False
    """

    def __init__(self, lock: Any = None, *, ctx: object = None) -> None:
        self._set_up(lock if lock is not None else RLock(), _Waiters())

    def _set_up(self, lock: Any, waiters: _Waiters) -> None:
        self._lock: Lock | RLock = lock
        self._waiters = waiters
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __getstate__(self) -> tuple[Any, _Waiters]:
        context.assert_spawning(self)
        return self._lock, self._waiters

    def __setstate__(self, state: tuple[Any, _Waiters]) -> None:
        self._set_up(*state)

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._waiters.waiting()})>"

    def wait(self, timeout: float | None = None) -> bool | OwnerDied:
        """Releases the lock, waits for a notification, and acquires the lock again.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            Whether there was a notification; `OwnerDied`, which is true, if there was one and the
            lock was inherited from the dead. `owner_deaths` tells without one.
        """
        assert self._lock._semlock._is_mine(), "must acquire() condition before using wait()"
        slot = self._waiters.enter()
        count = self._lock._semlock._count()
        for _ in range(count):
            self._lock.release()
        heir, over = False, False
        died: OwnerDied | None = None
        try:
            heir = self._waiters.wait(slot, timeout) or False
            over = True
        finally:
            try:
                died = self._acquire_again(count)
            finally:
                notified = self._waiters.leave(slot)
                # Two are one too many, and who was interrupted cannot use one.
                if notified and (heir or not over):
                    self._waiters.notify(1)
        woken = heir or notified
        return died if woken and died is not None else woken

    def _acquire_again(self, count: int) -> OwnerDied | None:
        died = None
        for _ in range(count):
            acquired = self._lock.acquire()
            if isinstance(acquired, OwnerDied):
                died = acquired
                self._tell(acquired)
        return died

    def _tell(self, died: OwnerDied) -> None:
        """What the lock guards may be half changed."""

    def notify(self, n: int = 1) -> None:
        """Lets `n` of those who wait go on, those who came first."""
        assert self._lock._semlock._is_mine(), "lock is not owned"
        self._waiters.notify(n)

    def notify_all(self) -> None:
        """Lets all who wait go on."""
        self.notify(sys.maxsize)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Waits until `predicate()` is true, for `timeout` seconds at most; its last value."""
        end = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    @property
    def owner_deaths(self) -> int:
        """How many have died with the lock; not known of a lock of the stdlib's, 0."""
        return int(getattr(self._lock, "owner_deaths", 0))

    # What the stdlib's has, and programs are known to look at.
    @property
    def _sleeping_count(self) -> _Count:
        return _Count(self._waiters.waiting)

    @property
    def _woken_count(self) -> _Count:
        return _Count(lambda: 0)

    @property
    def _wait_semaphore(self) -> _Count:
        return _Count(lambda: 0)
