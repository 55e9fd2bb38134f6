"""`threading`, with locks that threads and asyncio tasks share.

The classes here replace the stdlib's of the same name; `RWLock`, `CapacityLimiter` and
`DeadlockError` are new; everything else is the stdlib's own object (`Thread`, `local`, `Timer`…).

>>> from counterpoint import threading
>>> with threading.Lock() as held:
...     held
True
"""

from __future__ import annotations

import os as _os
import threading as _threading
from threading import (
    TIMEOUT_MAX,
    BrokenBarrierError,
    ExceptHookArgs,
    Thread,
    ThreadError,
    Timer,
    active_count,
    current_thread,
    enumerate,
    excepthook,
    get_ident,
    get_native_id,
    getprofile,
    gettrace,
    local,
    main_thread,
    setprofile,
    settrace,
    stack_size,
)
from typing import TYPE_CHECKING, Any

from counterpoint import _core
from counterpoint._errors import DeadlockError
from counterpoint._sync.barrier import Barrier
from counterpoint._sync.condition import Condition
from counterpoint._sync.event import Event
from counterpoint._sync.limiter import CapacityLimiter
from counterpoint._sync.lock import Lock, RLock
from counterpoint._sync.rwlock import ReadLock, RWLock, WriteLock
from counterpoint._sync.semaphore import BoundedSemaphore, Semaphore

__all__ = [
    "TIMEOUT_MAX",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "CapacityLimiter",
    "Condition",
    "DeadlockError",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "RWLock",
    "ReadLock",
    "Semaphore",
    "Thread",
    "ThreadError",
    "Timer",
    "WriteLock",
    "active_count",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "setprofile",
    "settrace",
    "stack_size",
]

# They are defined in files of their own; this is where users find them.
for _class in (
    Barrier,
    BoundedSemaphore,
    CapacityLimiter,
    Condition,
    DeadlockError,
    Event,
    Lock,
    RLock,
    RWLock,
    ReadLock,
    Semaphore,
    WriteLock,
):
    _class.__module__ = __name__

_os.register_at_fork(after_in_child=_core._after_fork)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The stdlib's other names, those of newer versions included."""
        return getattr(_threading, name)
