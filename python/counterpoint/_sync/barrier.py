"""`Barrier`."""

from __future__ import annotations

from threading import BrokenBarrierError
from typing import TYPE_CHECKING, NoReturn

from counterpoint import _core
from counterpoint._async import PENDING, drive
from counterpoint._sync._common import lock_statistics, refuse_pickling, stdlib_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from counterpoint._statistics import LockStatistics

__all__ = ["Barrier"]


def _arrived() -> None:
    pass


def _place(place: int | None) -> int:
    if place is None:
        raise BrokenBarrierError
    return place


class Barrier(_core.Barrier):
    """So many threads and tasks wait until all of them have arrived, again and again.

    Equals `threading.Barrier(parties, action, timeout)`. Beyond it, `await barrier.async_wait()`
    in any event loop, threads and tasks in the same generation; a generation ends the moment it
    is complete, so the next may arrive before the last one of the previous has left.

    Args:
        parties: How many have to arrive, at least 1.
        action: Called by the last to arrive, before any other goes on.
        timeout: Seconds that `wait()` takes at most where it is not told otherwise. The time of
            one who comes during the action of others begins when that has ended.

    Raises:
        ValueError: if `parties` is less than 1.
        BrokenBarrierError: from `wait()`, if the barrier is broken: by `abort()`, by a timeout,
            by an action that raised; or if it was `reset()` meanwhile.

    Cancellation: a cancelled task or a thread interrupted by Ctrl-C is no longer counted.

    >>> from counterpoint.threading import Barrier
    >>> barrier = Barrier(1, action=lambda: print("all here"))
    >>> barrier.wait()
    all here
    0
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        if parties < 1:
            raise ValueError("parties must be >= 1")
        self._action = action
        self._timeout = timeout
        self._set(parties, action is not None)

    def wait(self, timeout: float | None = None) -> int:
        """Arrives, and waits for the others.

        Args:
            timeout: Seconds; None takes the barrier's own limit.

        Returns:
            The place in which this thread arrived, from 0 to `parties - 1`.
        """
        return _place(self._pass(self._timeout if timeout is None else timeout))

    async def async_wait(self, timeout: float | None = None) -> int:
        """Arrives, and waits for the others; the coroutine twin of `wait`."""
        limit = self._timeout if timeout is None else timeout
        # Never tried without queueing: an arrival that is not in line would miss the others.
        place = await drive(self._ticket(), limit, queued=_arrived)
        return _place(None if place is PENDING else place)

    def statistics(self) -> LockStatistics:
        """Who waits, and how long the waits took so far."""
        return lock_statistics(self)

    def __repr__(self) -> str:
        name = f"{stdlib_name(type(self))} at {id(self):#x}"
        if self.broken:
            return f"<{name}: broken>"
        return f"<{name}: waiters={self.n_waiting}/{self.parties}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickling("_thread.lock")
