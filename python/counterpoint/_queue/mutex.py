"""The lock of a queue in compatible mode."""

from __future__ import annotations

import sys
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from counterpoint._sync.lock import Lock

if TYPE_CHECKING:
    from counterpoint._queue.compatible import Compatible, Hooked

__all__ = ["Mutex"]


class _Base:
    """Comes before Lock, which lets nobody derive from it."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        pass


class Mutex(_Base, Lock):
    """A Lock that, before it is released, stores what its owner could not put while it held it."""

    __slots__ = ("inbox",)

    def __init__(self) -> None:
        # Not through the base's: an observer is shown the queue, not its lock.
        self.inbox: deque[tuple[Compatible, Hooked, Any]] = deque()

    def empty_inbox(self) -> None:
        """Stores what was put meanwhile; called by the owner."""
        while self.inbox:
            implementation, queue, item = self.inbox.popleft()
            try:
                implementation.store(queue, item)
            except Exception:
                _report(sys.exc_info(), queue)

    def release(self) -> None:
        try:
            if self.inbox:
                self.empty_inbox()
        finally:  # also where Ctrl-C ends the storing
            super().release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def _report(raised: tuple[Any, Any, Any], queue: object) -> None:
    """An error in a put whose call has returned already."""
    kind, value, traceback = raised
    message = "Exception ignored while storing an item that was put from within a call of"
    sys.unraisablehook(
        types.SimpleNamespace(
            exc_type=kind, exc_value=value, exc_traceback=traceback, err_msg=message, object=queue
        )
    )
