"""Futures and executors: a drop-in for `concurrent.futures`, with its whole content.

`Future`, `ThreadPoolExecutor`, `ProcessPoolExecutor`, `wait` and `as_completed` are ours; every
other name of the stdlib's is its own. Beyond it: futures can be awaited and `as_completed` works
with `async for`; tasks see the submitter's contextvars; task options (`options()` of
either pool), bounded submission, `cancellation_token()`, `statistics()`; in a pool of processes a
worker that dies costs the task that it ran, and nothing else, and `share` places an object in
shared memory for any number of tasks.

>>> from counterpoint.futures import ThreadPoolExecutor, as_completed
>>> with ThreadPoolExecutor(max_workers=4) as pool:
...     futures = [pool.submit(pow, 2, n) for n in (3, 4)]
...     sorted(future.result() for future in as_completed(futures))
[8, 16]
"""

from __future__ import annotations

import concurrent.futures as _stdlib
import sys as _sys
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    InvalidStateError,
    TimeoutError,
)
from importlib import import_module as _import_module

from counterpoint._core import CancellationToken, Future, ProcessFuture, cancellation_token
from counterpoint._errors import SoftTimeout, TaskKilled

from ._futures.options import TaskOptions
from ._futures.pool import BrokenThreadPool, ThreadPoolExecutor
from ._futures.waiting import DoneAndNotDoneFutures, as_completed, wait

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from ._process.errors import WorkerCrashed
    from ._process.executor import ProcessPoolExecutor
    from ._process.options import ProcessOptions
    from ._process.sharing import Shared, share
    from ._process.statistics import ProcessPoolStatistics, WorkerStatistics

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "BrokenThreadPool",
    "CancellationToken",
    "CancelledError",
    "DoneAndNotDoneFutures",
    "Executor",
    "Future",
    "InvalidStateError",
    "ProcessFuture",
    "ProcessOptions",
    "ProcessPoolExecutor",
    "ProcessPoolStatistics",
    "Shared",
    "SoftTimeout",
    "TaskKilled",
    "TaskOptions",
    "ThreadPoolExecutor",
    "TimeoutError",
    "WorkerCrashed",
    "WorkerStatistics",
    "as_completed",
    "cancellation_token",
    "share",
    "wait",
]

# They are defined in files of their own; this is where users find them.
for _ours in SoftTimeout, TaskKilled, TaskOptions, ThreadPoolExecutor, as_completed, wait:
    _ours.__module__ = __name__

# What needs multiprocessing, which takes longer to import than all the rest.
_LAZY = {
    "ProcessOptions": "options",
    "ProcessPoolExecutor": "executor",
    "ProcessPoolStatistics": "statistics",
    "Shared": "sharing",
    "WorkerCrashed": "errors",
    "WorkerStatistics": "statistics",
    "share": "sharing",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return _process_part(name)
    # InterpreterPoolExecutor, and whatever comes, stay as lazy as in the stdlib.
    if not name.startswith("__"):
        try:
            return getattr(_stdlib, name)
        except AttributeError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _process_part(name: str) -> object:
    part = _import_module(f"counterpoint._process.{_LAZY[name]}")
    value: object = getattr(part, name)
    globals()[name] = value
    installation = _sys.modules.get("counterpoint._install")
    if installation is not None and name == "ProcessPoolExecutor":
        installation.process_pool_imported()
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
