"""Python's concurrency toolkit with a Rust core.

The modules carry the names of what they replace: `counterpoint.threading`, `counterpoint.queue`,
`counterpoint.futures`, `counterpoint.multiprocessing`; `counterpoint.aio` has asyncio's event loop.
The names that people type most are here as well, and are looked up on first use, so that importing
the package costs next to nothing.

`install()` puts our classes in place of the standard library's; `counterpoint run PROGRAM` does
that before a program's first line and says at the end what its locks, queues and pools did.

>>> import counterpoint
>>> with counterpoint.ThreadPoolExecutor(2) as pool:
...     list(pool.map(abs, [-1, 2]))
[1, 2]
"""

from __future__ import annotations

# Every type checker takes a variable of this name for true. The typing module itself would be a
# quarter of what it costs to import this package with its three modules.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from counterpoint._install import install, uninstall
    from counterpoint.aio import EventLoop, EventLoopPolicy, new_event_loop, run
    from counterpoint.futures import (
        Future,
        ProcessPoolExecutor,
        Shared,
        SoftTimeout,
        TaskKilled,
        ThreadPoolExecutor,
        WorkerCrashed,
        as_completed,
        share,
        wait,
    )
    from counterpoint.queue import (
        Empty,
        Full,
        LifoQueue,
        PriorityQueue,
        Queue,
        ShutDown,
        SimpleQueue,
    )
    from counterpoint.threading import (
        Barrier,
        BoundedSemaphore,
        CapacityLimiter,
        Condition,
        DeadlockError,
        Event,
        Lock,
        RLock,
        RWLock,
        Semaphore,
    )

__version__ = "0.1.0"

_HOMES = {
    "_install": ("install", "uninstall"),
    "aio": ("EventLoop", "EventLoopPolicy", "new_event_loop", "run"),
    "futures": (
        "Future",
        "ProcessPoolExecutor",
        "Shared",
        "SoftTimeout",
        "TaskKilled",
        "ThreadPoolExecutor",
        "WorkerCrashed",
        "as_completed",
        "share",
        "wait",
    ),
    "queue": ("Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"),
    "threading": (
        "Barrier",
        "BoundedSemaphore",
        "CapacityLimiter",
        "Condition",
        "DeadlockError",
        "Event",
        "Lock",
        "RLock",
        "RWLock",
        "Semaphore",
    ),
}
_MODULES = ("aio", "futures", "multiprocessing", "queue", "threading")

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "CapacityLimiter",
    "Condition",
    "DeadlockError",
    "Empty",
    "Event",
    "EventLoop",
    "EventLoopPolicy",
    "Full",
    "Future",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "ProcessPoolExecutor",
    "Queue",
    "RLock",
    "RWLock",
    "Semaphore",
    "Shared",
    "ShutDown",
    "SimpleQueue",
    "SoftTimeout",
    "TaskKilled",
    "ThreadPoolExecutor",
    "WorkerCrashed",
    "as_completed",
    "install",
    "new_event_loop",
    "run",
    "share",
    "uninstall",
    "wait",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"counterpoint.{name}")
    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"counterpoint.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'counterpoint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
