"""Futures and executors: a drop-in for `concurrent.futures`, with its whole content.

`Future`, `ThreadPoolExecutor`, `wait` and `as_completed` are ours; every other name is the
stdlib's own. Beyond it: futures can be awaited and `as_completed` works with `async for`; tasks
see the submitter's contextvars; task options (`ThreadPoolExecutor.options`), bounded submission,
`cancellation_token()`, `statistics()`.

>>> from counterpoint.futures import ThreadPoolExecutor, as_completed
>>> with ThreadPoolExecutor(max_workers=4) as pool:
...     futures = [pool.submit(pow, 2, n) for n in (3, 4)]
...     sorted(future.result() for future in as_completed(futures))
[8, 16]
"""

from __future__ import annotations

import concurrent.futures as _stdlib
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

from counterpoint._core import CancellationToken, Future, cancellation_token

from ._futures.options import TaskOptions
from ._futures.pool import BrokenThreadPool, ThreadPoolExecutor
from ._futures.waiting import DoneAndNotDoneFutures, as_completed, wait

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor as ProcessPoolExecutor

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
    "ProcessPoolExecutor",
    "TaskOptions",
    "ThreadPoolExecutor",
    "TimeoutError",
    "as_completed",
    "cancellation_token",
    "wait",
]

# They are defined in files of their own; this is where users find them.
for _ours in TaskOptions, ThreadPoolExecutor, as_completed, wait:
    _ours.__module__ = __name__


def __getattr__(name: str) -> object:
    # ProcessPoolExecutor (and InterpreterPoolExecutor) import much, so they stay as lazy as in the
    # stdlib.
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(_stdlib, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
