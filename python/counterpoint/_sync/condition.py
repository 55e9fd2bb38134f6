"""`Condition`."""

from __future__ import annotations

from threading import get_ident
from time import monotonic

from counterpoint import _core
from counterpoint._async import PENDING, drive, seconds
from counterpoint._sync._common import lock_statistics, owner_of, refuse_pickling
from counterpoint._sync.lock import Lock, RLock

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, NoReturn, TypeVar

    T = TypeVar("T")

    from counterpoint._statistics import LockStatistics

__all__ = ["Condition"]


# Where `async_wait` tells the `async with` around it, both in a coroutine that this thread closes,
# that the lock is another's now. (They see two exceptions, so it cannot be said in there.)
_NOT_HELD = "_not_held_in"

_KINDS = {Lock: 1, RLock: 2}


class Condition(_core.Condition):
    """A lock with a waiting room: wait until told, for threads and asyncio tasks.

    Equals `threading.Condition(lock)`. Beyond it, `async with condition:`,
    `await condition.async_wait()` and `async_wait_for()` in any event loop; `owner` of the lock;
    `waiters`; `statistics()`. A notification reaches those who wait in order, threads and tasks
    alike. `waiters` and `statistics()` are about those who wait to be told. Those who wait to enter
    the `with` wait for the lock, and count there: to ask it, give the condition a lock of your own.
    `counterpoint run` has a row for the lock in any case.

    Args:
        lock: A `Lock` or `RLock` of ours, or anything with `acquire` and `release`; a new `RLock`
            if None. The methods for tasks need one of ours.

    Raises:
        RuntimeError: from waiting or notifying without holding the lock.

    Cancellation: a notification that reached a task which is cancelled, or a thread interrupted
    by Ctrl-C, goes to the next in line; the lock is held again when the exception leaves.
    Fork: waiters that were other threads are forgotten in the child.

    >>> from counterpoint.threading import Condition
    >>> ready = Condition()
    >>> with ready:
    ...     ready.notify_all()
    ...     ready.wait(timeout=0.01)
    False
    """

    def __init__(self, lock: Lock | RLock | None = None) -> None:
        if lock is None:
            lock = RLock()
        kind = _KINDS.get(type(lock), 0)
        if not kind:
            # Whatever has no such methods is refused at once, and in the stdlib's words.
            _ = lock.acquire, lock.release
        self._set(lock, kind)

    @property
    def owner(self) -> int | asyncio.Task[Any] | None:
        """Who holds the lock: a thread's ident, a Task, or None; None for a lock not of ours."""
        return _owner(self)

    @property
    def acquire(self) -> Callable[..., bool]:
        """The lock's `acquire`."""
        return self._lock.acquire

    @property
    def release(self) -> Callable[[], None]:
        """The lock's `release`."""
        return self._lock.release

    @property
    def locked(self) -> Callable[[], bool]:
        """The lock's `locked`."""
        return self._lock.locked

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Waits until `predicate()` is true.

        Equals `threading.Condition.wait_for`.

        Args:
            predicate: Called with the lock held, at least once.
            timeout: Seconds in all; None waits for ever. Of zero or less: gives up the lock
                once, and asks again.

        Returns:
            What the predicate returned last.
        """
        deadline, left = None, timeout
        result = predicate()
        while not result:
            if deadline is not None:
                left = deadline - monotonic()
                if left <= 0:
                    break
            elif left is not None:
                deadline = monotonic() + left
            self.wait(left)
            result = predicate()
        return result

    def notifyAll(self) -> None:
        """The deprecated name of `notify_all`."""
        import warnings

        warnings.warn("notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, 2)
        self.notify_all()

    async def async_acquire(self, timeout: float | None = None) -> bool:
        """Acquires the lock for the current task."""
        return await self._ours().async_acquire(timeout)

    async def async_wait(self, timeout: float | None = None) -> bool:
        """Gives up the lock, waits to be told, takes the lock again.

        Args:
            timeout: Seconds; None waits for ever. Taking the lock again is not limited.

        Returns:
            False if nobody told it in time.

        Raises:
            RuntimeError: if the lock is not held.
            TypeError: if the lock is not one of ours.

        Cancellation: the lock is held again when CancelledError leaves.
        """
        lock = self._ours()
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        count = 0

        def release() -> None:
            nonlocal count
            if isinstance(lock, RLock):
                count = lock._release_save()[0]
            else:
                lock.release()
                count = 1

        try:
            try:
                told = await drive(self._ticket(), timeout, queued=release) is not PENDING
            except GeneratorExit:
                raise
            except BaseException:
                if count:
                    await _acquire_for_sure(lock, count)
                raise
            await _acquire_for_sure(lock, count)
            return told
        except GeneratorExit:
            # The task was thrown away, and nothing can be awaited any more.
            if count and not _acquire_at_once(lock, count):
                self.__dict__[_NOT_HELD] = get_ident()
            raise

    async def async_wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Waits until `predicate()` is true; the coroutine twin of `wait_for`."""
        deadline, left = None, None if timeout is None else seconds(timeout)
        result = predicate()
        while not result:
            if deadline is not None:
                left = deadline - monotonic()
                if left <= 0:
                    break
            elif left is not None:
                deadline = monotonic() + left
            await self.async_wait(left)
            result = predicate()
        return result

    def _ours(self) -> Lock | RLock:
        lock = self._lock
        if isinstance(lock, (Lock, RLock)):
            return lock
        raise TypeError(
            f"a task cannot wait for a {type(lock).__name__}; "
            "give the condition a counterpoint Lock or RLock"
        )

    async def __aenter__(self) -> bool:
        return await self.async_acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if isinstance(error, GeneratorExit) and self.__dict__.pop(_NOT_HELD, 0) == get_ident():
            return
        self.release()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """What the stdlib copies from its lock where that has it."""
            if name in ("_release_save", "_acquire_restore", "_recursion_count"):
                return getattr(self._lock, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _waiters(self) -> range:
        """As many as wait; the stdlib has a deque of locks here."""
        return range(self.waiters)

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()  # type: ignore[attr-defined]  # as the stdlib's
        self._forget_waiters()

    def statistics(self) -> LockStatistics:
        """Who waits to be told, and how long that took so far."""
        return lock_statistics(self, _owner(self))

    def __repr__(self) -> str:
        return f"<Condition({self._lock!r}, {self.waiters})>"

    def __reduce__(self) -> NoReturn:
        kind = "_thread.lock" if isinstance(self._lock, Lock) else "_thread.RLock"
        refuse_pickling(kind)


# A subclass may set them, as it can the stdlib's instance attributes; `owner` that has not.
_core.let_yield(Condition, "acquire", "release", "locked", "owner")


def _owner(condition: Condition) -> int | asyncio.Task[Any] | None:
    lock = condition._lock
    return owner_of(lock) if isinstance(lock, (Lock, RLock)) else None


def _acquire_at_once(lock: Lock | RLock, count: int) -> bool:
    # One by one: this thread may be inside already, with a depth of its own.
    return all(lock.acquire(blocking=False) for _ in range(count))


async def _acquire_for_sure(lock: Lock | RLock, count: int) -> None:
    """Acquires for the current task; a cancellation meanwhile is raised only afterwards."""
    from asyncio import CancelledError

    cancelled: CancelledError | None = None
    while True:
        try:
            await lock.async_acquire()
            break
        except CancelledError as error:
            cancelled = error
    if isinstance(lock, RLock):
        lock._restore_count(count)
    if cancelled is not None:
        raise cancelled
