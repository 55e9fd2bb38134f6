"""`map`: submit for each item, yield the results, cancel what is left over."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import Executor
from concurrent.futures import Future as _StdlibFuture
from itertools import islice

from counterpoint._core import Future, PoolBase, pop_result

from .waiting import as_completed

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Protocol, TypeVar

    from tqdm import tqdm

    T = TypeVar("T")

    class Submitter(Protocol):
        """A pool of ours, or one with options."""

        def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
            """As an executor's."""

    Refill = Callable[[_StdlibFuture[T]], Iterable[Future[T]]]


__all__ = [
    "check_buffer",
    "find_bar",
    "length_of",
    "map_calls",
    "owner_of",
    "take_all",
    "with_bar",
]


def map_calls(
    executor: Submitter,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    buffersize: int | None,
    ordered: bool,
    progress: bool,
) -> Generator[T, None, None]:
    """Submits now, yields later."""
    check_buffer(buffersize)
    bar = find_bar() if progress else None
    end = None if timeout is None else timeout + time.monotonic()
    total = length_of(iterables)
    calls = zip(*iterables, strict=False)
    futures = _submit_each(executor, fn, calls, buffersize)
    refill = None if buffersize is None else _Refill(executor, fn, calls)
    results = take_all(futures, refill, end, ordered)
    return results if bar is None else with_bar(bar, results, total)


def check_buffer(buffersize: int | None) -> None:
    """Raises for what the stdlib's `map` does not accept."""
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")


def take_all(
    futures: list[Future[T]], refill: Refill[T] | None, end: float | None, ordered: bool
) -> Generator[T, None, None]:
    """The results of futures, and of those that `refill` adds for each that is about to be taken.

    Empties the list.
    """
    if not ordered:
        return _as_they_come(futures, refill, end)
    if refill is not None:
        return _refilled(deque(futures), refill, end)
    futures.reverse()
    return _in_order(futures, end)


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many items `zip` makes of them; None if one of them does not say its length."""
    if not iterables or not all(isinstance(iterable, Sized) for iterable in iterables):
        return None
    return min(len(iterable) for iterable in iterables if isinstance(iterable, Sized))


def _submit_each(
    executor: Submitter,
    fn: Callable[..., T],
    calls: Iterator[tuple[Any, ...]],
    limit: int | None,
) -> list[Future[T]]:
    # Somebody's own `submit`, from a subclass or put in place of ours, wants to see every call.
    if isinstance(executor, PoolBase) and _submits_natively(executor):
        return executor._counterpoint_pool.submit_each(executor, fn, calls, limit)
    return [executor.submit(fn, *args) for args in islice(calls, limit)]


def _submits_natively(executor: PoolBase) -> bool:
    return type(executor).submit is PoolBase.submit and "submit" not in vars(executor)


class _Refill:
    """Submits one more call for each result that was taken, while the executor lives."""

    def __init__(
        self,
        executor: Submitter,
        fn: Callable[..., Any],
        calls: Iterator[tuple[Any, ...]],
    ) -> None:
        self._executor = owner_of(executor)
        self._fn = fn
        self._calls = calls

    def __call__(self, _taken: _StdlibFuture[Any]) -> list[Future[Any]]:
        executor = self._executor()
        if executor is None:
            return []
        return [executor.submit(self._fn, *args) for args in islice(self._calls, 1)]


def owner_of(executor: Submitter) -> Callable[[], Submitter | None]:
    """As in the stdlib, an iterator that nobody finishes keeps no executor alive."""
    return weakref.ref(executor) if isinstance(executor, Executor) else lambda: executor


def _in_order(futures: list[Future[T]], end: float | None) -> Generator[T, None, None]:
    # The list is reversed: popping from its end is cheap, and leaves no reference to the future.
    try:
        if all(type(future) is Future for future in futures):
            while futures:
                yield pop_result(futures, end)
        else:
            while futures:
                yield _take(futures.pop(), end)
    finally:
        for future in futures:
            future.cancel()


def _refilled(
    futures: deque[Future[T]], refill: Refill[T], end: float | None
) -> Generator[T, None, None]:
    try:
        while futures:
            futures.extend(refill(futures[0]))
            yield _take(futures.popleft(), end)
    finally:
        for future in futures:
            future.cancel()


def _take(future: _StdlibFuture[T], end: float | None) -> T:
    try:
        try:
            return future.result(None if end is None else end - time.monotonic())
        finally:
            future.cancel()
    finally:
        # Break the cycle between the exception, its traceback, this frame and the future.
        del future


def _as_they_come(
    futures: list[Future[T]], refill: Refill[T] | None, end: float | None
) -> Generator[T, None, None]:
    pending = set(futures)
    completed = as_completed(futures, None if end is None else end - time.monotonic())
    futures.clear()
    try:
        for future in completed:
            pending.discard(future)
            for more in refill(future) if refill is not None else ():
                pending.add(more)
                completed.add(more)
                del more
            yield _take(future, None)
            del future
    finally:
        completed.close()
        for future in pending:
            future.cancel()


def find_bar() -> type[tqdm[Any]]:
    """The progress bar's class. Raises ImportError if it is not there."""
    try:
        from tqdm import tqdm
    except ImportError as error:
        text = "progress=True needs the package tqdm: pip install tqdm"
        raise ImportError(text, name="tqdm") from error
    return tqdm


def with_bar(
    kind: type[tqdm[Any]], results: Iterator[T], total: int | None
) -> Generator[T, None, None]:
    """The results, each of which moves the bar."""
    with kind(total=total) as bar:
        for result in results:
            bar.update()
            yield result
