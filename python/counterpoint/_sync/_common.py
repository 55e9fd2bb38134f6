"""What all locks share: the asyncio half, statistics, the refusal to be pickled."""

from __future__ import annotations

from counterpoint import _core, _records
from counterpoint._async import PENDING, current, drive

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    import asyncio
    from typing import Any, NoReturn, Protocol

    from counterpoint._core import Ticket
    from counterpoint._statistics import LockStatistics

    class _Acquirable(Protocol):
        def _ticket(
            self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None, /
        ) -> Ticket: ...


__all__ = ["acquire_as_task", "lock_statistics", "owner_of", "refuse_pickling", "stdlib_name"]


async def acquire_as_task(lock: _Acquirable, timeout: float | None) -> bool:
    """Waits for a lock that has an owner, on behalf of the current task."""
    return await drive(lock._ticket(*current()), timeout) is not PENDING


def lock_statistics(lock: object, owner: int | asyncio.Task[Any] | None = None) -> LockStatistics:
    """The record that `statistics()` returns."""
    records = _records.records()
    native = _native(type(lock))
    waits = records.WaitStatistics(*native._waits(lock))
    statistics: LockStatistics = records.LockStatistics(
        None, owner, native.waiters.__get__(lock), waits
    )
    return statistics


def owner_of(lock: object) -> int | asyncio.Task[Any] | None:
    """Who holds a lock of ours, whatever a subclass means by `owner`."""
    owner: int | asyncio.Task[Any] | None = _native(type(lock)).owner.__get__(lock)
    return owner


def _native(cls: type) -> Any:
    # Asked directly: the names are free for what a subclass of the stdlib's class keeps there.
    return next(base for base in cls.__mro__ if base.__module__ == _core.__name__)


def refuse_pickling(kind: str) -> NoReturn:
    """Raises what pickling or copying the stdlib's class raises."""
    raise TypeError(f"cannot pickle '{kind}' object")


def stdlib_name(cls: type) -> str:
    """The name that `repr` shows: the stdlib's own for our classes, its own for a subclass."""
    module = "threading" if cls.__module__ == "counterpoint.threading" else cls.__module__
    return f"{module}.{cls.__qualname__}"
