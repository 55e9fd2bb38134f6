"""Ways to break a class: what the mutation check puts in place of the classes under test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from tests.conformance.binding import chosen_target


def lock_for_everybody(real: type) -> type:
    """A lock that anybody gets at any time, released or not."""

    class Lock:
        def __init__(self) -> None:
            self.real = real()

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            self.real.acquire(False)
            return True

        def release(self) -> None:
            if self.real.locked():
                self.real.release()

    return Lock


def deaf_lock(real: type) -> type:
    """A lock whose timed wait ignores interrupts."""

    class Lock:
        def __init__(self) -> None:
            self.real = real()

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            try:
                return self.real.acquire(blocking, timeout)
            except KeyboardInterrupt:
                return False

    return Lock


def forgiving(method: str, error: type[Exception]) -> Callable[[type], type]:
    """A class with a method that swallows its error."""

    def breaking(real: type) -> type:
        def swallow(self: object, *args: object, **kwargs: object) -> None:
            try:
                getattr(super(broken, self), method)(*args, **kwargs)
            except error:
                pass

        broken = type(real.__name__, (real,), {method: swallow})
        return broken

    return breaking


def answering(method: str, answer: object, call: bool = True) -> Callable[[type], type]:
    """A class with a method that always gives the same answer, having done its work or not."""

    def breaking(real: type) -> type:
        def method_(self: object, *args: object, **kwargs: object) -> object:
            if call:
                getattr(super(broken, self), method)(*args, **kwargs)
            return answer

        broken = type(real.__name__, (real,), {method: method_})
        return broken

    return breaking


def semaphore_without_limit(real: type) -> type:
    """A semaphore that is never used up."""

    class Semaphore(real):
        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            super().acquire(False)
            return True

    return Semaphore


def silent_rlock(real: type) -> object:
    """A constructor that takes any arguments in silence."""
    return lambda *_, **__: real()


def queue_in_disguise(other: str) -> Callable[[type], type]:
    """A queue of another order under the name of this one."""

    def breaking(real: type) -> type:
        return type(real.__name__, (getattr(chosen_target().queue, other),), {})

    return breaking


def hiding_queue(real: type) -> type:
    """A queue whose put hides what its `_put` raises."""
    full = chosen_target().queue.Full

    class Queue(real):
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            try:
                super().put(item, block, timeout)
            except full:
                raise
            except Exception:
                pass

    return Queue


def hoarding_queue(real: type) -> type:
    """A queue that keeps the last item that it gave away."""

    class SimpleQueue(real):
        def get(self, block: bool = True, timeout: float | None = None) -> object:
            self.kept = super().get(block, timeout)
            return self.kept

    return SimpleQueue


def reversing_pool(real: type) -> type:
    """A pool whose map turns the results round."""

    class Executor(real):
        def map(self, *args: object, **kwargs: object) -> object:
            return reversed(list(super().map(*args, **kwargs)))

    return Executor


def losing_pool(real: type) -> type:
    """A pool whose results never come."""

    class ProcessPoolExecutor(real):
        def submit(self, *args: object, **kwargs: object) -> object:
            return Future()

    return ProcessPoolExecutor


def without(*options: str) -> Callable[[type], type]:
    """A pool of processes that takes some options in silence."""

    def breaking(real: type) -> type:
        class ProcessPoolExecutor(real):
            def __init__(self, *args: object, **kwargs: object) -> None:
                kept = {name: kwargs[name] for name in kwargs if name not in options}
                super().__init__(*args, **kept)

        return ProcessPoolExecutor

    return breaking


def uninitialized_pool(real: type) -> type:
    """A pool that does not run its initializer."""

    class ThreadPoolExecutor:
        def __new__(cls, max_workers: int | None = None, **_: object) -> object:
            return real(max_workers)

    return ThreadPoolExecutor


def diligent_pool(real: type) -> type:
    """A pool that finishes the tasks that it was told to cancel."""

    class ThreadPoolExecutor(real):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait)

    return ThreadPoolExecutor


def hasty_wait(real: type) -> object:
    """A `wait` that finds everything done."""

    def wait(fs: object, timeout: float | None = None, return_when: str = "") -> object:
        return set(fs), set()

    return wait


def doubling_as_completed(real: type) -> object:
    """An `as_completed` that yields what it is given."""

    def as_completed(fs: object, timeout: float | None = None) -> object:
        yield from list(fs)

    return as_completed


def made(breaking: Callable[[type], type]) -> Callable[[Callable[..., object]], object]:
    """For a name that is a function: what it makes is of a broken class."""

    def broken(real: Callable[..., object]) -> object:
        def make(*args: object, **kwargs: object) -> object:
            return breaking(type(real(*args, **kwargs)))(*args, **kwargs)

        return make

    return broken


def lockless(real: Callable[..., object]) -> object:
    """A shared value without its lock."""
    return lambda *args, lock=None: real(*args, lock=False)


def reversing_processes(real: Callable[..., object]) -> object:
    """A pool of processes whose map turns the results round."""

    def make(*args: object, **kwargs: object) -> object:
        pool = real(*args, **kwargs)
        plain = pool.map
        pool.map = lambda *args, **kwargs: plain(*args, **kwargs)[::-1]
        return pool

    return make


def deaf_pool(real: Callable[..., object]) -> object:
    """A pool of processes that tells nobody of errors."""

    def make(*args: object, **kwargs: object) -> object:
        pool = real(*args, **kwargs)
        plain = pool.apply_async
        pool.apply_async = lambda *args, error_callback=None: plain(*args)
        return pool

    return make


def easy_pool(real: Callable[..., object]) -> object:
    """A pool of processes that takes any limit in silence."""
    return lambda processes=None, **_: real(processes)
