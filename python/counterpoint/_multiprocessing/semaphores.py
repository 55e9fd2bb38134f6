"""`Semaphore` and `BoundedSemaphore` between processes."""

from __future__ import annotations

from counterpoint import _core

from .locks import OwnerDied, inherited
from .sharing import Shared

__all__ = ["BoundedSemaphore", "Semaphore"]


class Semaphore(Shared, _core.ProcessSemaphore):
    """A counter of permits for processes and their threads.

    Equals `multiprocessing.Semaphore(value)`. Different: what a process acquired and has not
    released when it ends is given back, and the next to acquire a permit is told: `acquire()` (or
    `with permits as acquired:`) returns `OwnerDied(pid)` instead of True.

    That is so as long as each process releases what it acquired. Once a process releases a permit
    that it has not acquired, permits are taken to be handed on, or to count something: from then
    on nothing is given back, and a process that dies with a permit has lost it for all. The same
    if more than 256 processes use the semaphore, or it begins with 2**20 permits or more.

    >>> from counterpoint import multiprocessing
    >>> permits = multiprocessing.Semaphore(2)
    >>> with permits:
    ...     permits
    <Semaphore(value=1)>
    """

    __slots__ = ()

    kind = 1

    def __init__(self, value: int = 1, *, ctx: object = None) -> None:
        self._set(value, None)

    @property
    def _semlock(self) -> Semaphore:
        return self

    def _inherited(self, pid: int) -> OwnerDied:
        return inherited(self, pid)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


class BoundedSemaphore(Semaphore):
    """A semaphore whose value never exceeds the one it began with.

    Equals `multiprocessing.BoundedSemaphore(value)`.

    Raises:
        ValueError: from `release()`, if that would exceed it.

    >>> from counterpoint import multiprocessing
    >>> multiprocessing.BoundedSemaphore(2)
    <BoundedSemaphore(value=2, maxvalue=2)>
    """

    __slots__ = ()

    def __init__(self, value: int = 1, *, ctx: object = None) -> None:
        self._set(value, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()}, maxvalue={self.maxvalue})>"
