"""`map` of a process pool: items travel in chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from counterpoint._futures.mapping import (
    check_buffer,
    find_bar,
    length_of,
    map_calls,
    take_all,
    with_bar,
)

from .checks import check_chunks
from .chunks import Feed, Timed, batched, even_size, growing

if TYPE_CHECKING:
    from counterpoint._futures.mapping import Submitter

__all__ = ["map_chunks"]

T = TypeVar("T")


def map_chunks(
    executor: Submitter,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    chunksize: int | Literal["auto"],
    buffersize: int | None,
    ordered: bool,
    progress: bool,
) -> Iterator[T]:
    """Submits now, yields later."""
    check_chunks(chunksize)
    check_buffer(buffersize)
    bar = find_bar() if progress else None
    length = length_of(iterables)
    results: Iterator[T]
    if chunksize == "auto" and buffersize is not None:
        results = _with_room(executor, fn, iterables, timeout, buffersize, ordered)
    else:
        if chunksize == "auto" and length is not None:
            chunksize = even_size(length, _workers(executor))
        results = _in_chunks(executor, fn, iterables, timeout, chunksize, buffersize, ordered)
    return results if bar is None else with_bar(bar, results, length)


def _in_chunks(
    executor: Submitter,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    size: int | Literal["auto"],
    buffersize: int | None,
    ordered: bool,
) -> Iterator[T]:
    """Chunks of one size; of growing ones, if it is "auto"."""
    if size == 1:
        return map_calls(executor, fn, iterables, timeout, buffersize, ordered, False)
    items, chunk = _items(fn, iterables)
    if size == "auto":
        chunks = growing(items, _workers(executor))
    else:
        chunks = batched(items, size)
        buffersize = None if buffersize is None else max(1, buffersize // size)
    return _Flat.of(map_calls(executor, chunk, (chunks,), timeout, buffersize, ordered, False))


def _with_room(
    executor: Submitter,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    buffersize: int,
    ordered: bool,
) -> Iterator[T]:
    """Chunks that go by how long those before took, submitted as results are taken."""
    end = None if timeout is None else timeout + time.monotonic()
    items, chunk = _items(fn, iterables)
    feed = Feed(executor, Timed(chunk), items, buffersize, _workers(executor))
    return _Flat.of(take_all(feed.begin(), feed, end, ordered), feed.learn)


def _items(
    fn: Callable[..., T], iterables: tuple[Iterable[Any], ...]
) -> tuple[Iterator[Any], _Chunk]:
    one = len(iterables) == 1
    items: Iterator[Any] = iter(iterables[0]) if one else zip(*iterables, strict=False)
    return items, _Chunk(fn, spread=not one)


def _workers(executor: Submitter) -> int:
    # A subclass may be anything, as long as it submits.
    return getattr(getattr(executor, "_executor", executor), "_max_workers", 1)


class _Flat(chain[Any]):
    """The items of chunks, which can be closed as a generator can."""

    _chunks: Generator[Any, None, None]

    @classmethod
    def of(
        cls, chunks: Generator[Any, None, None], items: Callable[[Any], list[Any]] | None = None
    ) -> _Flat:
        lists = chunks if items is None else map(items, chunks)
        flat: _Flat = cls.from_iterable(lists)  # type: ignore[assignment]  # typeshed's base class
        flat._chunks = chunks
        return flat

    def close(self) -> None:
        """As a generator's, of the chunks; what is left of the one at hand is still there."""
        self._chunks.close()


class _Chunk:
    """Calls a function for each of several items, which `spread` takes for several arguments."""

    def __init__(self, fn: Callable[..., Any], spread: bool) -> None:
        self._fn = fn
        self._spread = spread

    def __call__(self, items: tuple[Any, ...]) -> list[Any]:
        # Not by `map`, which would take a StopIteration of the function for its own end.
        fn = self._fn
        return [fn(*item) for item in items] if self._spread else [fn(item) for item in items]
