"""`threading`, with locks that threads and asyncio tasks share.

The classes here replace the stdlib's of the same name; `RWLock`, `CapacityLimiter` and
`DeadlockError` are new; everything else is the stdlib's own object (`Thread`, `local`, `Timer`…).

>>> from counterpoint import threading
>>> with threading.Lock() as held:
...     held
True
"""

from __future__ import annotations

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

from counterpoint._errors import DeadlockError
from counterpoint._sync.condition import Condition
from counterpoint._sync.event import Event
from counterpoint._sync.lock import Lock, RLock
from counterpoint._sync.semaphore import BoundedSemaphore, Semaphore

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from counterpoint._sync.barrier import Barrier
    from counterpoint._sync.limiter import CapacityLimiter
    from counterpoint._sync.rwlock import ReadLock, RWLock, WriteLock

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
for _class in (BoundedSemaphore, Condition, DeadlockError, Event, Lock, RLock, Semaphore):
    _class.__module__ = __name__

# Few programs use these: they are imported when they are first asked for.
_LATER = {
    "Barrier": "barrier",
    "CapacityLimiter": "limiter",
    "RWLock": "rwlock",
    "ReadLock": "rwlock",
    "WriteLock": "rwlock",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Ours that come late, and the stdlib's other names, those of newer versions included."""
        if name not in _LATER:
            return getattr(_threading, name)
        from importlib import import_module

        found = getattr(import_module(f"counterpoint._sync.{_LATER[name]}"), name)
        found.__module__ = __name__
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
