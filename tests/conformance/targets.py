"""Whose classes are bound: ours, or the standard library's as a check of the harness."""

from __future__ import annotations

import _thread
import asyncio
import concurrent
import concurrent.futures
import concurrent.futures._base
import concurrent.futures.thread
import functools
import importlib
import multiprocessing
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

from tests import loops
from tests.conformance.insides import with_insides
from tests.conformance.private import View

STDLIB = {
    "threading": threading,
    "queue": queue,
    "futures": concurrent.futures,
    "multiprocessing": multiprocessing,
    "aio": asyncio,
}
CLASSES = {
    "threading": (
        "Lock",
        "RLock",
        "Condition",
        "Semaphore",
        "BoundedSemaphore",
        "Event",
        "Barrier",
    ),
    "queue": ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"),
    "futures": ("Future", "ThreadPoolExecutor", "ProcessPoolExecutor", "wait", "as_completed"),
    "multiprocessing": (
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
    ),
    "aio": ("new_event_loop",),
}
# What those are reached by, too.
WAYS = {"multiprocessing": ("get_context", "pool", "queues", "set_start_method", "synchronize")}
# These have to be the standard library's own.
EXCEPTIONS = {
    "threading": ("BrokenBarrierError",),
    "queue": ("Empty", "Full"),
    "futures": ("CancelledError", "TimeoutError", "InvalidStateError", "BrokenExecutor"),
    "multiprocessing": ("AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"),
    "aio": ("CancelledError", "InvalidStateError", "TimeoutError"),
}

# What a script of the shutdown tests runs first, in an interpreter of its own.
PRELUDE = {
    "stdlib": "",
    "counterpoint": (
        "import concurrent.futures, counterpoint.futures\n"
        "concurrent.futures.ThreadPoolExecutor = counterpoint.futures.ThreadPoolExecutor\n"
        "concurrent.futures.ProcessPoolExecutor = counterpoint.futures.ProcessPoolExecutor\n"
        "import multiprocessing, counterpoint.multiprocessing\n"
        "multiprocessing.Pool = counterpoint.multiprocessing.Pool\n"
    ),
}


@dataclass(frozen=True)
class Target:
    """The classes under test, as the modules that hold them."""

    name: str
    swapped: Mapping[str, ModuleType] = field(default_factory=dict)

    @property
    def prelude(self) -> str:
        """Source that binds this target in a fresh interpreter."""
        return PRELUDE[self.name]

    @property
    def threading(self) -> ModuleType:
        """`threading`, with the target's classes."""
        return self._part("threading")

    @property
    def queue(self) -> ModuleType:
        """`queue`, with the target's classes."""
        return self._part("queue")

    @property
    def futures(self) -> ModuleType:
        """`concurrent.futures`, with the target's classes."""
        return self._part("futures")

    @property
    def multiprocessing(self) -> ModuleType:
        """`multiprocessing`, with the target's classes."""
        return self._part("multiprocessing")

    @property
    def aio(self) -> ModuleType:
        """`asyncio`, with a `new_event_loop` that makes the target's."""
        return self._part("aio")

    def _part(self, part: str) -> ModuleType:
        return self.swapped.get(part) or _part(self.name, part)

    def __hash__(self) -> int:
        return id(self)


@functools.lru_cache
def _part(name: str, part: str) -> ModuleType:
    real = STDLIB[part]
    if part == "aio":
        made_by = loops.factory("asyncio" if name == "stdlib" else None)
        return View(real, new_event_loop=made_by)
    source = real if name == "stdlib" else importlib.import_module(f"{name}.{part}")
    names = [each for each in (*CLASSES[part], *EXCEPTIONS[part]) if hasattr(real, each)]
    if source is not real:
        names += WAYS.get(part, ())
    # `ShutDown` is older in ours than in the standard library.
    names += [each for each in ("ShutDown",) if part == "queue" and hasattr(source, each)]
    replaced = {each: getattr(source, each) for each in names}
    if part == "futures" and not hasattr(real, "InterpreterPoolExecutor"):
        # Named in a class body of the suite, also where the build has no subinterpreters.
        replaced["InterpreterPoolExecutor"] = None
    if part == "futures" and name != "stdlib":
        replaced["ProcessPoolExecutor"] = with_insides(source.ProcessPoolExecutor)
    if part == "threading" and name != "stdlib":
        # The suites bind CPython's two implementations of a class; ours has one.
        replaced |= dict.fromkeys(("_CRLock", "_PyRLock"), source.RLock)
    return View(real, **replaced)


@functools.lru_cache
def target(name: str) -> Target:
    """The target `name`: "counterpoint" or "stdlib"."""
    return Target(name)


def lock_views(chosen: Target) -> dict[str, ModuleType]:
    """For the suites of locks: `threading` and `_thread` hold the target's classes."""
    raw = View(_thread, allocate_lock=chosen.threading.Lock, RLock=chosen.threading.RLock)
    return {"threading": chosen.threading, "_thread": raw}


def futures_views(chosen: Target) -> dict[str, ModuleType]:
    """For the suites of executors: `concurrent.futures` and `_base` hold the target's classes."""
    names = {name: getattr(chosen.futures, name) for name in ("Future", "wait", "as_completed")}
    return {
        "concurrent": View(concurrent, futures=chosen.futures),
        "concurrent.futures": chosen.futures,
        "concurrent.futures._base": View(concurrent.futures._base, **names),
    }


def process_views(chosen: Target) -> dict[str, ModuleType]:
    """For the suite of processes: `multiprocessing` holds the target's classes."""
    return {"multiprocessing": chosen.multiprocessing}
