"""`Pool`: multiprocessing's interface to our process pool."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import (  # type: ignore[attr-defined]
    CLOSE,
    INIT,
    RUN,
    TERMINATE,
    RemoteTraceback,
    ThreadPool,
)
from typing import Any

from counterpoint._core import Guard
from counterpoint._futures.cpus import usable_cpus
from counterpoint._process.ending import terminate_at_exit
from counterpoint._process.executor import ProcessPoolExecutor

from .calls import chunks, map_chunk, starmap_chunk
from .results import (
    ApplyResult,
    AsyncResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
)

__all__ = [
    "CLOSE",
    "INIT",
    "RUN",
    "TERMINATE",
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "Pool",
    "RemoteTraceback",
    "ThreadPool",
]

# How many chunks of an imap are submitted, for each worker, before results are taken.
_AHEAD = 64


class Pool:
    """Runs calls in worker processes.

    Equals `multiprocessing.Pool`, at a small part of its cost for each call. Different: when a
    worker dies, the call that it ran fails with `WorkerCrashed`, and everything else goes on,
    where the stdlib's waits for ever; lambdas and closures work (package cloudpickle); large
    buffers go through shared memory; `imap` reads its input as results are taken; workers are
    started as they are needed, and may have children.

    Args:
        processes: How many; by default the usable CPUs.
        initializer: Called in each worker before its first call, with `initargs`, which may be
            locks, queues and connections.
        initargs: Arguments for the initializer.
        maxtasksperchild: After so many chunks of calls a worker is replaced; None for never.
        context: What `get_context` returns. Only its start method counts; by default it is
            "forkserver", for which workers are forked from a process that is kept for that.

    Raises:
        ValueError: A number is not positive.
        TypeError: The initializer cannot be called.

    >>> from counterpoint import multiprocessing
    >>> with multiprocessing.Pool(2) as pool:
    ...     pool.apply(pow, (2, 10)), pool.map(abs, [-1, 2])
    (1024, [1, 2])
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        self._state = INIT
        self._processes = usable_cpus() if processes is None else processes
        if self._processes < 1:
            raise ValueError("Number of processes must be at least 1")
        _check_tasks(maxtasksperchild)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        context = _context(context, maxtasksperchild)
        self._executor = ProcessPoolExecutor(
            self._processes,
            context,
            initializer,
            tuple(initargs),
            max_tasks_per_child=maxtasksperchild,
        )
        terminate_at_exit(self._executor._counterpoint_pool)
        # Those whose input is not read to its end, which `join` does.
        self._reading: set[IMapIterator] = set()
        self._lock = Guard()
        self._state = RUN

    def __del__(self) -> None:
        if getattr(self, "_state", None) == RUN:
            warnings.warn(
                f"unclosed running multiprocessing pool {self!r}",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        cls = type(self)
        return (
            f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={self._processes}>"
        )

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *error: object) -> None:
        self.terminate()

    @property
    def _pool(self) -> list[Any]:
        return list(self._executor._processes.values())

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
    ) -> Any:
        """Calls `func(*args, **kwds)` in a worker; what it returns."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> ApplyResult:
        """The same without waiting. The callbacks get what it returned or raised, in a thread."""
        self._check_running()
        future = self._executor.submit(func, *args, **(kwds or {}))
        return ApplyResult(future, callback, error_callback)

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Calls `func` with each item, `chunksize` of them in one go; what the calls return."""
        return self.map_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """The same without waiting. The callbacks get the list or an error, in a thread."""
        return self._map(map_chunk, func, iterable, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """As `map`, but each item is unpacked into arguments."""
        result = self.starmap_async(func, iterable, chunksize)
        return result.get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `map_async`, but each item is unpacked into arguments."""
        return self._map(starmap_chunk, func, iterable, chunksize, callback, error_callback)

    def _map(
        self,
        calls: Callable[..., list[Any]],
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> MapResult:
        self._check_running()
        items = iterable if hasattr(iterable, "__len__") else list(iterable)
        if chunksize is None:
            chunksize, more = divmod(len(items), self._processes * 4)  # type: ignore[arg-type]
            chunksize += bool(more)
        submit = self._executor.submit
        futures = [submit(calls, func, chunk) for chunk in chunks(items, max(1, chunksize))]
        return MapResult(futures, callback, error_callback)

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As `map`, but yields the results in order, while they are computed."""
        return self._imap(IMapIterator, func, iterable, chunksize)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As `map`, but yields the results as they come."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize)

    def _imap(
        self,
        kind: type[IMapIterator],
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
    ) -> IMapIterator:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        submit = self._executor.submit
        results = kind(
            lambda chunk: submit(map_chunk, func, chunk),
            chunks(iterable, chunksize),
            self._processes * _AHEAD,
        )
        with self._lock.held():
            # In place: what is called here may begin to read another input.
            done = [each for each in [*self._reading] if each.is_submitted]
            self._reading.difference_update(done)
            if not results.is_submitted:
                self._reading.add(results)
        return results

    def close(self) -> None:
        """Accepts no more calls."""
        with self._lock.held():
            if self._state != RUN:
                return
            self._state = CLOSE
            is_done = all(each.is_submitted for each in [*self._reading])
        if is_done:
            self._executor.shutdown(wait=False)

    def terminate(self) -> None:
        """Ends the workers at once, and with them the calls."""
        with self._lock.held():
            self._state = TERMINATE
            self._reading = set()
        self._executor.terminate_workers()

    def join(self) -> None:
        """Waits until the calls are over and the workers are gone.

        Raises:
            ValueError: The pool is neither closed nor terminated.
        """
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        # Each stays there until it is submitted: others who join wait for it too.
        with self._lock.held():
            reading = [*self._reading]
        for each in reading:
            each.submit_all()
        with self._lock.held():
            self._reading.difference_update(reading)
        self._executor.shutdown(wait=True)


def _check_tasks(maxtasksperchild: Any) -> None:
    if maxtasksperchild is None:
        return
    if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
        raise ValueError("maxtasksperchild must be a positive int or None")


def _context(context: Any, maxtasksperchild: int | None) -> Any:
    from .context import default, get_context

    context = default._for_pool() if context is None else context
    if maxtasksperchild is not None and context.get_start_method() == "fork":
        # A fork in the middle of the program's life is what the executor refuses.
        return get_context("forkserver")
    return context
