"""How many items `map` sends together, where nobody says it.

What is submitted at once and has a length is divided evenly (`even_size`): nothing is known of its
run times then. What is submitted at once and has no length goes in chunks that grow with the number
of items that came before (`growing`). What is submitted as results are taken (`Feed`) goes by how
long the chunks before took. Whatever the items are, no chunk has more than a small part of what one
worker gets of those that are there: a few slow items among fast ones do not make one worker late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from counterpoint._futures.mapping import owner_of

if TYPE_CHECKING:
    from concurrent.futures import Future as _StdlibFuture

    from counterpoint._core import Future
    from counterpoint._futures.mapping import Submitter

__all__ = ["Feed", "Timed", "batched", "even_size", "growing"]

# How many chunks each worker gets of what is submitted at once: enough that the last one does not
# keep the others waiting, few enough that a chunk is worth its way.
_SHARE = 16
_MOST = 2048

# How many chunks each worker gets of a full buffer.
_BUFFERED = 4

# Seconds that a chunk should take: hundreds of times what it costs to send it.
_WORTH = 0.004

# Seconds. A chunk whose items took longer to come waits for no more of them.
_PROMPT = 0.001

# How many chunks are added when one is taken.
_ADDED = 4


def even_size(length: int, workers: int) -> int:
    """The size of each chunk of so many items."""
    return max(1, min(_MOST, length // (workers * _SHARE)))


def batched(items: Iterator[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Chunks of one size."""
    return iter(lambda: tuple(islice(items, size)), ())


def growing(items: Iterator[Any], workers: int) -> Iterator[tuple[Any, ...]]:
    """Chunks, each of the size that would be right for as many items as came before."""
    before = 0
    while chunk := prompt(items, even_size(before, workers)):
        before += len(chunk)
        yield chunk


def prompt(items: Iterator[Any], size: int) -> tuple[Any, ...]:
    """At most so many items; fewer where they take their time, as few are to wait for others."""
    began = time.monotonic()
    chunk: list[Any] = []
    step = 1
    while len(chunk) < size:
        before = len(chunk)
        chunk.extend(islice(items, min(step, size - before)))
        if len(chunk) == before or time.monotonic() - began > _PROMPT:
            break
        step *= 2
    return tuple(chunk)


class Timed:
    """What is done with a chunk, and the seconds that it took."""

    def __init__(self, call: Callable[[tuple[Any, ...]], list[Any]]) -> None:
        self._call = call

    def __call__(self, items: tuple[Any, ...]) -> tuple[float, list[Any]]:
        began = time.perf_counter()
        results = self._call(items)
        return time.perf_counter() - began, results


class Feed:
    """Keeps at most `buffersize` items submitted, in chunks that soon last as long as they should.

    A chunk may have twice as many items as the one before, so what looked fast is not believed at
    once; and not more than a buffer has for each worker several times.
    """

    def __init__(
        self,
        executor: Submitter,
        call: Timed,
        items: Iterator[Any],
        buffersize: int,
        workers: int,
    ) -> None:
        self._executor = owner_of(executor)
        self._call = call
        self._items = items
        self._workers = workers
        self._room = buffersize
        self._most = max(1, min(_MOST, buffersize // (workers * _BUFFERED)))
        self._size = 1
        self._sizes: dict[_StdlibFuture[Any], int] = {}

    def begin(self) -> list[Future[Any]]:
        """Submit the first items, one by one."""
        return self._add(self._workers * _SHARE)

    def __call__(self, taken: _StdlibFuture[Any]) -> list[Future[Any]]:
        """Submit more, as this chunk is about to be taken."""
        self._room += self._sizes.pop(taken)
        return self._add(_ADDED)

    def learn(self, timed: tuple[float, list[Any]]) -> list[Any]:
        """The results of a chunk, from which the size of those to come follows."""
        seconds, results = timed
        worth = int(_WORTH * len(results) / max(seconds, 1e-9))
        self._size = max(1, min(self._most, 2 * self._size, worth))
        return results

    def _add(self, most: int) -> list[Future[Any]]:
        executor = self._executor()
        futures: list[Future[Any]] = []
        # Not less than a chunk: what there is no room for now is sent with what follows.
        while executor is not None and len(futures) < most and self._room >= self._size:
            chunk = prompt(self._items, self._size)
            if not chunk:
                break
            future = executor.submit(self._call, chunk)
            self._sizes[future] = len(chunk)
            self._room -= len(chunk)
            futures.append(future)
        return futures
