"""Every pool behind one face: `submit` gives a ticket, `ticket()` the result."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

__all__ = ["PACKAGES", "POOLS", "NoSuchOption", "Pool", "make"]

Ticket = Callable[[], Any]

# How long a single answer may take before the whole case is a hang anyway.
PATIENCE = 300.0


class NoSuchOption(Exception):
    """The pool cannot be asked for this."""


class Pool:
    """What an executor of the stdlib's kind is; others override what differs."""

    # Our options, and what the pool calls them.
    options = {"initializer": "initializer", "max_tasks": "max_tasks_per_child"}

    def __init__(self, workers: int = 2, **options: Any) -> None:
        named = {}
        for key, value in options.items():
            if key not in self.options:
                raise NoSuchOption(key)
            named[self.options[key]] = value
        self.pool = self.create(workers, named)

    def create(self, workers: int, options: dict[str, Any]) -> Any:
        raise NotImplementedError

    def submit(self, fn: Callable[..., Any], *args: Any, limit: float | None = None) -> Ticket:
        future = self.send(fn, args, limit)
        return lambda: future.result(PATIENCE)

    def send(self, fn: Callable[..., Any], args: tuple[Any, ...], limit: float | None) -> Any:
        # Without a time limit of its own the task is left to itself: that is what the case shows.
        return self.pool.submit(fn, *args)

    def cancel(self, fn: Callable[..., Any], count: int) -> None:
        """Submits so many and cancels them at once."""
        for future in [self.send(fn, (number,), None) for number in range(count)]:
            future.cancel()

    def stop(self, cancel: bool = False) -> None:
        self.pool.shutdown(wait=True, cancel_futures=cancel)


class Ours(Pool):
    def create(self, workers: int, options: dict[str, Any]) -> Any:
        from counterpoint._process.executor import ProcessPoolExecutor

        return ProcessPoolExecutor(workers, **options)

    def send(self, fn: Callable[..., Any], args: tuple[Any, ...], limit: float | None) -> Any:
        pool = self.pool if limit is None else self.pool.options(timeout=limit)
        return pool.submit(fn, *args)


class Stdlib(Pool):
    def create(self, workers: int, options: dict[str, Any]) -> Any:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        # The default of Python 3.14; "fork" refuses max_tasks_per_child.
        context = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(workers, mp_context=context, **options)


class MultiprocessingPool(Pool):
    options = {"initializer": "initializer", "max_tasks": "maxtasksperchild"}

    def create(self, workers: int, options: dict[str, Any]) -> Any:
        import multiprocessing

        return multiprocessing.Pool(workers, **options)

    def submit(self, fn: Callable[..., Any], *args: Any, limit: float | None = None) -> Ticket:
        waiting = self.pool.apply_async(fn, args)
        return lambda: waiting.get(PATIENCE)

    def cancel(self, fn: Callable[..., Any], count: int) -> None:
        # It has no cancel; its terminate() is the nearest.
        for number in range(count):
            self.pool.apply_async(fn, (number,))

    def stop(self, cancel: bool = False) -> None:
        if cancel:
            self.pool.terminate()
        else:
            self.pool.close()
        self.pool.join()


class Loky(Pool):
    options = {"initializer": "initializer"}

    def create(self, workers: int, options: dict[str, Any]) -> Any:
        import loky

        return loky.ProcessPoolExecutor(workers, **options)

    def stop(self, cancel: bool = False) -> None:
        self.pool.shutdown(wait=True, kill_workers=cancel)


class Joblib(Pool):
    """It takes all calls at once and gives all answers, or one error: so do the tickets."""

    options: dict[str, str] = {}

    def create(self, workers: int, options: dict[str, Any]) -> Any:
        self.calls: list[Any] = []
        self.answers: list[Any] = []
        self.workers = workers
        return None

    def submit(self, fn: Callable[..., Any], *args: Any, limit: float | None = None) -> Ticket:
        at = len(self.calls) + len(self.answers)
        self.calls.append((fn, args))
        return lambda: self.answer(at)

    def answer(self, at: int) -> Any:
        if self.calls:
            self.run()
        answer = self.answers[at]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def run(self) -> None:
        from joblib import Parallel, delayed

        calls, self.calls = self.calls, []
        try:
            made = Parallel(n_jobs=self.workers)(delayed(fn)(*args) for fn, args in calls)
        except BaseException as error:
            made = [error] * len(calls)
        self.answers += made

    def cancel(self, fn: Callable[..., Any], count: int) -> None:
        raise NoSuchOption("cancel")

    def stop(self, cancel: bool = False) -> None:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


class Mpire(Pool):
    # Its worker_lifespan is for its maps alone.
    options = {"initializer": "worker_init"}

    def create(self, workers: int, options: dict[str, Any]) -> Any:
        import mpire

        # Options of each call.
        self.apply = options
        return mpire.WorkerPool(n_jobs=workers)

    def submit(self, fn: Callable[..., Any], *args: Any, limit: float | None = None) -> Ticket:
        waiting = self.pool.apply_async(fn, args, task_timeout=limit, **self.apply)
        return lambda: waiting.get(PATIENCE)

    def cancel(self, fn: Callable[..., Any], count: int) -> None:
        for number in range(count):
            self.pool.apply_async(fn, (number,))

    def stop(self, cancel: bool = False) -> None:
        if cancel:
            self.pool.terminate()
        else:
            self.pool.stop_and_join()


class Pebble(Pool):
    options = {"max_tasks": "max_tasks", "initializer": "initializer"}

    def create(self, workers: int, options: dict[str, Any]) -> Any:
        import pebble

        return pebble.ProcessPool(max_workers=workers, **options)

    def send(self, fn: Callable[..., Any], args: tuple[Any, ...], limit: float | None) -> Any:
        return self.pool.schedule(fn, args=args, timeout=limit)

    def stop(self, cancel: bool = False) -> None:
        if cancel:
            self.pool.stop()
        else:
            self.pool.close()
        self.pool.join()


class Deadpool(Pool):
    def create(self, workers: int, options: dict[str, Any]) -> Any:
        import deadpool

        return deadpool.Deadpool(max_workers=workers, **options)

    def send(self, fn: Callable[..., Any], args: tuple[Any, ...], limit: float | None) -> Any:
        return self.pool.submit(fn, *args, deadpool_timeout=limit)


POOLS: dict[str, type[Pool]] = {
    "counterpoint": Ours,
    "concurrent.futures": Stdlib,
    "multiprocessing.Pool": MultiprocessingPool,
    "loky": Loky,
    "joblib": Joblib,
    "mpire": Mpire,
    "pebble": Pebble,
    "deadpool": Deadpool,
}

# What must be installed for each, by its name on the package index.
PACKAGES = {
    "loky": "loky",
    "joblib": "joblib",
    "mpire": "mpire",
    "pebble": "pebble",
    "deadpool": "deadpool-executor",
}


def make(name: str, **options: Any) -> Pool:
    """A pool of this name, ready to work."""
    return POOLS[name](**options)


def version(name: str) -> str:
    """Of what is installed; empty for the stdlib's."""
    from importlib import metadata

    package = PACKAGES.get(name)
    return metadata.version(package) if package else ""


def installed(name: str) -> bool:
    """Whether the pool can be had here."""
    try:
        importlib.import_module("counterpoint" if name == "counterpoint" else name.split(".")[0])
    except ImportError:
        return False
    return True


def work(number: int) -> int:
    """A task that takes a moment."""
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end:
        pass
    return number * number
