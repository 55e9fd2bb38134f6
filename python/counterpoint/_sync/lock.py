"""`Lock` and `RLock`."""

from __future__ import annotations

from counterpoint import _core
from counterpoint._sync._common import (
    acquire_as_task,
    lock_statistics,
    owner_of,
    refuse_pickling,
)

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import NoReturn

    from counterpoint._statistics import LockStatistics

__all__ = ["Lock", "RLock"]


class Lock(_core.Lock):
    """A mutual exclusion lock for threads and asyncio tasks.

    Equals `threading.Lock()`. Beyond it, the same lock can be held by a task: `async with lock:`
    or `await lock.async_acquire()`, in any event loop, several loops at once. `owner` tells who
    holds it, `waiters` how many want it.

    A lock is first come, first served among those who wait, but whoever comes along while it is
    free may take it; one who waited a millisecond gets it handed over, so nobody starves. (The
    scheme is that of WebKit's lock with eventual fairness, as in Go and in CPython.)

    Raises:
        DeadlockError: from a blocking `acquire()` without a timeout, in the thread of a running
            event loop, when a task of that loop holds the lock: it could never end.

    The reverse is not seen: after `with lock:` in a coroutine the thread of the event loop holds
    the lock, and anything that runs there may release it. So `async with lock:` inside of it waits,
    for ever if nobody does.

    Cancellation: a cancelled or timed-out wait passes on a lock that was meant for it.
    Fork: in the child the lock is as it was; waiters that were other threads are forgotten.
    Free-threading: no GIL is needed or assumed.

    >>> from counterpoint.threading import Lock
    >>> lock = Lock()
    >>> with lock:
    ...     lock.locked()
    True
    >>> lock.acquire(timeout=1.5)
    True
    >>> lock.release()

    In a coroutine:

    >>> import asyncio
    >>> async def main():
    ...     async with lock:
    ...         return lock.owner is asyncio.current_task()
    >>> asyncio.run(main())
    True
    """

    __slots__ = ()

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("type 'counterpoint.threading.Lock' is not an acceptable base type")

    async def async_acquire(self, timeout: float | None = None) -> bool:
        """Acquires the lock for the current task.

        Args:
            timeout: Seconds; None waits for ever, zero or less tries once.

        Returns:
            Whether the lock was acquired.

        Cancellation: safe at any moment; the lock is then not held.
        """
        return await acquire_as_task(self, timeout)

    async def __aenter__(self) -> bool:
        return await acquire_as_task(self, None)

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()

    def statistics(self) -> LockStatistics:
        """Who holds it, who waits, and how long the waits took so far."""
        return lock_statistics(self, self.owner)

    def __reduce__(self) -> NoReturn:
        refuse_pickling("_thread.lock")


class RLock(_core.RLock):
    """A lock that its owner, a thread or an asyncio task, may acquire again.

    Equals `threading.RLock()`. Beyond it, a task can own it: `async with rlock:`. A task that
    does may also enter `with rlock:` in between, but not the other way round: what `with rlock:`
    acquired in a coroutine is held by the thread of the event loop, and `async with rlock:` inside
    of it waits for itself. Everything else is as for `Lock`.

    Raises:
        RuntimeError: from `release()` by anyone but the owner.
        DeadlockError: as for `Lock`.

    >>> from counterpoint.threading import RLock
    >>> lock = RLock()
    >>> with lock, lock:
    ...     lock._recursion_count()
    2
    """

    __slots__ = ()

    async def async_acquire(self, timeout: float | None = None) -> bool:
        """Acquires the lock for the current task, once more if it holds it already.

        Args:
            timeout: Seconds; None waits for ever, zero or less tries once.

        Returns:
            Whether the lock was acquired.

        Cancellation: safe at any moment; the lock is then not held once more.
        """
        return await acquire_as_task(self, timeout)

    async def __aenter__(self) -> bool:
        return await acquire_as_task(self, None)

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()

    def statistics(self) -> LockStatistics:
        """Who holds it, who waits, and how long the waits took so far."""
        return lock_statistics(self, owner_of(self))

    def __reduce__(self) -> NoReturn:
        refuse_pickling("_thread.RLock")
