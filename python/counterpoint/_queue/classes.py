"""`Queue`, `LifoQueue` and `PriorityQueue`."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from time import monotonic

from counterpoint import _core
from counterpoint._async import PENDING, drive, seconds
from counterpoint._queue.errors import Empty, Full, Moved, ShutDown
from counterpoint._queue.shared import statistics_of

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Literal, NoReturn, TypeVar

    from counterpoint._statistics import QueueStatistics

    T = TypeVar("T")

__all__ = ["LifoQueue", "PriorityQueue", "Queue"]


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else monotonic() + seconds(timeout)


class Queue(_core.Queue["T"]):
    """A first in, first out queue for threads and asyncio tasks.

    Equals `queue.Queue(maxsize)`. Beyond it, `await q.async_put(item)`, `async_get()` and
    `async_join()` in any event loop, several loops at once; `for item in q` and
    `async for item in q` until the queue is shut down and empty; `put_many`, `get_many`, `peek`,
    `join(timeout=)`; `maxsize` can be set at any time; `shutdown` on every version of Python.

    Args:
        maxsize: The most items it holds; zero or less, or infinity: no bound.
        overflow: What a put does that finds no room. `"block"`: it waits. `"raise"`: it raises
            `Full` at once, whatever its `timeout`. `"drop_oldest"`: it throws away the item that
            was put first, or as many as it takes where `maxsize` was lowered. `"drop_newest"`: it
            throws away its own item. What is thrown away counts as done for `join()`.
        on_drop: Called with each item thrown away, after the put, with no lock held; what it
            raises goes to `sys.unraisablehook`. Not called for what `shutdown(immediate=True)`
            throws away.

    Raises:
        ValueError: The overflow policy is none of the four, or it drops nothing and there is an
            `on_drop`.

    Cancellation: a cancelled or timed-out wait neither loses an item nor takes one.
    Fork: the child has a copy of the queue that it can use; threads that waited are forgotten.
    Free-threading: no GIL is needed or assumed.
    Reentrancy: every method may be called from a destructor, a weakref callback or a signal
    handler that interrupts another call of the same queue in the same thread.

    The attributes `mutex`, `queue`, `not_empty`, `not_full` and `all_tasks_done`, and subclasses
    that override `_init`, `_qsize`, `_put` or `_get`, work as in the stdlib, and at its speed:
    they move the items into a Python implementation.

    >>> from counterpoint.queue import Queue
    >>> q = Queue(maxsize=3)
    >>> q.put_many("abc")
    >>> q.full(), q.peek(), q.get_many(2)
    (True, 'a', ['a', 'b'])
    >>> q.shutdown()
    >>> list(q)
    ['c']

    In a coroutine:

    >>> import asyncio
    >>> async def main():
    ...     q = Queue()
    ...     await q.async_put("ham")
    ...     return await q.async_get(timeout=1)
    >>> asyncio.run(main())
    'ham'
    """

    __slots__ = ()

    # Order of the native store, read by the constructor.
    _order = "fifo"

    # The stdlib's hooks. The native queue does without them; in compatible mode they are called
    # under the mutex.

    def _init(self, maxsize: int) -> None:
        self.queue = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: T) -> None:
        self.queue.append(item)

    def _get(self) -> T:
        item: T = self.queue.popleft()
        return item

    # What compatible mode needs beyond them.

    def _adopt(self, items: list[Any]) -> None:
        """Takes over the native store's items."""
        self.queue.extend(items)

    def _evict(self) -> T:
        """Takes out the item that was put first."""
        return self._get()

    def _peek(self) -> T:
        item: T = self.queue[0]
        return item

    def __iter__(self) -> Iterator[T]:
        """Gets item after item until the queue is shut down and empty."""
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    async def __aiter__(self) -> AsyncIterator[T]:
        """Gets item after item until the queue is shut down and empty."""
        while True:
            try:
                item = await self.async_get()
            except ShutDown:
                return
            yield item

    # Without this, `in` would take items out to look at them.
    __contains__ = None

    async def async_put(self, item: T, timeout: float | None = None) -> None:
        """Puts an item; waits for room without blocking the event loop.

        Args:
            item: Anything.
            timeout: How many seconds to wait at most; None waits for ever, zero or less tries
                once.

        Raises:
            Full: There was no room in time.
            ShutDown: The queue was shut down.

        Cancellation: the item is then not in the queue.
        """
        if self._try_put(item):
            return
        deadline = _deadline(timeout)
        rest = await drive(self._put_ticket(item), timeout)
        if rest is PENDING:
            raise Full
        if rest is not None:
            await self._put_rest(rest, deadline)

    async def async_put_many(self, items: Iterable[T], timeout: float | None = None) -> None:
        """Puts several items, in order, as room comes; the coroutine twin of `put_many`."""
        deadline = _deadline(timeout)
        rest = await drive(self._put_many_ticket(items), timeout)
        if rest is PENDING:
            raise Full
        if rest is not None:
            await self._put_rest(rest, deadline)

    async def _put_rest(self, rest: list[T], deadline: float | None) -> None:
        """What a ticket left: a comparison was made in Python, or the queue has moved."""
        for item in rest:
            timeout = None if deadline is None else deadline - monotonic()
            if self._traits()[0]:
                await self._compatible().async_put(self, item, timeout)
            else:
                await self.async_put(item, timeout)

    async def async_get(self, timeout: float | None = None) -> T:
        """Takes an item out; waits for one without blocking the event loop.

        Args:
            timeout: How many seconds to wait at most; None waits for ever, zero or less tries
                once.

        Raises:
            Empty: There was no item in time.
            ShutDown: The queue is empty and was shut down.

        Cancellation: no item is then taken.
        """
        item: T = self._try_get(PENDING)
        if item is PENDING:
            try:
                item = await drive(self._get_ticket(), timeout)
            except Moved:
                item = await self._compatible().async_get(self, timeout)
        if item is PENDING:
            raise Empty
        return item

    async def async_get_many(self, max: int, timeout: float | None = None) -> list[T]:
        """Takes one item at least and `max` at most; the coroutine twin of `get_many`."""
        try:
            items: list[T] = await drive(self._get_many_ticket(max), timeout)
        except Moved:
            items = await self._compatible().async_get_many(self, max, timeout)
        if items is PENDING:
            raise Empty
        return items

    async def async_join(self, timeout: float | None = None) -> None:
        """Waits until `task_done()` was called for every item put.

        As with `asyncio.Queue.join`, and unlike `join`, one moment at which nothing was unfinished
        is enough, even if something is put before this task runs again.

        Args:
            timeout: How many seconds to wait at most; None waits for ever, zero or less looks
                once.

        Raises:
            TimeoutError: Items were unfinished when the time was over.
        """
        try:
            done = await drive(self._join_ticket(), timeout) is not PENDING
        except Moved:
            done = await self._compatible().async_join(timeout)
        if not done:
            raise TimeoutError("tasks of the queue are unfinished")

    def statistics(self) -> QueueStatistics:
        """What happened so far, and who waits now."""
        return statistics_of(self, self.maxsize)

    def __reduce__(self) -> NoReturn:
        # The stdlib's queue fails at its lock.
        raise TypeError("cannot pickle '_thread.lock' object")


class LifoQueue(Queue["T"]):
    """A last in, first out queue: a stack.

    Equals `queue.LifoQueue(maxsize)`; beyond it, everything that `Queue` has.

    >>> from counterpoint.queue import LifoQueue
    >>> q = LifoQueue()
    >>> q.put_many([1, 2, 3])
    >>> q.get_many(3)
    [3, 2, 1]
    """

    __slots__ = ()

    _order = "lifo"

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _get(self) -> T:
        item: T = self.queue.pop()
        return item

    def _evict(self) -> T:
        item: T = self.queue.pop(0)
        return item

    def _peek(self) -> T:
        item: T = self.queue[-1]
        return item


class Ranked:
    """An entry of a stable heap in compatible mode."""

    __slots__ = ("item", "key", "number")

    def __init__(self, key: Any, number: int, item: Any) -> None:
        self.key = key
        self.number = number
        self.item = item

    def __lt__(self, other: Ranked) -> bool:
        # One comparison tells: among equals the earlier one is less.
        if self.number > other.number:
            return bool(self.key < other.key)
        return not other.key < self.key


class PriorityQueue(Queue["T"]):
    """A queue that gives out the lowest item first.

    Equals `queue.PriorityQueue(maxsize)`; beyond it, everything that `Queue` has, and `key`.

    Args:
        maxsize: As for `Queue`.
        key: Computes from an item what it is ordered by. Items of equal keys come out in the
            order in which they were put, and are never compared themselves.
        overflow: As for `Queue`; `"drop_oldest"` throws away the item that was put first, whatever
            its priority.
        on_drop: As for `Queue`.

    Raises:
        TypeError: from put or get, when Python cannot compare two items; the queue is then as
            before.

    The order of numbers, strings, bytes and tuples of these is decided natively. Other objects
    are compared by Python with the queue unlocked; meanwhile other threads' calls wait, and a put
    by the comparison itself is stored afterwards.

    >>> from counterpoint.queue import PriorityQueue
    >>> q = PriorityQueue(key=len)
    >>> q.put_many(["ccc", "a", "bb", "dd"])
    >>> q.get_many(4)
    ['a', 'bb', 'dd', 'ccc']
    """

    __slots__ = ()

    _order = "priority"

    if TYPE_CHECKING:

        def __init__(
            self,
            maxsize: int = 0,
            *,
            key: Callable[[T], Any] | None = None,
            overflow: Literal["block", "raise", "drop_oldest", "drop_newest"] = "block",
            on_drop: Callable[[T], object] | None = None,
        ) -> None: ...

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _put(self, item: T) -> None:
        heapq.heappush(self.queue, self._entry(item))

    def _get(self) -> T:
        item: T = self._bare(heapq.heappop(self.queue))
        return item

    def _adopt(self, items: list[Any]) -> None:
        if self._traits()[1]:
            items = [Ranked(*parts) for parts in items]
        self.queue.extend(items)

    def _entry(self, item: T) -> Any:
        _, stable, function = self._traits()
        if not stable:
            return item
        key = item if function is None else function(item)
        return Ranked(key, self._compatible().puts, item)

    @staticmethod
    def _bare(entry: Any) -> Any:
        return entry.item if isinstance(entry, Ranked) else entry

    def _evict(self) -> T:
        entries = self.queue
        if not self._traits()[1]:
            return self._get()
        at = min(range(len(entries)), key=lambda at: entries[at].number)
        entry = entries.pop(at)
        heapq.heapify(entries)
        item: T = self._bare(entry)
        return item

    def _peek(self) -> T:
        item: T = self._bare(self.queue[0])
        return item
