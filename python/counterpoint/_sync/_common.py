"""What all locks share: the asyncio half, statistics, the refusal to be pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from counterpoint._async import PENDING, current, drive
from counterpoint._statistics import LockStatistics, WaitStatistics

if TYPE_CHECKING:
    import asyncio

    from counterpoint._core import Ticket

__all__ = ["acquire_as_task", "lock_statistics", "refuse_pickling", "stdlib_name"]


class _Acquirable(Protocol):
    def _ticket(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None, /
    ) -> Ticket: ...


async def acquire_as_task(lock: _Acquirable, timeout: float | None) -> bool:
    """Waits for a lock that has an owner, on behalf of the current task."""
    return await drive(lock._ticket(*current()), timeout) is not PENDING


class _Measured(Protocol):
    @property
    def waiters(self) -> int: ...

    def _waits(self) -> tuple[int, float, float, float, float]: ...


def lock_statistics(
    lock: _Measured, owner: int | asyncio.Task[Any] | None = None
) -> LockStatistics:
    """The record that `statistics()` returns."""
    return LockStatistics(None, owner, lock.waiters, WaitStatistics(*lock._waits()))


def refuse_pickling(kind: str) -> NoReturn:
    """Raises what pickling or copying the stdlib's class raises."""
    raise TypeError(f"cannot pickle '{kind}' object")


def stdlib_name(cls: type) -> str:
    """The name that `repr` shows: the stdlib's own for our classes, its own for a subclass."""
    module = "threading" if cls.__module__ == "counterpoint.threading" else cls.__module__
    return f"{module}.{cls.__qualname__}"
