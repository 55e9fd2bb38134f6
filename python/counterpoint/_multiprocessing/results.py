"""What the methods of a pool that do not wait return."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import _RemoteTraceback
from itertools import chain
from multiprocessing import TimeoutError
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from counterpoint._core import Guard
from counterpoint._futures.waiting import wait
from counterpoint.queue import Empty, SimpleQueue

if TYPE_CHECKING:
    from counterpoint._core import Future

__all__ = ["ApplyResult", "AsyncResult", "IMapIterator", "IMapUnorderedIterator", "MapResult"]


def outcome(future: Future[Any]) -> tuple[bool, Any]:
    """Whether a future that is done succeeded, and its result or error."""
    try:
        return True, future.result()
    except BaseException as error:
        cause = error.__cause__
        if type(cause) is _RemoteTraceback:
            error.__cause__ = RemoteTraceback(cause.tb)
        return False, error


class _Result:
    """Of one or more futures."""

    # Whether they succeeded, and the value; of the object itself once it is known.
    _outcome: tuple[bool, Any] | None = None

    def __init__(
        self,
        futures: Sequence[Future[Any]],
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._futures = futures
        self._callback = callback
        self._error_callback = error_callback
        # Set after the callbacks, which whoever waits may rely on.
        self._called = threading.Event() if callback or error_callback else None
        if self._called is not None:
            self._left = len(futures)
            self._lock = Guard()
            for future in futures:
                future.add_done_callback(self._one_done)
            if not futures:
                self._call_back()

    def _one_done(self, _: object) -> None:
        with self._lock.held():
            self._left -= 1
            left = self._left
        if left == 0:
            self._call_back()

    def _call_back(self) -> None:
        assert self._called is not None
        try:
            success, value = self._collected()
            callback = self._callback if success else self._error_callback
            if callback is not None:
                callback(value)
        finally:
            self._called.set()

    def _collected(self) -> tuple[bool, Any]:
        # In this order: another thread stores the outcome before it lets the futures go.
        futures, known = self._futures, self._outcome
        if known is None:
            # Of several threads one is first: they all get the same list.
            known = vars(self).setdefault("_outcome", self._collect(futures))
            # The futures would keep what they were given and returned.
            self._futures = ()
        return known

    def _collect(self, futures: Sequence[Future[Any]]) -> tuple[bool, Any]:
        return outcome(futures[0])

    def ready(self) -> bool:
        """Whether the call is over."""
        if self._called is not None:
            return self._called.is_set()
        return self._outcome is not None or all(future.done() for future in self._futures)

    def successful(self) -> bool:
        """Whether the call returned.

        Raises:
            ValueError: It is not over.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._collected()[0]

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the call is over, for `timeout` seconds at most."""
        if self._called is not None:
            self._called.wait(timeout)
        elif self._outcome is None:
            wait(self._futures, timeout)

    def get(self, timeout: float | None = None) -> Any:
        """What the call returned; raises what it raised.

        Raises:
            TimeoutError: It is not over after `timeout` seconds.
        """
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        success, value = self._collected()
        if success:
            return value
        try:
            raise value
        finally:
            # The error's traceback would keep itself alive.
            value = None


class ApplyResult(_Result):
    """The result of `Pool.apply_async`."""

    def __init__(
        self,
        future: Future[Any],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        super().__init__([future], callback, error_callback)


AsyncResult = ApplyResult


class MapResult(_Result):
    """The result of `Pool.map_async` and `starmap_async`."""

    def _collect(self, futures: Sequence[Future[Any]]) -> tuple[bool, Any]:
        chunks = [outcome(future) for future in futures]
        for success, error in chunks:
            if not success:
                return False, error
        return True, list(chain.from_iterable(chunk for _, chunk in chunks))


class IMapIterator:
    """The results of `Pool.imap`, in order, while they are computed.

    Chunks are submitted as results are taken, so the input may be infinite.
    """

    def __init__(
        self, submit: Callable[[Any], Future[Any]], chunks: Iterator[Any], window: int
    ) -> None:
        self._submit = submit
        self._chunks: Iterator[Any] | None = chunks
        self._window = window
        self._error: BaseException | None = None
        self._running: collections.deque[Future[Any]] = collections.deque()
        self._ready: collections.deque[Any] = collections.deque()
        self._lock = Guard()
        self._fill()

    @property
    def is_submitted(self) -> bool:
        """Whether all of the input was read."""
        return self._chunks is None

    def submit_all(self) -> None:
        """Reads the rest of the input."""
        self._fill(None)

    def _fill(self, window: int | None = -1) -> None:
        most = self._window if window == -1 else window
        with self._lock.held():
            while self._chunks is not None and (most is None or self._unclaimed() < most):
                try:
                    chunk = next(self._chunks)
                except StopIteration:
                    self._chunks = None
                except BaseException as error:
                    self._chunks, self._error = None, error
                else:
                    self._start(self._submit(chunk))

    def _unclaimed(self) -> int:
        return len(self._running)

    def _start(self, future: Future[Any]) -> None:
        self._running.append(future)

    def _next_done(self, timeout: float | None) -> Future[Any] | None:
        future = self._running[0]
        if not future.done():
            wait([future], timeout)
            if not future.done():
                return None
        return self._running.popleft()

    def __iter__(self) -> IMapIterator:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """The next result; raises what its call raised.

        Raises:
            TimeoutError: It is not there after `timeout` seconds.
            StopIteration: There are no more.
        """
        with self._lock.held():
            while not self._ready:
                self._fill()
                if not self._unclaimed():
                    self._end()
                future = self._next_done(timeout)
                if future is None:
                    raise TimeoutError
                success, value = outcome(future)
                if not success:
                    raise value
                self._ready.extend(value)
            return self._ready.popleft()

    __next__ = next

    def _end(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration


class IMapUnorderedIterator(IMapIterator):
    """The results of `Pool.imap_unordered`, as they come."""

    def __init__(
        self, submit: Callable[[Any], Future[Any]], chunks: Iterator[Any], window: int
    ) -> None:
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._count = 0
        super().__init__(submit, chunks, window)

    def _unclaimed(self) -> int:
        return self._count

    def _start(self, future: Future[Any]) -> None:
        self._count += 1
        future.add_done_callback(self._arrive)

    def _arrive(self, future: object) -> None:
        self._done.put(future)

    def _next_done(self, timeout: float | None) -> Future[Any] | None:
        try:
            future: Future[Any] = self._done.get(True, timeout)
        except Empty:
            return None
        self._count -= 1
        return future
