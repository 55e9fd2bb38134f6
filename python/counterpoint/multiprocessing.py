"""Processes, and what they share: the module `multiprocessing` with a Rust core.

`Pool`, `Queue`, `SimpleQueue`, `JoinableQueue`, `Lock`, `RLock`, `Semaphore`, `BoundedSemaphore`,
`Condition`, `Event`, `Barrier`, the locks of `Value` and `Array`, and `get_context`, whose contexts
make them, are ours; every other name is the stdlib's own. They work between the stdlib's
`Process`es under each start method, and none of them waits for a process that was killed: a lock
goes to the next who wants it, who is told by `OwnerDied`.

>>> from counterpoint import multiprocessing
>>> queue = multiprocessing.Queue()
>>> process = multiprocessing.get_context("fork").Process(target=queue.put, args=("spam",))
>>> process.start()
>>> queue.get()
'spam'
>>> process.join()
"""

from __future__ import annotations

import multiprocessing as _stdlib
from importlib import import_module
from multiprocessing import (
    AuthenticationError,
    BufferTooShort,
    Manager,
    Pipe,
    Process,
    ProcessError,
    TimeoutError,
    active_children,
    allow_connection_pickling,
    cpu_count,
    current_process,
    freeze_support,
    get_logger,
    log_to_stderr,
    parent_process,
    reducer,
    set_executable,
    set_forkserver_preload,
)
from typing import TYPE_CHECKING

from ._multiprocessing import queues, synchronize
from ._multiprocessing.context import default as _default
from ._multiprocessing.queues import JoinableQueue, Queue, SimpleQueue
from ._multiprocessing.synchronize import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    OwnerDied,
    RLock,
    Semaphore,
)

if TYPE_CHECKING:
    from ._multiprocessing import pool

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "OwnerDied",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "SimpleQueue",
    "TimeoutError",
    "Value",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "pool",
    "queues",
    "reducer",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
    "synchronize",
]

Array = _default.Array
Pool = _default.Pool
RawArray = _default.RawArray
RawValue = _default.RawValue
Value = _default.Value
get_all_start_methods = _default.get_all_start_methods
get_context = _default.get_context
get_start_method = _default.get_start_method
set_start_method = _default.set_start_method

# They are defined in files of their own; this is where users find them.
for _ours in (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    JoinableQueue,
    Lock,
    OwnerDied,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
):
    _ours.__module__ = __name__


def __getattr__(name: str) -> object:
    if name == "pool":
        # It imports much.
        return import_module("counterpoint._multiprocessing.pool")
    # The stdlib's submodules too, which are there once they are imported.
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(_stdlib, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
