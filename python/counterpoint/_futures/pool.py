"""ThreadPoolExecutor: everything about it that is not on the way of a task."""

from __future__ import annotations

import concurrent.futures.thread as _stdlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from counterpoint import _records
from counterpoint._core import Future, Meter, Pool, PoolBase, _sweep_timers, let_yield

from .mapping import map_calls
from .options import TaskOptions, check_pending
from .workers import Starter

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Literal, ParamSpec, Self, TypeVar

    from counterpoint._statistics import ExecutorStatistics

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["BrokenThreadPool", "ThreadPoolExecutor"]

BrokenThreadPool = _stdlib.BrokenThreadPool

_BROKEN = "A thread initializer failed, the thread pool is not usable anymore"


class _Awaiting(threading.local):
    """The pool for which `async_submit` submits in this thread, which must not block."""

    pool: ThreadPoolExecutor | None = None


_awaiting = _Awaiting()


class _Overtaken(Exception):
    """The room that a task awaited was taken before it could submit."""


class ThreadPoolExecutor(PoolBase):
    """Runs calls in threads of a pool.

    Equals `concurrent.futures.ThreadPoolExecutor`, of which it is a subclass, at a small part of
    its cost for each task. Different: a task runs in a copy of the context (contextvars) of the
    code that submitted it; a worker whose task waits for a future does not count against
    `max_workers`, so tasks may wait for tasks of their own pool; the default number of workers
    goes by the CPUs that this process may use.

    Args:
        max_workers: How many tasks run at the same time; by default `min(32, usable CPUs + 4)`,
            where the CPU affinity and the control group's quota count.
        thread_name_prefix: The threads are named `{prefix}_{number}`.
        initializer: Called in each thread before its first task, with `initargs`.
        initargs: Arguments for the initializer.
        max_pending: How many tasks may wait for a worker; None for any number.
        on_full: What `submit` does when so many wait: "block" until there is room, or "raise"
            `queue.Full`.

    Raises:
        ValueError: `max_workers` or `max_pending` is not positive, or `on_full` is something else.
        TypeError: The initializer cannot be called, or `max_pending` is no integer.

    In a forked child the pool starts anew: without the parent's threads, and without its tasks.

    >>> with ThreadPoolExecutor() as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    BROKEN = BrokenThreadPool
    _counter = itertools.count().__next__

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_pending: int | None = None,
        on_full: Literal["block", "raise"] = "block",
    ) -> None:
        if max_workers is None:
            from .cpus import default_workers

            max_workers = default_workers()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_pending is not None or on_full != "block":
            check_pending(max_pending, on_full)
        self._max_workers = max_workers
        self._max_pending = max_pending
        self._on_full = on_full
        self._broken: bool | str = False  # type: ignore[assignment]
        self._given_prefix = thread_name_prefix
        self._thread_name_prefix = thread_name_prefix or f"ThreadPoolExecutor-{self._counter()}"
        self._initializer = initializer  # type: ignore[assignment]
        self._initargs = initargs
        self._starter = Starter(self._thread_name_prefix, initializer, initargs)
        self._threads = self._starter.threads
        # A fraction of a worker is one more, as in the stdlib, which compares counts with it.
        self._counterpoint_pool = Pool(self._starter, max_workers.__ceil__(), max_pending)
        self._starter.bind(self, self._counterpoint_pool)
        self._counterpoint_pool.observe(self)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[T]:
        """Calls `fn` with the items of the iterables, in the pool, and yields the results.

        Equals `ThreadPoolExecutor.map` of Python 3.14, on every version. Different: `ordered` and
        `progress`.

        Args:
            fn: Called with one item of each iterable.
            iterables: Read to the shortest one's end: at once, or with a `buffersize` as results
                are taken.
            timeout: Seconds from this call within which every result must be there.
            chunksize: Ignored, as by the stdlib's thread pool.
            buffersize: The most calls that are submitted and whose results were not taken yet;
                None for any number.
            ordered: False yields results as they come.
            progress: Shows a bar on stderr (package tqdm).

        Returns:
            An iterator. Once it has begun to yield, closing it or dropping it cancels the calls
            that have not started. Before that, as in the stdlib, they run all the same.

        Raises:
            TypeError: An argument cannot be iterated, or `buffersize` is no int.
            ValueError: `buffersize` is less than 1.
            TimeoutError: From the iterator, when the time is over; the calls that have not started
                are cancelled.

        >>> with ThreadPoolExecutor() as pool:
        ...     list(pool.map(pow, [2, 3], [10, 2]))
        [1024, 9]
        """
        return map_calls(self, fn, iterables, timeout, buffersize, ordered, progress)

    def options(
        self,
        *,
        timeout: float | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        priority: int = 0,
        name: str | None = None,
    ) -> TaskOptions:
        """The same pool, for tasks with these options.

        No stdlib call equals it. It has `submit`, `async_submit` and `map`.

        Args:
            timeout: Seconds that a task may run, from its start; each attempt anew. Then its future
                fails with `TimeoutError`, at once. The thread cannot be stopped: the task is told
                through `cancellation_token()`, and its worker is free when it returns.
            retries: How many more times a task that raised is tried. It queues again, behind
                others.
            retry_on: For which exceptions. A task whose time is over is not tried again.
            priority: Higher runs sooner; within a priority, first come, first served. Others have
                0.
            name: The future's attribute `name`, which its repr and its `TimeoutError` show; without
                it there is none.

        Raises:
            ValueError: `timeout` is not positive, or a number is out of range.
            TypeError: An option is of a wrong type.

        >>> with ThreadPoolExecutor() as pool:
        ...     pool.options(retries=2, priority=5).submit(pow, 2, 5).result()
        32
        """
        return TaskOptions(self, timeout, retries, retry_on, priority, name)

    async def async_submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """`submit` for coroutines: awaits room where `submit` would block for it.

        No stdlib call equals it. A cancelled wait has submitted nothing.

        >>> import asyncio
        >>> async def main():
        ...     async with ThreadPoolExecutor(max_pending=10) as pool:
        ...         future = await pool.async_submit(pow, 2, 5)
        ...         return await future
        >>> asyncio.run(main())
        32
        """
        return await self._submit_in_room(self.submit, fn, *args, **kwargs)

    async def _submit_in_room(
        self, submit: Callable[..., Future[T]], /, *args: Any, **kwargs: Any
    ) -> Future[T]:
        if self._max_pending is None:
            return submit(*args, **kwargs)
        from counterpoint._async import drive

        # One ticket for all attempts: one that was overtaken keeps its place in line.
        ticket = self._counterpoint_pool.room_ticket()
        try:
            while True:
                await drive(ticket)
                # Another thread may take the room first: then there is nothing but to await more.
                _awaiting.pool = self
                try:
                    return submit(*args, **kwargs)
                except _Overtaken:
                    pass
                finally:
                    _awaiting.pool = None
        except BaseException:
            # It may have been told of room that it does not use: others wait for it.
            self._counterpoint_pool.pass_room_on()
            raise

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accepts no more calls; waits until those submitted are done.

        Equals `Executor.shutdown`. Different: futures that it cancels are settled at once, so
        `wait` and `as_completed` see them.

        Args:
            wait: Whether to return only when the threads have ended.
            cancel_futures: Whether to cancel what has not started.

        >>> pool = ThreadPoolExecutor()
        >>> pool.shutdown()
        >>> pool.submit(print)
        Traceback (most recent call last):
        RuntimeError: cannot schedule new futures after shutdown
        """
        cancelled = self._counterpoint_pool.close(cancel_futures)
        raised: BaseException | None = None
        for future in cancelled:
            for step in (future.cancel, future.set_running_or_notify_cancel):
                try:
                    step()
                except BaseException as error:
                    # From a callback, or an observer. The others are in no queue any more: they
                    # must end here.
                    raised = error if raised is None else raised
                if not future.cancelled():
                    break
        self._counterpoint_pool.count_cancelled(len(cancelled))
        if raised is not None:
            raise raised
        if wait:
            self._starter.join()
            _sweep_timers()
            self._counterpoint_pool.end()

    async def __aenter__(self) -> Self:
        """`async with pool`: as `with pool`, but its end does not block the event loop.

        No stdlib call equals it. A cancellation of that wait leaves the pool closed, and its tasks
        running.

        >>> import asyncio
        >>> async def main():
        ...     async with ThreadPoolExecutor() as pool:
        ...         return await pool.submit(pow, 2, 5)
        >>> asyncio.run(main())
        32
        """
        return self

    async def __aexit__(self, *_: object) -> None:
        from counterpoint._futures.closing import shut_down

        await shut_down(self)

    def statistics(self) -> ExecutorStatistics:
        """What the pool did so far. No stdlib call equals it.

        >>> with ThreadPoolExecutor(max_workers=2) as pool:
        ...     _ = list(pool.map(abs, range(10)))
        >>> pool.statistics().done
        10
        """
        records = _records.records()
        self._counterpoint_pool.update_meter()
        queued, workers, _ = self._counterpoint_pool.sizes()
        running, done, failed, cancelled, delay, run, used, delays, runs = (
            self._counterpoint_pool.counts()
        )
        statistics: ExecutorStatistics = records.ExecutorStatistics(
            self._given_prefix or None,
            self._max_workers,
            workers,
            queued,
            running,
            done,
            failed,
            cancelled,
            records.WaitStatistics(*delay),
            records.WaitStatistics(*run),
            used,
            tuple(delays),
            tuple(runs),
        )
        return statistics

    @property
    def _meter(self) -> Meter:
        return self._counterpoint_pool.meter(self._given_prefix or None)

    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._counterpoint_pool.is_closed()

    @property
    def _work_queue(self) -> _WorkQueue:  # type: ignore[override]
        return _WorkQueue(self._counterpoint_pool)

    @property
    def _idle_semaphore(self) -> threading.Semaphore:  # type: ignore[override]
        return threading.Semaphore(self._counterpoint_pool.sizes()[2])

    def _refuse_closed(self) -> None:
        if self._broken:
            raise self.BROKEN(self._broken)
        raise RuntimeError("cannot schedule new futures after shutdown")

    def _refuse_full(self) -> None:
        if _awaiting.pool is self:
            raise _Overtaken
        if self._on_full == "raise":
            raise queue.Full(
                f"{self._max_pending} tasks are pending, the most that max_pending allows"
            )

    def _initializer_failed(self) -> None:
        self._broken = _BROKEN
        self._counterpoint_pool.close()
        self._counterpoint_pool.fail_all(lambda: self.BROKEN(_BROKEN))


# Free for a subclass, as in the stdlib.
let_yield(ThreadPoolExecutor, "_meter")


class _WorkQueue:
    """What programs read of the stdlib's `_work_queue`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def qsize(self) -> int:
        return self._pool.sizes()[0]

    def empty(self) -> bool:
        return not self.qsize()
