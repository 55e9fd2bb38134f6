"""Worker threads: how they are started, what they run, and how they end with the interpreter."""

from __future__ import annotations

import concurrent.futures._base as _base
import os
import threading
import weakref
from collections.abc import Callable

from counterpoint._core import (
    Guard,
    Pool,
    _close_pools,
    _forget_timers,
    _prepare_timers,
    _serve_timers,
    _sweep_timers,
)

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any

    from .pool import ThreadPoolExecutor

__all__ = ["Starter", "start_timers"]

# Which pool a living worker thread serves. As in the stdlib, workers are no daemons: the
# interpreter ends after they did.
_pools: weakref.WeakKeyDictionary[threading.Thread, Pool] = weakref.WeakKeyDictionary()

# Whether the interpreter has begun to end.
_ending = False


class Starter:
    """Starts the threads of one pool. The pool holds it; it holds neither pool nor executor."""

    __slots__ = (
        "executor",
        "extra_threads",
        "initargs",
        "initializer",
        "pid",
        "pool",
        "prefix",
        "starting",
        "threads",
    )

    def __init__(
        self,
        prefix: str,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self.threads: set[threading.Thread] = set()
        # Most pools never have any.
        self.extra_threads: set[threading.Thread] | None = None
        self.prefix = prefix
        self.initializer = initializer
        self.initargs = initargs
        self.pid = os.getpid()
        # Held while a thread starts. Reentrant, for a signal handler that submits meanwhile; the
        # interpreter's own, which no observer is shown.
        self.starting = Guard()
        self.executor: weakref.ref[ThreadPoolExecutor] | None = None
        self.pool: weakref.ref[Pool] | None = None

    def bind(self, executor: ThreadPoolExecutor, pool: Pool) -> None:
        """Makes the pool close when the executor is gone."""

        def close(_: object, pool: Pool = pool) -> None:
            pool.close()

        self.executor = weakref.ref(executor, close)
        self.pool = weakref.ref(pool)

    def __call__(self, extra: bool, number: int) -> None:
        """Starts one thread; an extra one stands in for a worker that waits for its own pool.

        What a signal handler raises comes through, whether the thread has started by then or not:
        the pool finds out which, when the thread arrives with its number.
        """
        self._forget_parent()
        pool = self.pool() if self.pool is not None else None
        assert pool is not None
        with self.starting.held():
            threads = self._threads(extra)
            name = f"{self.prefix}_{'extra_' if extra else ''}{len(threads)}"
            begun: list[bool] = []
            args = (pool, self, extra, number, begun)
            thread = threading.Thread(name=name, target=_work, args=args)
            try:
                self.register(thread, pool, extra)
                thread.start()
            except BaseException:
                if begun:
                    pool.started(number)
                else:
                    # There is none; or it is about to start, and then registers itself; or it never
                    # gets there, because the interruption left a lock of `start` locked, or
                    # unlocked one that the thread has, which ends it.
                    threads.discard(thread)
                    _pools.pop(thread, None)
                raise
        if _ending:
            # `_end` may have looked before this thread could be seen.
            pool.close()

    def _threads(self, extra: bool) -> set[threading.Thread]:
        if not extra:
            return self.threads
        if self.extra_threads is None:
            self.extra_threads = set()
        return self.extra_threads

    def register(self, thread: threading.Thread, pool: Pool, extra: bool) -> None:
        """Makes it known to those who wait for the pool's threads."""
        threads = self._threads(extra)
        # Almost every thread is known when it comes here itself, and need not wait for the lock.
        if thread not in threads:
            with self.starting.held():
                threads.add(thread)
        _pools[thread] = pool

    def forget(self, thread: threading.Thread) -> None:
        """An extra thread has ended."""
        with self.starting.held():
            if self.extra_threads is not None:
                self.extra_threads.discard(thread)

    def _forget_parent(self) -> None:
        # In a forked child: its parent's threads are not here.
        if self.pid != os.getpid():
            with self.starting.held():
                if self.pid != os.getpid():
                    self.threads.clear()
                    self.extra_threads = None
                    self.pid = os.getpid()

    def join(self) -> None:
        """Waits until every thread has ended, those included that start meanwhile."""
        self._forget_parent()
        joined: set[threading.Thread] = set()
        while True:
            with self.starting.held():
                known = {*self.threads, *(self.extra_threads or ())} - joined
                threads = {thread for thread in known if thread.is_alive()}
            if not threads:
                return
            for thread in threads:
                _join(thread)
            joined |= threads


def _join(thread: threading.Thread) -> None:
    """`thread.join()`, which before 3.13 takes a thread for ended when Ctrl-C interrupts the wait.

    Nobody would wait for it any more then, and the interpreter would end while it runs a task.
    """
    lock = getattr(thread, "_tstate_lock", None)
    if lock is not None:
        # The thread's own until it ends. `with` is the one way to take a lock for a moment that no
        # exception of a signal handler gets in between of.
        with lock:
            pass
    thread.join()


def _work(pool: Pool, starter: Starter, extra: bool, number: int, begun: list[bool]) -> None:
    begun.append(True)
    thread = threading.current_thread()
    starter.register(thread, pool, extra)
    try:
        if starter.initializer is None or _initialize(pool, starter, number):
            pool.work(number)
    except BaseException:
        _base.LOGGER.critical("Exception in worker", exc_info=True)
    finally:
        if extra:
            starter.forget(thread)
        # The pool's starter knows the thread, which would keep this entry.
        _pools.pop(thread, None)


def _initialize(pool: Pool, starter: Starter, number: int) -> bool:
    assert starter.initializer is not None
    try:
        starter.initializer(*starter.initargs)
    except BaseException:
        _base.LOGGER.critical("Exception in initializer:", exc_info=True)
        pool.not_started(number)
        executor = starter.executor() if starter.executor is not None else None
        if executor is not None:
            executor._initializer_failed()
        return False
    return True


_timers: list[threading.Thread] = []


def start_timers() -> None:
    """Starts the thread that enforces time limits; it ends when there are none."""
    thread = threading.Thread(name="counterpoint-timers", target=_serve_timers)
    try:
        thread.start()
    except RuntimeError:
        # An interpreter that ends starts no threads from Python 3.12 on. What is queued still
        # runs, as in the stdlib, but nothing limits it any more.
        if not _ending:
            raise
    else:
        _timers[:] = [thread]


def _end() -> None:
    """Runs before the interpreter joins its threads: what is queued still runs."""
    global _ending
    _ending = True
    _close_pools()
    # A copy made in one step: threads may be added meanwhile.
    threads = [thread for each in _pools.keyrefs() if (thread := each()) is not None]
    pools = [(thread, pool) for thread in threads if (pool := _pools.get(thread)) is not None]
    for _, pool in pools:
        pool.close()
    for thread, _ in pools:
        if thread.is_alive():
            _join(thread)
    # Every task is over, and so is every time limit.
    _sweep_timers()
    for thread in _timers:
        _join(thread)


def _forked() -> None:
    # The threads stayed with the parent.
    _pools.clear()
    _timers.clear()
    _forget_timers()


threading._register_atexit(_end)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forked)
_prepare_timers()
