"""`map` of a process pool: items travel in chunks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from counterpoint._futures.mapping import map_calls

if TYPE_CHECKING:
    from .executor import ProcessPoolExecutor
    from .options import ProcessOptions

__all__ = ["map_chunks"]

T = TypeVar("T")

# How many chunks "auto" makes of what can be counted, for each worker: enough that the last one
# does not keep the others waiting, few enough that a chunk is worth its way.
_CHUNKS = 16
_MOST = 2048


def map_chunks(
    executor: ProcessPoolExecutor | ProcessOptions,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    chunksize: int | Literal["auto"],
    buffersize: int | None,
    ordered: bool,
    progress: bool,
) -> Iterator[T]:
    """Submits now, yields later."""
    if chunksize != "auto" and chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    if chunksize == "auto":
        chunksize = _auto(executor, iterables)
    if chunksize == 1:
        return map_calls(executor, fn, iterables, timeout, buffersize, ordered, progress)
    one = len(iterables) == 1
    items: Iterator[Any] = iter(iterables[0]) if one else zip(*iterables, strict=False)
    chunks = iter(lambda: tuple(islice(items, chunksize)), ())
    if isinstance(buffersize, int) and buffersize >= 1:
        buffersize = max(1, buffersize // chunksize)
    chunk = _Chunk(fn, spread=not one)
    results = map_calls(executor, chunk, (chunks,), timeout, buffersize, ordered, progress)
    return _Flat.of(results)


class _Flat(chain[Any]):
    """The items of chunks, which can be closed as a generator can."""

    _chunks: Generator[Any, None, None]

    @classmethod
    def of(cls, chunks: Generator[Any, None, None]) -> _Flat:
        flat: _Flat = cls.from_iterable(chunks)  # type: ignore[assignment]  # typeshed's base class
        flat._chunks = chunks
        return flat

    def close(self) -> None:
        """As a generator's, of the chunks; what is left of the one at hand is still there."""
        self._chunks.close()


def _auto(executor: object, iterables: tuple[Iterable[Any], ...]) -> int:
    lengths = [len(each) for each in iterables if isinstance(each, Sized)]
    if len(lengths) < len(iterables) or not lengths:
        return 1
    workers = getattr(executor, "_max_workers", 1)
    return max(1, min(_MOST, min(lengths) // (workers * _CHUNKS)))


class _Chunk:
    """Calls a function for each of several items, which `spread` takes for several arguments."""

    def __init__(self, fn: Callable[..., Any], spread: bool) -> None:
        self._fn = fn
        self._spread = spread

    def __call__(self, items: tuple[Any, ...]) -> list[Any]:
        # Not by `map`, which would take a StopIteration of the function for its own end.
        fn = self._fn
        return [fn(*item) for item in items] if self._spread else [fn(item) for item in items]
