"""`Event` between processes."""

from __future__ import annotations

from counterpoint import _core

from .sharing import Shared

__all__ = ["Event"]


class Event(Shared, _core.ProcessEvent):
    """A flag that processes and their threads set, clear and wait for.

    Equals `multiprocessing.Event()`. Different: whoever waits while it is set and at once cleared
    again goes on with True; there is no lock that somebody could die with.

    >>> from counterpoint import multiprocessing
    >>> event = multiprocessing.Event()
    >>> event.wait(0.01)
    False
    >>> event.set()
    >>> event.wait()
    True
    """

    __slots__ = ()

    def __init__(self, *, ctx: object = None) -> None:
        pass

    def __repr__(self) -> str:
        status = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {status}>"
