"""`Lock` and `RLock` between processes."""

from __future__ import annotations

import threading
from multiprocessing import process, util

from counterpoint import _core

from .sharing import Shared

__all__ = ["Lock", "OwnerDied", "RLock"]


class OwnerDied(int):
    """What `acquire()` returns instead of True if the last holder died with the lock.

    The lock is yours, or the semaphore's permit; what it guards may be half changed. It is true,
    and equal to True.

    Attributes:
        pid: The process that held the lock, or permits.
    """

    pid: int

    def __new__(cls, pid: int) -> OwnerDied:
        self = super().__new__(cls, 1)
        self.pid = pid
        return self

    def __repr__(self) -> str:
        return f"OwnerDied(pid={self.pid})"


def inherited(lock: object, pid: int) -> OwnerDied:
    """The answer to who got something from the dead; also said in multiprocessing's log."""
    util.sub_warning(f"process {pid} died while it held {type(lock).__name__} {id(lock):#x}")
    return OwnerDied(pid)


def _holder() -> str:
    holder: str = process.current_process().name
    if threading.current_thread().name != "MainThread":
        holder += "|" + threading.current_thread().name
    return holder


class Lock(Shared, _core.ProcessLock):
    """A mutual exclusion lock for processes and their threads.

    Equals `multiprocessing.Lock()`. Different: when the holder dies, the next to acquire the lock
    gets it, and `acquire()` (or `with lock as acquired:`) says so by returning `OwnerDied(pid)`
    instead of True.

    Fork: the child shares the lock and does not hold it. Other start methods: pass it to the
    process as an argument. Interrupts: Ctrl-C ends a wait.

    >>> from counterpoint import multiprocessing
    >>> lock = multiprocessing.Lock()
    >>> with lock as acquired:
    ...     acquired, lock.locked()
    (True, True)
    >>> lock
    <Lock(owner=None)>
    """

    __slots__ = ()

    kind = 1
    maxvalue = 1

    def __init__(self, *, ctx: object = None) -> None:
        pass

    @property
    def _semlock(self) -> Lock:
        return self

    def _inherited(self, pid: int) -> OwnerDied:
        return inherited(self, pid)

    def __repr__(self) -> str:
        if self._is_mine():
            name = _holder()
        elif not self.locked():
            name = "None"
        elif self._count() > 0:
            name = "SomeOtherThread"
        else:
            name = "SomeOtherProcess"
        return f"<{type(self).__name__}(owner={name})>"


class RLock(Shared, _core.ProcessRLock):
    """A lock that the thread of the process that holds it may acquire again.

    Equals `multiprocessing.RLock()`; different as `Lock` is.

    Raises:
        AssertionError: from `release()` by anybody else.

    >>> from counterpoint import multiprocessing
    >>> lock = multiprocessing.RLock()
    >>> with lock, lock:
    ...     lock
    <RLock(MainProcess, 2)>
    """

    __slots__ = ()

    kind = 0
    maxvalue = 1

    def __init__(self, *, ctx: object = None) -> None:
        pass

    @property
    def _semlock(self) -> RLock:
        return self

    def _inherited(self, pid: int) -> OwnerDied:
        return inherited(self, pid)

    def __repr__(self) -> str:
        name: str
        count: object
        if self._is_mine():
            name, count = _holder(), self._count()
        elif not self.locked():
            name, count = "None", 0
        elif self._count() > 0:
            name, count = "SomeOtherThread", "nonzero"
        else:
            name, count = "SomeOtherProcess", "nonzero"
        return f"<{type(self).__name__}({name}, {count})>"
