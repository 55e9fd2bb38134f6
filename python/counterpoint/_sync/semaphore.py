"""`Semaphore` and `BoundedSemaphore`."""

from __future__ import annotations

from counterpoint import _core
from counterpoint._async import PENDING, drive
from counterpoint._sync._common import lock_statistics, refuse_pickling, stdlib_name

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import NoReturn

    from counterpoint._statistics import LockStatistics

__all__ = ["BoundedSemaphore", "Semaphore"]


class Semaphore(_core.Semaphore):
    """A counter of permits that threads and asyncio tasks take and return.

    Equals `threading.Semaphore(value)`. Beyond it, `async with semaphore:` and
    `await semaphore.async_acquire()` in any event loop; `waiters`; `statistics()`. Those who wait
    are served in order; one who waited a millisecond cannot be overtaken.

    Args:
        value: How many permits there are at first.

    Raises:
        ValueError: if `value` is negative, or `release(n)` is asked for less than one.

    Cancellation: a cancelled or timed-out wait passes on a permit that was meant for it.
    Fork: in the child the count is as it was; waiters that were other threads are forgotten.

    >>> from counterpoint.threading import Semaphore
    >>> semaphore = Semaphore(2)
    >>> with semaphore:
    ...     semaphore.acquire(), semaphore.acquire(timeout=0.01)
    (True, False)
    >>> semaphore.release()
    """

    _bounded = False

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        self._set(value, self._bounded)

    async def async_acquire(self, timeout: float | None = None) -> bool:
        """Takes a permit for the current task.

        Args:
            timeout: Seconds; None waits for ever, zero or less tries once.

        Returns:
            Whether there was a permit in time.

        Cancellation: safe at any moment; no permit is then held.
        """
        return await drive(self._ticket(), timeout) is not PENDING

    async def __aenter__(self) -> bool:
        return await self.async_acquire()

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()

    def statistics(self) -> LockStatistics:
        """Who waits, and how long the waits took so far."""
        return lock_statistics(self)

    def __repr__(self) -> str:
        return f"<{stdlib_name(type(self))} at {id(self):#x}: value={self._value}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickling("_thread.lock")


class BoundedSemaphore(Semaphore):
    """A semaphore that refuses to be released more often than it was acquired.

    Equals `threading.BoundedSemaphore(value)`; beyond it as `Semaphore`.

    Args:
        value: How many permits there are at first, and at most.

    Raises:
        ValueError: from a `release()` that would exceed `value`.

    >>> from counterpoint.threading import BoundedSemaphore
    >>> BoundedSemaphore(1).release()
    Traceback (most recent call last):
    ValueError: Semaphore released too many times
    """

    _bounded = True

    def __repr__(self) -> str:
        limits = f"{self._value}/{self._initial_value}"
        return f"<{stdlib_name(type(self))} at {id(self):#x}: value={limits}>"
