"""`Queue`, `JoinableQueue` and `SimpleQueue` between processes."""

from __future__ import annotations

import types
from collections.abc import Iterator
from queue import Empty, Full
from typing import Any

from counterpoint import _core
from counterpoint._queue.errors import ShutDown

from .sharing import Shared

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "ShutDown", "SimpleQueue"]


class _Iterable(Shared, _core.ProcessQueue):
    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        """The items, as they come, until the queue is shut down and empty."""
        while True:
            try:
                yield self.get()
            except ShutDown:
                return

    __class_getitem__: Any = classmethod(types.GenericAlias)


class Queue(_Iterable):
    """A first in, first out queue for any number of processes and their threads.

    Equals `multiprocessing.Queue(maxsize)`. Different: there is no feeder thread, so an item is in
    shared memory when `put` returns, and what cannot be pickled raises there; a process that is
    killed, at whatever moment, neither blocks the queue nor damages an item; small values, bytes
    and arrays are not pickled, and what is large is mapped by its receiver instead of copied
    through a pipe. Beyond it: `put_many`, `get_many`, `shutdown`, iteration.

    Args:
        maxsize: The most items there may be; 0 or less for any number.

    Fork: the child shares the queue. Other start methods: pass it to the process as an argument.
    Interrupts: Ctrl-C ends a wait. Free-threading: no GIL is needed or assumed.

    >>> from counterpoint import multiprocessing
    >>> queue = multiprocessing.Queue()
    >>> queue.put_many(["spam", 2, None])
    >>> queue.get(), queue.get_many(10), queue.empty()
    ('spam', [2, None], True)
    """

    def __init__(self, maxsize: int = 0, *, ctx: object = None) -> None:
        pass

    @property
    def _maxsize(self) -> int:
        return self._limit or _core._SEM_VALUE_MAX

    def empty(self) -> bool:
        """Whether there are no items.

        Raises:
            OSError: This process has put items and closed the queue.
        """
        if self._closed and self._close():
            raise OSError("handle is closed")
        return super().empty()

    def close(self) -> None:
        """Says that this process is done with the queue: its `put` and `get` raise ValueError."""
        self._close()

    def join_thread(self) -> None:
        """Does nothing: there is no thread."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread."""


class JoinableQueue(Queue):
    """A queue that knows whether what was put has been dealt with.

    Equals `multiprocessing.JoinableQueue(maxsize)`; different as `Queue` is. `join` takes a
    timeout.

    >>> from counterpoint import multiprocessing
    >>> queue = multiprocessing.JoinableQueue()
    >>> queue.put("spam")
    >>> queue.join(timeout=0.01)
    False
    >>> _ = queue.get()
    >>> queue.task_done()
    >>> queue.join()
    True
    """

    def task_done(self) -> None:
        """Says that an item that was got has been dealt with.

        Raises:
            ValueError: All that were put had been.
        """
        if not self._finish():
            raise ValueError("task_done() called too many times")

    def join(self, timeout: float | None = None) -> bool:
        """Waits until every item that was put has been dealt with.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            Whether that is so.
        """
        return self._join(timeout)


class SimpleQueue(_Iterable):
    """A queue without a limit.

    Equals `multiprocessing.SimpleQueue()`; different as `Queue` is: `put` never blocks.

    >>> from counterpoint import multiprocessing
    >>> queue = multiprocessing.SimpleQueue()
    >>> queue.put("spam")
    >>> queue.get(), queue.empty()
    ('spam', True)
    """

    def __init__(self, *, ctx: object = None) -> None:
        pass

    def empty(self) -> bool:
        """Whether there are no items.

        Raises:
            OSError: This process has closed the queue.
        """
        if self._closed:
            raise OSError("handle is closed")
        return super().empty()

    def close(self) -> None:
        """Says that this process is done with the queue."""
        self._close()
