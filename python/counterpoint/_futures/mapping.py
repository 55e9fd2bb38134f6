"""`map`: submit for each item, yield the results, cancel what is left over."""

from __future__ import annotations

import time
import weakref
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


__all__ = ["map_calls"]


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
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    bar = _find_bar() if progress else None
    end = None if timeout is None else timeout + time.monotonic()
    total = _length(iterables)
    calls = zip(*iterables, strict=False)
    futures = _submit_each(executor, fn, calls, buffersize)
    refill = None if buffersize is None else _Refill(executor, fn, calls)
    futures.reverse()
    if not ordered:
        results = _as_they_come(futures, refill, end)
    else:
        results = _in_order(futures, refill, end)
    return results if bar is None else _with_bar(bar, results, total)


def _length(iterables: tuple[Iterable[Any], ...]) -> int | None:
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
        # As in the stdlib, an iterator that nobody finishes keeps no executor alive.
        self._executor: Callable[[], Submitter | None] = (
            weakref.ref(executor) if isinstance(executor, Executor) else lambda: executor
        )
        self._fn = fn
        self._calls = calls

    def __call__(self) -> Future[Any] | None:
        executor = self._executor()
        if executor is None:
            return None
        for args in self._calls:
            return executor.submit(self._fn, *args)
        return None


def _in_order(
    futures: list[Future[T]], refill: _Refill | None, end: float | None
) -> Generator[T, None, None]:
    # The list is reversed: popping from its end is cheap, and leaves no reference to the future.
    try:
        if refill is None and all(type(future) is Future for future in futures):
            while futures:
                yield pop_result(futures, end)
        else:
            while futures:
                if refill is not None and (more := refill()) is not None:
                    futures.insert(0, more)
                    del more
                yield _take(futures.pop(), end)
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
    futures: list[Future[T]], refill: _Refill | None, end: float | None
) -> Generator[T, None, None]:
    pending = set(futures)
    completed = as_completed(futures, None if end is None else end - time.monotonic())
    futures.clear()
    try:
        for future in completed:
            pending.discard(future)
            more = refill() if refill is not None else None
            if more is not None:
                pending.add(more)
                completed.add(more)
                del more
            yield _take(future, None)
            del future
    finally:
        completed.close()
        for future in pending:
            future.cancel()


def _find_bar() -> type[tqdm[Any]]:
    try:
        from tqdm import tqdm
    except ImportError as error:
        text = "progress=True needs the package tqdm: pip install tqdm"
        raise ImportError(text, name="tqdm") from error
    return tqdm


def _with_bar(
    kind: type[tqdm[Any]], results: Iterator[T], total: int | None
) -> Generator[T, None, None]:
    with kind(total=total) as bar:
        for result in results:
            bar.update()
            yield result
