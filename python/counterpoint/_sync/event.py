"""`Event`."""

from __future__ import annotations

from counterpoint import _core
from counterpoint._async import PENDING, drive
from counterpoint._sync._common import lock_statistics, refuse_pickling, stdlib_name
from counterpoint._sync.condition import Condition
from counterpoint._sync.lock import Lock

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import NoReturn

    from counterpoint._statistics import LockStatistics

__all__ = ["Event"]


class Event(_core.Event):
    """A flag that threads and asyncio tasks wait for.

    Equals `threading.Event()`. Beyond it, `await event.async_wait()` in any event loop;
    `waiters`; `statistics()`.

    Cancellation: safe at any moment. Fork: the child inherits the flag; waiters that were other
    threads are forgotten.

    >>> from counterpoint.threading import Event
    >>> event = Event()
    >>> event.wait(timeout=0.01)
    False
    >>> event.set()
    >>> event.wait()
    True
    """

    async def async_wait(self, timeout: float | None = None) -> bool:
        """Waits for the flag.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            False if the flag was not raised in time.
        """
        return await drive(self._ticket(), timeout) is not PENDING

    def isSet(self) -> bool:
        """The deprecated name of `is_set`."""
        import warnings

        warnings.warn("isSet() is deprecated, use is_set() instead", DeprecationWarning, 2)
        return self.is_set()

    @property
    def _flag(self) -> bool:
        return self.is_set()

    @property
    def _cond(self) -> Condition:
        """The stdlib's inner condition, made when somebody looks for it."""
        condition: Condition | None = self.__dict__.get("_condition")
        if condition is None:
            lock = Lock.__new__(Lock)
            condition = self.__dict__.setdefault("_condition", Condition(lock))
        return condition

    def _at_fork_reinit(self) -> None:
        super()._at_fork_reinit()
        self.__dict__.pop("_condition", None)

    def statistics(self) -> LockStatistics:
        """Who waits, and how long the waits took so far."""
        return lock_statistics(self)

    def __repr__(self) -> str:
        status = "set" if self.is_set() else "unset"
        return f"<{stdlib_name(type(self))} at {id(self):#x}: {status}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickling("_thread.lock")
