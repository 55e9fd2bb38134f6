"""ProcessPoolExecutor: everything about it that is not on the way of a task."""

from __future__ import annotations

import concurrent.futures.process as _stdlib
import multiprocessing as mp
import queue
import signal
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

from counterpoint._core import Meter, ProcessFuture, ProcessPool, _process_pool_base, let_yield
from counterpoint._futures.cpus import usable_cpus
from counterpoint._futures.options import check_pending
from counterpoint._worker.launch import Launcher

from .checks import check_cpus, check_size
from .ending import let_go, remember, stop
from .errors import BROKEN, BrokenProcessPool
from .handover import hand_over, keep
from .mapping import map_chunks
from .options import ProcessOptions
from .room import awaits_room, submit_in_room
from .serving import Config
from .sharing import unshare
from .statistics import ProcessPoolStatistics, collect
from .supervisor import Supervisor, Terms
from .views import ProcessView

__all__ = ["ProcessPoolExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

# The ways of a forced shutdown.
_SIGNALS = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL}

_METHODS = {"fork": "fork", "spawn": "spawn", "forkserver": "zygote"}

if TYPE_CHECKING:

    class _Base(_stdlib.ProcessPoolExecutor):
        _counterpoint_pool: ProcessPool

        def submit(
            self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
        ) -> ProcessFuture[T]: ...

else:
    _Base = _process_pool_base(_stdlib.ProcessPoolExecutor)


class ProcessPoolExecutor(_Base):
    """Runs calls in worker processes.

    Equals `concurrent.futures.ProcessPoolExecutor`, of which it is a subclass, at a small part of
    its cost for each task. Different: when a worker dies, the task that it ran fails with
    `WorkerCrashed`, the worker is replaced, and every other task goes on; lambdas, closures and
    functions of a notebook work (package cloudpickle); large buffers (NumPy arrays, bytes) go
    through shared memory; the default number of workers goes by the CPUs that this process may use.

    Args:
        max_workers: How many tasks run at the same time; by default the usable CPUs, where the CPU
            affinity and the control group's quota count. Workers are started as they are needed.
        mp_context: A multiprocessing context; only its start method counts. By default, and for
            "forkserver", workers are forked from a *zygote*: a process of one thread that is kept
            for that. "spawn" starts a new interpreter for each, "fork" forks this process.
        initializer: Called in each worker before its first task, with `initargs`, which may be
            locks, queues and connections of `multiprocessing`. If it raises, the pool is broken.
        initargs: Arguments for the initializer.
        max_tasks_per_child: After so many tasks a worker is replaced; None for never.
        on_worker_death: "isolate", or "break", as the stdlib does: the death of a worker fails
            every task, and the pool is not usable any more.
        max_pending: How many tasks may wait for a worker; None for any number.
        on_full: What `submit` does when so many wait: "block" until there is room, or "raise"
            `queue.Full`.
        min_workers: Workers that are started at once, and replaced, whether or not there is
            something to do.
        idle_timeout: Seconds after which a worker beyond `min_workers` that has nothing to do
            leaves; None for never.
        max_memory_per_worker: Bytes that a worker may have for itself (resident memory without
            what it shares with other processes) while it runs a task. One that has more is killed,
            and its task fails with `WorkerCrashed`. It is looked at every 20 ms.
        cpu_affinity: For each worker in turn the CPU, or CPUs, that it may use; after the last
            entry the first one follows. A worker that replaces another has its CPUs. None: those
            of this process.
        finalizer: Called in each worker that leaves, after its last task; not in one that is
            killed. What it raises is logged.
        forward_logs: Whether log records and warnings of workers are handled by the loggers of
            this process, as if they were its own. Workers have the levels that loggers have here
            when they are launched. False leaves logging in workers alone. A worker that is far
            ahead of the handlers here, by about half a megabyte, waits for them.
        capture_output: Whether the lines that workers and their children write to stdout and
            stderr are logged here, by `counterpoint.worker.stdout` (level INFO) and
            `counterpoint.worker.stderr` (WARNING), in place of being written to this process's.
            They wait as log records do.

    Raises:
        ValueError: A number is not positive, or `on_worker_death` or `on_full` is something else.
        TypeError: The initializer cannot be called.

    In a forked child an inherited pool cannot be used, and says so. Workers are the leaders of
    process groups of their own; they ignore Ctrl-C, and die with this process.

    >>> from counterpoint.futures import ProcessPoolExecutor
    >>> with ProcessPoolExecutor(2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        on_worker_death: Literal["isolate", "break"] = "isolate",
        max_pending: int | None = None,
        on_full: Literal["block", "raise"] = "block",
        min_workers: int = 0,
        idle_timeout: float | None = None,
        max_memory_per_worker: int | None = None,
        cpu_affinity: Sequence[int | Iterable[int]] | None = None,
        finalizer: Callable[[], object] | None = None,
        forward_logs: bool = True,
        capture_output: bool = False,
    ) -> None:
        if max_workers is None:
            max_workers = usable_cpus()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        check_pending(max_pending, on_full)
        _check_death(on_worker_death)
        check_size(max_workers, min_workers, idle_timeout, max_memory_per_worker)
        if finalizer is not None and not callable(finalizer):
            raise TypeError("finalizer must be a callable")
        self._mp_context = mp_context if mp_context is not None else _default_context()
        method = _METHODS[self._mp_context.get_start_method(allow_none=False)]
        _check_tasks(max_tasks_per_child, method)
        self._max_workers = max_workers
        self._max_tasks_per_child = max_tasks_per_child
        self._initializer = initializer  # type: ignore[assignment]
        self._initargs = initargs
        self._max_pending = max_pending
        self._on_full = on_full
        config = Config(initializer, tuple(map(unshare, initargs)), finalizer)
        terms = Terms(
            keep(config) if method == "fork" else hand_over(tuple(config)),
            forward_logs,
            check_cpus(cpu_affinity),
            max_memory_per_worker,
        )
        self._supervisor = Supervisor(_launcher(method), terms)
        self._counterpoint_pool = ProcessPool(
            self._supervisor,
            max_workers,
            max_pending,
            max_tasks_per_child,
            on_worker_death == "isolate",
            capture_output,
            min_workers,
            idle_timeout,
            max_memory_per_worker,
        )
        self._born = time.monotonic()
        remember(self._counterpoint_pool)
        # The pool must not keep the executor alive; its end closes the pool.
        self._finalizer = weakref.finalize(self, let_go, self._counterpoint_pool, self._supervisor)
        self._finalizer.atexit = False
        if min_workers:
            self._counterpoint_pool.start()
        ProcessPool.observe(self)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = "auto",
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool = False,
    ) -> Iterator[T]:
        """Calls `fn` with the items of the iterables, in the pool, and yields the results.

        Equals `ProcessPoolExecutor.map` of Python 3.14, on every version. Different: `chunksize`
        may be "auto", the default; `buffersize` counts items; `ordered` and `progress`.

        Args:
            fn: Called with one item of each iterable.
            iterables: Read to the shortest one's end: at once, or with a `buffersize` as results
                are taken, which an iterator without an end needs.
            timeout: Seconds from this call within which every result must be there.
            chunksize: How many items are sent together. "auto" divides what has a length into 16
                chunks for each worker (of 2,048 items at most). Without a length chunks grow with
                the number of items that came before, and are sent early where those are slow to
                come. With a `buffersize` they go by how long those before took: about 4 ms, and
                not more than a quarter of each worker's part of the buffer.
            buffersize: The most items that are submitted and whose results were not taken yet;
                None for any number.
            ordered: False yields results as they come.
            progress: Shows a bar of the items on stderr (package tqdm).

        A chunk that no worker has begun is cancelled when the iterator is closed, when it is over
        or raises, and by `shutdown(cancel_futures=True)`; one that was begun runs to its end, or to
        the first item that raises. With `chunksize=1` that goes for each item.

        Raises:
            ValueError: `chunksize` or `buffersize` is less than 1.
            TypeError: An argument cannot be iterated, or `chunksize` or `buffersize` is no int.
            TimeoutError: From the iterator, when the time is over.

        >>> from counterpoint.futures import ProcessPoolExecutor
        >>> with ProcessPoolExecutor(2) as pool:
        ...     list(pool.map(pow, [2, 3], [10, 2]))
        [1024, 9]
        """
        return map_chunks(self, fn, iterables, timeout, chunksize, buffersize, ordered, progress)

    def options(
        self,
        *,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        priority: int = 0,
        name: str | None = None,
    ) -> ProcessOptions:
        """The same pool, for tasks with these options.

        No stdlib call equals it. It has `submit`, `async_submit` and `map`.

        Args:
            timeout: Seconds that a task may run, from its start. Then its future fails with
                `TimeoutError`, and its process is killed and replaced.
            soft_timeout: Seconds after which `counterpoint.SoftTimeout`, a `TimeoutError`, is
                raised inside the task, once, for it to clean up. Native code that never returns to
                Python does not see it: `timeout` is for that.
            retries: How many more times a task that raised, or whose process died, is tried.
            retry_on: For which exceptions, as they arrive here: one that cannot be unpickled is an
                `UnpicklingError`. A `timeout` is not tried again.
            priority: Higher runs sooner; within a priority, first come, first served. Others have
                0. What a worker has in hand already runs first: half a millisecond's work, or up
                to four tasks while it is not known how long they take.
            name: The future's attribute `name`, which its repr and its `TimeoutError` show; None
                where no name was given.

        Raises:
            ValueError: A time is not positive, or a number is out of range.
            TypeError: An option is of a wrong type.

        >>> from counterpoint.futures import ProcessPoolExecutor
        >>> with ProcessPoolExecutor(1) as pool:
        ...     pool.options(timeout=60, retries=1).submit(pow, 2, 5).result()
        32
        """
        return ProcessOptions(self, timeout, soft_timeout, retries, retry_on, priority, name)

    async def async_submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> ProcessFuture[T]:
        """`submit` for coroutines: awaits room where `submit` would block for it.

        No stdlib call equals it. A cancelled wait has submitted nothing. A task of asyncio that is
        cancelled while it awaits the future stops the call, as `future.kill()` does.

        >>> import asyncio
        >>> from counterpoint.futures import ProcessPoolExecutor
        >>> async def main():
        ...     async with ProcessPoolExecutor(1, max_pending=10) as pool:
        ...         future = await pool.async_submit(pow, 2, 5)
        ...         return await future
        >>> asyncio.run(main())
        32
        """
        return await self._submit_in_room(self.submit, fn, *args, **kwargs)

    async def _submit_in_room(
        self, submit: Callable[..., ProcessFuture[T]], /, *args: Any, **kwargs: Any
    ) -> ProcessFuture[T]:
        if self._max_pending is None:
            return submit(*args, **kwargs)
        return await submit_in_room(self, submit, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accepts no more calls; waits until those submitted are done and the workers are gone.

        Equals `Executor.shutdown`.
        """
        self._counterpoint_pool.close(cancel_futures)
        if wait:
            self._counterpoint_pool.wait_for_end()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """`shutdown()`; after Ctrl-C what runs is not waited for but terminated (SIGTERM).

        In the stdlib Ctrl-C reaches the workers by itself, and ends what they run. Another one
        while this waits kills them.
        """
        # One that a task raised comes with the worker's traceback.
        cause = getattr(error, "__cause__", None)
        if not isinstance(error, KeyboardInterrupt) or isinstance(cause, _stdlib._RemoteTraceback):
            return self.shutdown()
        self.terminate_workers()
        try:
            return self.shutdown()
        except KeyboardInterrupt:
            self.kill_workers()
            raise

    def terminate_workers(self) -> None:
        """Ends the pool at once: cancels what waits, and terminates the workers (SIGTERM).

        Equals the method of Python 3.14, on every version.
        """
        self._force_shutdown(operation="terminate")

    def kill_workers(self) -> None:
        """Ends the pool at once: cancels what waits, and kills the workers (SIGKILL).

        Equals the method of Python 3.14, on every version.
        """
        self._force_shutdown(operation="kill")

    def _force_shutdown(self, operation: str) -> None:
        if operation not in _SIGNALS:
            raise ValueError(f"Unsupported operation: {operation!r}")
        stop(self._counterpoint_pool, _SIGNALS[operation])

    async def __aenter__(self) -> Self:
        """`async with pool`: as `with pool`, but its end does not block the event loop.

        No stdlib call equals it. A cancellation of that wait leaves the pool closed, and its tasks
        running.
        """
        return self

    async def __aexit__(self, *_: object) -> None:
        from counterpoint._futures.closing import shut_down

        await shut_down(self)

    def statistics(self) -> ProcessPoolStatistics:
        """What the pool did so far. No stdlib call equals it.

        >>> from counterpoint.futures import ProcessPoolExecutor
        >>> with ProcessPoolExecutor(1) as pool:
        ...     _ = list(pool.map(abs, range(10), chunksize=1))
        >>> pool.statistics().done
        10
        """
        return collect(self._counterpoint_pool, self._supervisor, self._max_workers, self._born)

    @property
    def _meter(self) -> Meter:
        return self._counterpoint_pool.meter()

    @property
    def _processes(self) -> dict[int, ProcessView]:  # type: ignore[override]
        workers = self._supervisor.all_workers(self._counterpoint_pool.staying())
        return {worker.pid: ProcessView(worker) for worker in workers}

    @property
    def _shutdown_thread(self) -> bool:  # type: ignore[override]
        return bool(self._counterpoint_pool.is_closed())

    @property
    def _broken(self) -> str | Literal[False]:  # type: ignore[override]
        return BROKEN if self._counterpoint_pool.is_broken() else False

    def _refuse_closed(self) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    def _refuse_broken(self) -> None:
        raise BrokenProcessPool(BROKEN)

    def _refuse_full(self) -> None:
        awaits_room(self)
        if self._on_full == "raise":
            raise queue.Full(
                f"{self._max_pending} tasks are pending, the most that max_pending allows"
            )
        self._counterpoint_pool.wait_for_room()


# Free for a subclass, as in the stdlib.
let_yield(ProcessPoolExecutor, "_meter")

# Where users find it.
ProcessPoolExecutor.__module__ = "counterpoint.futures"

_BEGIN = "counterpoint._process.serving:begin"
_SERVE = "counterpoint._process.serving:serve"

# What every worker needs: imported once, by the zygote.
_PRELOADED = (
    "counterpoint._process.serving",
    "counterpoint._process.pickling",
    "counterpoint._process.exceptions",
    "counterpoint._process.blaming",
    "counterpoint._process.unpickling",
    # What a program that has a pool imports, so each worker, too.
    "counterpoint.futures",
    "counterpoint._process.executor",
)


def _default_context() -> BaseContext:
    # Whatever the default of this Python: a zygote is as fast as a fork and has no second thread.
    return mp.get_context("forkserver")


def _launcher(method: str) -> Launcher:
    launcher = Launcher(method, target=_SERVE, early=_BEGIN)
    launcher.preload(_PRELOADED)
    return launcher


def _check_death(on_worker_death: str) -> None:
    if on_worker_death not in ("isolate", "break"):
        raise ValueError(f"on_worker_death must be 'isolate' or 'break', not {on_worker_death!r}")


def _check_tasks(max_tasks_per_child: int | None, method: str) -> None:
    if max_tasks_per_child is None:
        return
    if not isinstance(max_tasks_per_child, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if max_tasks_per_child <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if method == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
            "supply a different mp_context."
        )
