"""`SimpleQueue`."""

from __future__ import annotations

from counterpoint import _core
from counterpoint._async import PENDING, drive
from counterpoint._queue.errors import Empty
from counterpoint._queue.shared import statistics_of

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import NoReturn, TypeVar

    from counterpoint._statistics import QueueStatistics

    T = TypeVar("T")

__all__ = ["SimpleQueue"]


class SimpleQueue(_core.SimpleQueue["T"]):
    """An unbounded first in, first out queue without task tracking, for threads and asyncio tasks.

    Equals `queue.SimpleQueue()`. Beyond it, `await q.async_get()` in any event loop, several loops
    at once; `put_many`, `get_many`, `peek`; `statistics()`. Like the stdlib's it has no bound,
    `join` or `shutdown`, and so no end up to which to iterate.

    Cancellation: a cancelled or timed-out wait neither loses an item nor takes one.
    Fork: the child has a copy of the queue that it can use; threads that waited are forgotten.
    Free-threading: no GIL is needed or assumed.
    Reentrancy: every method may be called from a destructor, a weakref callback or a signal
    handler that interrupts another call of the same queue in the same thread.

    >>> from counterpoint.queue import SimpleQueue
    >>> q = SimpleQueue()
    >>> q.put("spam")
    >>> q.qsize(), q.get(), q.empty()
    (1, 'spam', True)
    """

    __slots__ = ()

    async def async_put(self, item: T) -> None:
        """Puts an item. Never waits."""
        self.put(item)

    async def async_get(self, timeout: float | None = None) -> T:
        """Takes an item out; waits for one without blocking the event loop.

        Args:
            timeout: How many seconds to wait at most; None waits for ever, zero or less tries
                once.

        Raises:
            Empty: There was no item in time.

        Cancellation: no item is then taken.
        """
        item: T = self._try_get(PENDING)
        if item is PENDING:
            item = await drive(self._get_ticket(), timeout)
        if item is PENDING:
            raise Empty
        return item

    async def async_get_many(self, max: int, timeout: float | None = None) -> list[T]:
        """Takes one item at least and `max` at most; the coroutine twin of `get_many`."""
        items: list[T] = await drive(self._get_many_ticket(max), timeout)
        if items is PENDING:
            raise Empty
        return items

    def statistics(self) -> QueueStatistics:
        """What happened so far, and who waits now. Tasks are not tracked: none is finished."""
        return statistics_of(self, 0)

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle '_queue.SimpleQueue' object")
