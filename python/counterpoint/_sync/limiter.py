"""`CapacityLimiter`."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NoReturn

from counterpoint import _core
from counterpoint._async import PENDING, drive
from counterpoint._sync._common import lock_statistics, refuse_pickling

if TYPE_CHECKING:
    from counterpoint._statistics import LockStatistics

__all__ = ["CapacityLimiter"]

_UNLIMITED = 2 * sys.maxsize + 1


class CapacityLimiter(_core.CapacityLimiter):
    """Limits how many threads and tasks do something at once; each holds at most one token.

    The standard library has none; `trio.CapacityLimiter` and `anyio.CapacityLimiter` are its
    namesakes for tasks. Unlike a semaphore it knows who holds a token, refuses a second one to
    the same thread or task (which could end in a deadlock), and can be resized.

    `with limiter:` in a coroutine borrows for the thread of its event loop. `async with limiter:`
    inside of it borrows for the task, which is another party and not refused: if the thread has the
    last token, the task waits for itself.

    Args:
        total_tokens: How many may hold a token at once; `math.inf` for no limit.

    Raises:
        TypeError, ValueError: if `total_tokens` is no int >= 0 and not `math.inf`.
        RuntimeError: from acquiring a second token, or releasing none. A task that holds one may
            not acquire another for its thread, either.
        DeadlockError: from a blocking `acquire()` without a timeout, in the thread of a running
            event loop, when tasks of that loop hold all the tokens: unless they grow in number it
            could never end.

    Those who wait are served strictly in order. Cancellation: a cancelled or timed-out wait
    passes on a token that was meant for it.

    >>> from counterpoint.threading import CapacityLimiter
    >>> limiter = CapacityLimiter(2)
    >>> with limiter:
    ...     limiter.borrowed_tokens, limiter.available_tokens
    (1, 1)
    >>> limiter.total_tokens = 3
    """

    def __init__(self, total_tokens: float) -> None:
        self._set(_tokens(total_tokens))

    @property
    def total_tokens(self) -> float:
        """How many tokens there are. Set it to resize; what is lent stays lent."""
        total = self._total()
        return math.inf if total == _UNLIMITED else total

    @total_tokens.setter
    def total_tokens(self, total: float) -> None:
        self._resize(_tokens(total))

    @property
    def available_tokens(self) -> float:
        """How many are free; negative after shrinking below what is lent."""
        return self.total_tokens - self.borrowed_tokens

    async def async_acquire(self, timeout: float | None = None) -> bool:
        """Borrows a token for the current task; False if there was none in time.

        Args:
            timeout: Seconds; None waits for ever, zero or less (-1, too) tries once.
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
        tokens = f"{self.borrowed_tokens}/{self.total_tokens}"
        cls = type(self)
        return f"<{cls.__module__}.{cls.__qualname__} at {id(self):#x}: borrowed={tokens}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickling("_thread.lock")


def _tokens(total: float) -> int:
    if total == math.inf:
        return _UNLIMITED
    if not isinstance(total, int):
        raise TypeError(f"total_tokens must be an int or math.inf, not {total!r}")
    if total < 0:
        raise ValueError(f"total_tokens must be >= 0, not {total}")
    return total
