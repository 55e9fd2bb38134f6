"""`install()` and `uninstall()`: Counterpoint's classes under the stdlib's names.

What is replaced is the attribute of the stdlib's module, so everything that looks the name up there
afterwards gets ours: `threading.Lock()`, `from queue import Queue` in a module imported later, the
stdlib's own modules, which all write `threading.Lock()`. What is not rewritten is a name that some
module has copied before, an object that exists already, and a class that was derived before. So
install first, as `counterpoint run` does: before the program's first line.

`threading.Thread` makes an Event for each thread (`_started`) and finds the class in its module, so
from then on it makes ours. That is meant: ours does all that Thread asks of it (`is_set`, `set`,
`wait`, `_at_fork_reinit`) and costs less than the stdlib's, which is a Python object around a
Condition around a lock. The locks that threading and concurrent.futures made for themselves when
they were imported stay the stdlib's.

`concurrent.futures.Future` is replaced in `_base` too, because ProcessPoolExecutor and asyncio make
their futures from there or from `concurrent.futures`: so every future made after the installation
is an instance of the name.
"""

from __future__ import annotations

import _thread
import importlib
import os
from typing import NamedTuple

__all__ = ["install", "uninstall"]


class _Names(NamedTuple):
    module: str
    ours: str
    names: tuple[str, ...]


_LOCKS = ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier")
_QUEUES = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "ShutDown")
_FUTURES = ("Future", "wait", "as_completed")
_POOLS = ("ThreadPoolExecutor",)
# Not `get_context`: the stdlib's ProcessPoolExecutor asks a context for the stdlib's own queues.
_PROCESSES = (
    "Array",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Pool",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
    "Value",
)

_GROUPS = {
    "threading": (_Names("threading", "counterpoint.threading", _LOCKS),),
    "queue": (_Names("queue", "counterpoint.queue", _QUEUES),),
    "futures": (
        _Names("concurrent.futures", "counterpoint.futures", _FUTURES + _POOLS),
        _Names("concurrent.futures._base", "counterpoint.futures", _FUTURES),
        _Names("concurrent.futures.thread", "counterpoint.futures", _POOLS),
    ),
    "multiprocessing": (_Names("multiprocessing", "counterpoint.multiprocessing", _PROCESSES),),
}

_MISSING = object()


class _Replaced(NamedTuple):
    space: dict[str, object]
    before: object
    ours: object


# By module and attribute. It keeps the module's dictionary, because sys.modules may name another
# one by then.
_replaced: dict[tuple[str, str], _Replaced] = {}
# The interpreter's own lock: this one guards the replacement of every other.
_guard = _thread.allocate_lock()


def install(
    threading: bool = True,
    queue: bool = True,
    futures: bool = True,
    multiprocessing: bool = True,
) -> None:
    """Put Counterpoint's classes in place of the stdlib's.

    No stdlib call equals it. Calling it again is harmless and adds what was left out before; it
    never takes anything away, which is `uninstall()`'s work.

    Args:
        threading: `threading.Lock`, `RLock`, `Condition`, `Semaphore`, `BoundedSemaphore`,
            `Event`, `Barrier`.
        queue: `queue.Queue`, `LifoQueue`, `PriorityQueue`, `SimpleQueue`, and `ShutDown` where
            Python has none.
        futures: `concurrent.futures.Future`, `ThreadPoolExecutor`, `wait`, `as_completed`.
        multiprocessing: `multiprocessing.Pool`, its queues and locks, `Value` and `Array`. A
            context, as from `multiprocessing.get_context`, goes on making the stdlib's.

    Existing objects, and names that a module imported before, stay what they were. A forked child
    inherits the installation; a spawned one starts without. Safe to call from several threads.

    >>> import queue, counterpoint
    >>> counterpoint.install()
    >>> queue.Queue is counterpoint.Queue
    True
    >>> counterpoint.uninstall()
    >>> queue.Queue is counterpoint.Queue
    False
    """
    wanted = {
        "threading": threading,
        "queue": queue,
        "futures": futures,
        "multiprocessing": multiprocessing,
    }
    groups = [names for group, want in wanted.items() if want for names in _GROUPS[group]]
    # Imported outside the guard and before any replacement: our modules derive from the stdlib's
    # classes.
    for names in groups:
        importlib.import_module(names.module)
        importlib.import_module(names.ours)
    with _guard:
        for names in groups:
            for name in names.names:
                _replace(names.module, names.ours, name)


def uninstall() -> None:
    """Put back what `install()` replaced.

    No stdlib call equals it. Objects made meanwhile go on working. An attribute that somebody else
    has replaced after us stays theirs. Without an installation it does nothing. Safe to call from
    several threads.
    """
    with _guard:
        for (_, name), replaced in _replaced.items():
            _restore(name, replaced)
        _replaced.clear()


def _replace(module: str, ours: str, name: str) -> None:
    space = vars(importlib.import_module(module))
    replacement = vars(importlib.import_module(ours))[name]
    before = space.get(name, _MISSING)
    if before is not replacement:
        _replaced.setdefault((module, name), _Replaced(space, before, replacement))
        space[name] = replacement


def _restore(name: str, replaced: _Replaced) -> None:
    space, before, ours = replaced
    if space.get(name, _MISSING) is not ours:
        return
    if before is _MISSING:
        del space[name]
    else:
        space[name] = before


def _new_guard() -> None:
    global _guard
    _guard = _thread.allocate_lock()


# A fork while another thread installs must not leave the child a guard that nobody will release.
os.register_at_fork(after_in_child=_new_guard)
