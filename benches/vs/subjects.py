"""The faces that the benchmark loops see, the same whatever the library.

The fields are bound methods, taken once when the subject is made: a loop that binds them to local
names pays for the call alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol


class QueueSubject(NamedTuple):
    """Any queue, from threads."""

    put: Callable[[Any], object]
    get: Callable[[], Any]


class LockSubject(NamedTuple):
    """Lock, RLock, Semaphore: manager is the object itself."""

    acquire: Callable[[], object]
    release: Callable[[], object]
    manager: AbstractContextManager[object]


class ConditionSubject(Protocol):
    """A condition keeps its own names: all libraries have these."""

    def __enter__(self) -> object: ...
    def __exit__(self, *exception: Any) -> object: ...
    def wait(self) -> object: ...
    def notify(self, n: int = 1, /) -> object: ...
    def notify_all(self) -> object: ...


class EventSubject(NamedTuple):
    """An event that can be cleared again."""

    wait: Callable[[], object]
    set: Callable[[], object]
    clear: Callable[[], object]


class BarrierSubject(NamedTuple):
    """A barrier for a number of parties."""

    wait: Callable[[], object]


class PoolSubject(Protocol):
    """A thread pool keeps its own names too."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]: ...
    def map(self, function: Callable[..., Any], /, *iterables: Any) -> Any: ...
    def shutdown(self) -> None: ...


class MixedSubject(NamedTuple):
    """A queue between one event loop and threads; made inside the running loop."""

    thread_put: Callable[[Any], object]
    thread_get: Callable[[], Any]
    loop_put: Callable[[Any], object]
    loop_get: Callable[[], Awaitable[Any]]
    close: Callable[[], Awaitable[object]]
