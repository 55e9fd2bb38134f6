"""`wait` and `as_completed`, for our futures and the stdlib's in any mixture."""

from __future__ import annotations

import concurrent.futures._base as _base
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future as _StdlibFuture

from counterpoint._core import Collector, held

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")
else:

    class Generic:
        def __class_getitem__(cls, _: object) -> type:
            return cls


__all__ = ["Completed", "DoneAndNotDoneFutures", "as_completed", "wait"]

DoneAndNotDoneFutures = _base.DoneAndNotDoneFutures
_SETTLED = (_base.CANCELLED_AND_NOTIFIED, _base.FINISHED)
_CONDITIONS = (_base.FIRST_COMPLETED, _base.FIRST_EXCEPTION, _base.ALL_COMPLETED)


def wait(
    fs: Iterable[_StdlibFuture[T]],
    timeout: float | None = None,
    return_when: str = _base.ALL_COMPLETED,
) -> _base.DoneAndNotDoneFutures[T]:
    """Waits until futures are done.

    Equals `concurrent.futures.wait`; futures of the stdlib may be among them.

    Args:
        fs: The futures; duplicates count once.
        timeout: Seconds; None waits for ever.
        return_when: `FIRST_COMPLETED`, `FIRST_EXCEPTION` or `ALL_COMPLETED`.

    Returns:
        A named pair of sets, `done` and `not_done`.

    Raises:
        ValueError: `return_when` is something else.

    >>> from counterpoint.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as pool:
    ...     done, not_done = wait([pool.submit(abs, n) for n in range(3)])
    >>> len(done), len(not_done)
    (3, 0)
    """
    if return_when not in _CONDITIONS:
        raise ValueError(f"Invalid return condition: {return_when!r}")
    futures = set(fs)
    collector = Collector(return_when == _base.FIRST_EXCEPTION)
    done, failed = _watch(collector, list(futures))
    not_done = futures.difference(done)
    first = return_when == _base.FIRST_COMPLETED
    enough = bool(done) if first else failed and return_when == _base.FIRST_EXCEPTION
    try:
        if not_done and not enough:
            collector.need(1 if first else len(not_done))
            collector.wait(timeout)
    finally:
        # What settled since is no longer told; a failure to wait leaves no trace in the futures.
        _unwatch(collector, not_done)
    done.extend(collector.take())
    together = set(done)
    return DoneAndNotDoneFutures(together, futures - together)


def _watch(
    collector: Collector, futures: list[_StdlibFuture[T]]
) -> tuple[list[_StdlibFuture[T]], bool]:
    """Puts the collector into the futures: those settled already, and whether one failed."""
    settled, failed, foreign = collector.watch(futures)
    for future in foreign:
        with held(future._condition):
            if future._state in _SETTLED:
                settled.append(future)
                failed = failed or future._exception is not None
            else:
                _observers(future).append(collector)
    return settled, failed


def _unwatch(collector: Collector, futures: Iterable[_StdlibFuture[T]]) -> None:
    for future in collector.unwatch(futures):
        with held(future._condition):
            if collector in _observers(future):
                _observers(future).remove(collector)


def _observers(future: _StdlibFuture[Any]) -> list[Any]:
    # To the stdlib's futures a Collector looks like one of their own waiters.
    return future._waiters


def as_completed(fs: Iterable[_StdlibFuture[T]], timeout: float | None = None) -> Completed[T]:
    """Yields futures as they are done.

    Equals `concurrent.futures.as_completed`. Different: it can be used with `async for` too, in
    any event loop, and the futures are watched from the call on, not from the first iteration.

    Args:
        fs: The futures; duplicates are yielded once.
        timeout: Seconds from this call within which all must be done.

    Raises:
        TimeoutError: From the iteration, when the time is over.

    >>> from counterpoint.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as pool:
    ...     sorted(future.result() for future in as_completed(pool.submit(abs, n) for n in (-1, 2)))
    [1, 2]
    """
    return Completed(fs, timeout)


class Completed(Generic["T"]):
    """The iterator that `as_completed` returns. Several threads and tasks may share it."""

    def __init__(self, fs: Iterable[_StdlibFuture[T]], timeout: float | None) -> None:
        self._end = None if timeout is None else timeout + time.monotonic()
        self._late = ""
        # Nothing to forget until all of them are watched.
        self._pending: set[_StdlibFuture[T]] = set()
        futures = set(fs)
        self._total = len(futures)
        self._collector = Collector()
        self._collector.need(1)
        settled, _ = _watch(self._collector, list(futures))
        self._collector.put(settled)
        self._pending = futures

    def __iter__(self) -> Iterator[_StdlibFuture[T]]:
        return self

    def __next__(self) -> _StdlibFuture[T]:
        waited = False
        while (future := self._collector.pop(self._pending)) is None:
            pending = self._pending
            if not pending:
                self._check_late(waited)
                raise StopIteration
            self._collector.wait(self._left(pending))
            waited = True
        return future

    def __aiter__(self) -> AsyncIterator[_StdlibFuture[T]]:
        return self

    async def __anext__(self) -> _StdlibFuture[T]:
        from counterpoint._async import drive

        waited = False
        while (future := self._collector.pop(self._pending)) is None:
            pending = self._pending
            if not pending:
                self._check_late(waited)
                raise StopAsyncIteration
            await drive(self._collector.ticket(), self._left(pending))
            waited = True
        return future

    def add(self, future: _StdlibFuture[T]) -> None:
        """Watches one more future, on behalf of the only consumer."""
        self._total += 1
        self._pending.add(future)
        self._collector.need(1)
        settled, _ = _watch(self._collector, [future])
        self._collector.put(settled)

    def close(self) -> None:
        """Forgets the futures that are not done yet."""
        pending = self._pending
        try:
            self._pending = set()
            # A copy: another consumer may be about to take one out.
            _unwatch(self._collector, list(pending))
            self._collector.take()
        finally:
            self._collector.release()

    def __del__(self) -> None:
        if getattr(self, "_pending", None):
            self.close()

    def _left(self, pending: set[_StdlibFuture[T]]) -> float | None:
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left < 0:
            # Not of those that are pending by now: another may have closed it just then.
            self._late = f"{len(pending)} (of {self._total}) futures unfinished"
            self.close()
            raise TimeoutError(self._late)
        return left

    def _check_late(self, waited: bool) -> None:
        # Another consumer found out that the time was over for all who waited.
        if waited and self._late:
            raise TimeoutError(self._late)
