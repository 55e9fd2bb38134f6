"""`RWLock`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from counterpoint import _core
from counterpoint._async import PENDING, current, drive
from counterpoint._sync._common import lock_statistics, refuse_pickling

if TYPE_CHECKING:
    from counterpoint._statistics import LockStatistics

__all__ = ["RWLock", "ReadLock", "WriteLock"]


class RWLock(_core.RWLock):
    """A lock that many may hold to read, or one to write; for threads and asyncio tasks.

    The standard library has none. `read_lock` and `write_lock` are its two faces, each a lock
    with `acquire`, `release`, `with`, `async with` and `async_acquire`. Either is made anew each
    time it is asked for, and equal to the others of its side.

    Args:
        mode: "writer": a writer that waits keeps new readers out, and goes first (after 16 of
            them, the readers that wait do). "fair": strictly first come, first served.

    Raises:
        ValueError: if the mode is neither.
        RuntimeError: from what could only wait for itself: acquiring the write lock while
            holding the read lock (an upgrade), or either while holding the write lock; and from
            releasing what is not held. To go from writing to reading, `write_lock.downgrade()`.
        DeadlockError: as for `Lock`.

    A reader may read again at any time. `with` in a coroutine acquires for the thread of the event
    loop, `async with` for the task: a task that waits inside `with` for what its own thread holds
    waits for itself, and is not refused.

    Cancellation: a cancelled or timed-out wait passes on what was meant for it. Fork: waiters that
    were other threads are forgotten in the child.

    >>> from counterpoint.threading import RWLock
    >>> table = RWLock()
    >>> with table.read_lock, table.read_lock:
    ...     table.readers
    1
    >>> with table.write_lock:
    ...     table.write_lock.downgrade()
    ...     table.readers
    1
    """

    def __init__(self, mode: Literal["writer", "fair"] = "writer") -> None:
        if mode not in ("writer", "fair"):
            raise ValueError(f"mode must be 'writer' or 'fair', not {mode!r}")
        self._set(mode == "fair")

    @property
    def read_lock(self) -> ReadLock:
        """The side that many may hold."""
        return ReadLock(self)

    @property
    def write_lock(self) -> WriteLock:
        """The side that one may hold, alone."""
        return WriteLock(self)

    def statistics(self) -> LockStatistics:
        """Who writes, who waits for either side, and how long readers and writers waited so far."""
        return lock_statistics(self, self.owner)

    def __repr__(self) -> str:
        state = "writing" if self.owner is not None else f"readers={self.readers}"
        state = f"{state} waiters={self.waiters}"
        cls = type(self)
        return f"<{cls.__module__}.{cls.__qualname__} at {id(self):#x}: {state}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickling("_thread.lock")


class _Side:
    """What both sides have of the lock."""

    __slots__ = ("_lock",)

    def __init__(self, lock: RWLock) -> None:
        self._lock = lock

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._lock is self._lock

    def __hash__(self) -> int:
        return hash((type(self), id(self._lock)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._lock!r}>"


class ReadLock(_Side):
    """The side of an `RWLock` that many may hold."""

    __slots__ = ()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Enters as a reader; False if that took over `timeout` seconds (-1: no limit)."""
        return self._lock._acquire_read(blocking, timeout)

    async def async_acquire(self, timeout: float | None = None) -> bool:
        """Enters as a reader on behalf of the current task; False if it could not in time.

        Args:
            timeout: Seconds; None waits for ever, zero or less (-1, too) tries once.
        """
        return await drive(self._lock._read_ticket(*current()), timeout) is not PENDING

    def release(self) -> None:
        """Leaves; the last reader lets a writer in."""
        self._lock._release_read()

    def locked(self) -> bool:
        """Whether anybody reads."""
        return self._lock.readers > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    async def __aenter__(self) -> bool:
        return await self.async_acquire()

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()


class WriteLock(_Side):
    """The side of an `RWLock` that one may hold, alone."""

    __slots__ = ()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Enters as the writer; False if that took over `timeout` seconds (-1: no limit)."""
        return self._lock._acquire_write(blocking, timeout)

    async def async_acquire(self, timeout: float | None = None) -> bool:
        """Enters as the writer on behalf of the current task; False if it could not in time.

        Args:
            timeout: Seconds; None waits for ever, zero or less (-1, too) tries once.
        """
        return await drive(self._lock._write_ticket(*current()), timeout) is not PENDING

    def release(self) -> None:
        """Leaves, whether still writing or, after a `downgrade()`, reading."""
        if self._lock.owner is None:
            self._lock._release_read()
        else:
            self._lock._release_write()

    def downgrade(self) -> None:
        """Goes on as a reader, without letting another writer in between."""
        self._lock._downgrade()

    def locked(self) -> bool:
        """Whether anybody writes."""
        return self._lock.owner is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    async def __aenter__(self) -> bool:
        return await self.async_acquire()

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()
