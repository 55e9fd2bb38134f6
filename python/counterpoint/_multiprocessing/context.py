"""Contexts: the stdlib's, making our objects."""

from __future__ import annotations

import multiprocessing as _stdlib
from collections.abc import Callable, Iterable
from multiprocessing import context as _contexts
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

from . import queues, synchronize

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["DefaultContext", "ForkContext", "ForkServerContext", "SpawnContext", "get_context"]


class _Making:
    """What a context makes, of ours."""

    def Lock(self) -> synchronize.Lock:
        """Returns a non-recursive lock object."""
        return synchronize.Lock()

    def RLock(self) -> synchronize.RLock:
        """Returns a recursive lock object."""
        return synchronize.RLock()

    def Condition(self, lock: Any = None) -> synchronize.Condition:
        """Returns a condition object."""
        return synchronize.Condition(lock)

    def Semaphore(self, value: int = 1) -> synchronize.Semaphore:
        """Returns a semaphore object."""
        return synchronize.Semaphore(value)

    def BoundedSemaphore(self, value: int = 1) -> synchronize.BoundedSemaphore:
        """Returns a bounded semaphore object."""
        return synchronize.BoundedSemaphore(value)

    def Event(self) -> synchronize.Event:
        """Returns an event object."""
        return synchronize.Event()

    def Barrier(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> synchronize.Barrier:
        """Returns a barrier object."""
        return synchronize.Barrier(parties, action, timeout)

    def Queue(self, maxsize: int = 0) -> queues.Queue:
        """Returns a queue object."""
        return queues.Queue(maxsize)

    def JoinableQueue(self, maxsize: int = 0) -> queues.JoinableQueue:
        """Returns a queue object that can be joined."""
        return queues.JoinableQueue(maxsize)

    def SimpleQueue(self) -> queues.SimpleQueue:
        """Returns a queue object without a limit."""
        return queues.SimpleQueue()

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> Pool:
        """Returns a process pool object."""
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self._for_pool())

    def _for_pool(self) -> Any:
        return self


class ForkContext(_Making, _contexts.ForkContext):  # type: ignore[misc]
    """The start method "fork"."""


class SpawnContext(_Making, _contexts.SpawnContext):  # type: ignore[misc]
    """The start method "spawn"."""


class ForkServerContext(_Making, _contexts.ForkServerContext):  # type: ignore[misc]
    """The start method "forkserver"; a pool of ours uses its zygote."""


_BY_NAME: dict[str, Any] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}


class DefaultContext(_Making, BaseContext):  # type: ignore[misc]
    """The start method that was set, or the default one; the stdlib's settings are its own."""

    Process = _stdlib.Process
    _forks = False

    def get_context(self, method: str | None = None) -> Any:
        """A context for a start method; None for the one that is set.

        Raises:
            ValueError: There is no such method.
        """
        if method is None:
            method = self.get_start_method()
        if method not in _BY_NAME:
            raise ValueError(f"cannot find context for {method!r}")
        return _BY_NAME[method]

    def get_start_method(self, allow_none: bool = False) -> Any:
        """The start method that is set."""
        return _stdlib.get_start_method(allow_none)

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Sets the start method, for the stdlib too."""
        _stdlib.set_start_method(method, force)
        type(self)._forks = method == "fork"

    def get_all_start_methods(self) -> list[str]:
        """The start methods that there are, the default one first."""
        return _stdlib.get_all_start_methods()

    def _for_pool(self) -> Any:
        # "fork" is what Python before 3.14 does without being told; the newest does not.
        method = self.get_start_method(allow_none=True)
        if method is None or (method == "fork" and not self._forks):
            method = "forkserver"
        return _BY_NAME[method]


default = DefaultContext()
get_context = default.get_context
