"""`Semaphore` and `BoundedSemaphore` between processes."""

from __future__ import annotations

from counterpoint import _core

from .sharing import Shared

__all__ = ["BoundedSemaphore", "Semaphore"]


class Semaphore(Shared, _core.ProcessSemaphore):
    """A counter of permits for processes and their threads.

    Equals `multiprocessing.Semaphore(value)`. A permit has no owner: a process that dies with one
    has lost it for all.

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
