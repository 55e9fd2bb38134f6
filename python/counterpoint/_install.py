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

ProcessPoolExecutor needs multiprocessing, which takes longer to import than everything else here.
It is put in place when the program first asks for it, by the name that concurrent.futures makes on
demand, or by importing concurrent.futures.process, which holds it.

asyncio too is waited for: once it is imported, its default policy makes our loops, and its names
for the loop's class are ours. A policy that the program sets itself stays the program's.

InterpreterPoolExecutor (Python 3.14) stays the stdlib's own. It is derived from the stdlib's pool,
of whose insides it replaces some, when it is first named; so it is imported before that name is
ours.
"""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple

from counterpoint._core import Guard
from counterpoint._process.arriving import Arrivals

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["install", "uninstall"]


class _Names(NamedTuple):
    module: str
    ours: str
    names: tuple[str, ...]


_LOCKS = ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier")
_QUEUES = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "ShutDown")
_FUTURES = ("Future", "wait", "as_completed")
_POOLS = ("ThreadPoolExecutor",)
# Not `get_context`: the stdlib's ProcessPoolExecutor and Pool ask a context for the stdlib's own
# queues, into whose insides they reach.
_MULTIPROCESSING = (
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
    "multiprocessing": (
        _Names("multiprocessing", "counterpoint.multiprocessing", _MULTIPROCESSING),
    ),
}

_PROCESS_POOL = "ProcessPoolExecutor"
_PROCESSES = (
    _Names("concurrent.futures", "counterpoint.futures", (_PROCESS_POOL,)),
    _Names("concurrent.futures.process", "counterpoint.futures", (_PROCESS_POOL,)),
)

_MISSING = object()


class _Replaced(NamedTuple):
    space: MutableMapping[str, object]
    before: object
    ours: object


# By module and attribute. It keeps the module's dictionary, because sys.modules may name another
# one by then.
_replaced: dict[tuple[str, str], _Replaced] = {}
# The interpreter's own lock: this one guards the replacement of every other. Reentrant, for a
# signal handler that calls what it interrupted.
_guard = Guard()


def install(
    *,
    threading: bool = True,
    queue: bool = True,
    futures: bool = True,
    asyncio: bool = True,
    multiprocessing: bool = False,
) -> None:
    """Put Counterpoint's classes in place of the stdlib's.

    No stdlib call equals it. Calling it again is harmless and adds what was left out before; it
    never takes anything away, which is `uninstall()`'s work.

    Args:
        threading: `threading.Lock`, `RLock`, `Condition`, `Semaphore`, `BoundedSemaphore`,
            `Event`, `Barrier`.
        queue: `queue.Queue`, `LifoQueue`, `PriorityQueue`, `SimpleQueue`, and `ShutDown` where
            Python has none.
        futures: `concurrent.futures.Future`, `ThreadPoolExecutor`, `ProcessPoolExecutor`, `wait`,
            `as_completed`.
        asyncio: the event loops that `asyncio.run()` and `asyncio.new_event_loop()` make, and
            `asyncio.SelectorEventLoop` and `EventLoop`. Costs nothing until asyncio is imported.
        multiprocessing: `multiprocessing.Pool`, its queues and locks, `Value` and `Array`. Only
            if it is asked for: `Pool` does not fork this process, so its workers do not have what
            was changed in it since it began; and a queue has no pipe (`_reader`, `_writer`) to
            poll. A context, as from `multiprocessing.get_context`, and the modules below
            `multiprocessing` go on giving the stdlib's, on which the stdlib itself relies; those
            of `counterpoint.multiprocessing.get_context` give ours.

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
    if futures:
        _import_derived()
    with _guard.held():
        for names in groups:
            for name in names.names:
                _replace(names.module, names.ours, name)
        if futures:
            _expect_process_pool()
    if futures and _arrivals.module in sys.modules:
        process_pool_imported()
    if asyncio:
        _expect_asyncio()


def uninstall() -> None:
    """Put back what `install()` replaced.

    No stdlib call equals it. Objects made meanwhile go on working. An attribute that somebody else
    has replaced after us stays theirs. Without an installation it does nothing. Safe to call from
    several threads.
    """
    with _guard.held():
        while _replaced:
            (_, name), replaced = _replaced.popitem()
            _restore(name, replaced)
        _arrivals.stop()
        _asyncio_arrivals.stop()


def _import_derived() -> None:
    try:
        importlib.import_module("concurrent.futures.interpreter")
    except ImportError:
        pass  # an older Python, or one without subinterpreters


def _replace(module: str, ours: str, name: str) -> None:
    space = vars(importlib.import_module(module))
    _put(module, space, name, getattr(importlib.import_module(ours), name))


def _put(module: str, space: MutableMapping[str, object], name: str, replacement: object) -> None:
    """Have `space[name]` be the replacement; with _MISSING, have it not be there."""
    now = space.get(name, _MISSING)
    if now is not replacement:
        known = _replaced.get((module, name))
        # What somebody put there since an earlier installation is what uninstall() brings back.
        before = known.before if known is not None and now is known.ours else now
        _replaced[module, name] = _Replaced(space, before, replacement)
        _set(space, name, replacement)


def _restore(name: str, replaced: _Replaced) -> None:
    space, before, ours = replaced
    if space.get(name, _MISSING) is ours:
        _set(space, name, before)


def _set(space: MutableMapping[str, object], name: str, value: object) -> None:
    if value is _MISSING:
        space.pop(name, None)
    else:
        space[name] = value


def _expect_process_pool() -> None:
    """Have ProcessPoolExecutor put in place when it is first asked for."""
    module = _PROCESSES[0].module
    if (module, "__getattr__") in _replaced:
        return
    space = vars(importlib.import_module(module))
    before = space.get("__getattr__")

    def __getattr__(name: str) -> object:
        if name == _PROCESS_POOL:
            return process_pool_imported()
        if callable(before):
            return before(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    _put(module, space, "__getattr__", __getattr__)
    if _arrivals.module not in sys.modules:
        # From Python 3.15 on a lazy import stands there, which would not ask us.
        _put(module, space, _PROCESS_POOL, _MISSING)
    _arrivals.start()


def process_pool_imported() -> object:
    """Put our process pool in place; called when it, or the stdlib's, was imported."""
    # Outside the guard, because it may import.
    ours = importlib.import_module(_PROCESSES[0].ours)
    pool: object = getattr(ours, _PROCESS_POOL)
    for names in _PROCESSES:
        importlib.import_module(names.module)
    with _guard.held():
        if (_PROCESSES[0].module, "__getattr__") in _replaced:
            for names in _PROCESSES:
                _replace(names.module, names.ours, _PROCESS_POOL)
    return pool


def _stdlib_pool_imported() -> None:
    """The program imports the stdlib's module, or our own does: that is not complete then."""
    ours = sys.modules.get("counterpoint._process.executor")
    if ours is None or hasattr(ours, _PROCESS_POOL):
        process_pool_imported()


_arrivals = Arrivals(_PROCESSES[1].module, _stdlib_pool_imported)


def _expect_asyncio() -> None:
    if _asyncio_arrivals.module in sys.modules:
        _asyncio_imported()
    else:
        _asyncio_arrivals.start()


def _asyncio_imported() -> None:
    """Have asyncio make our loops."""
    ours = sys.modules.get("counterpoint._loop.loop")
    if ours is not None and not hasattr(ours, "EventLoop"):
        return  # it is what imports asyncio, and calls this at its end
    policy = importlib.import_module("counterpoint._loop.policy")
    if not hasattr(policy, "Attributes"):
        return  # likewise
    with _guard.held():
        if policy.default_policy is not None:  # there are no policies from 3.16 on
            factory = policy.Attributes(policy.default_policy)
            _put("asyncio policy", factory, "_loop_factory", policy.EventLoop)
        space = vars(importlib.import_module("asyncio"))
        for name in ("SelectorEventLoop", "EventLoop"):
            if name in space:
                _put("asyncio", space, name, policy.EventLoop)


def loop_imported() -> None:
    """Our loop was imported: if asyncio was waited for, it has come with it."""
    if _asyncio_arrivals in sys.meta_path:
        _asyncio_imported()


_asyncio_arrivals = Arrivals("asyncio", _asyncio_imported)
