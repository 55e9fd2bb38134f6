"""The libraries under test: for each a factory per kind of object that it has.

A library that cannot be imported is left out and noted in the report.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import importlib.metadata
import importlib.util
import platform
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from benches.vs.loops.names import BARE, Looped
from benches.vs.process_libraries import OPENERS, Hosted, process_kinds, queue_kinds, version_of
from benches.vs.subjects import (
    BarrierSubject,
    EventSubject,
    LockSubject,
    MixedSubject,
    QueueSubject,
)

OURS = "counterpoint"
STDLIB = "stdlib"
# Not a column of its own, but whichever of the others is the fastest, the standard library aside.
BEST_PEER = "the best peer"
# The same with the standard library.
BEST_OTHER = "the best other"
# What makes the event loop of each library that has one.
LOOPS = {
    OURS: "counterpoint.aio:new_event_loop",
    STDLIB: "asyncio:new_event_loop",
    "uvloop": "uvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
    "zuvloop": "zuvloop:new_event_loop",
}

Factory = Callable[..., Any]


@dataclass(frozen=True)
class Library:
    """A package, what makes its subjects, and the bare classes (for bytes per object)."""

    name: str
    version: str
    factories: Mapping[str, Factory]
    classes: Mapping[str, Factory]


def queue_kind(new: Factory) -> Factory:
    """Subjects of a class with put and get."""

    def make(*arguments: Any) -> QueueSubject:
        made = new(*arguments)
        return QueueSubject(made.put, made.get)

    return make


def lock_kind(new: Factory) -> Factory:
    """Subjects of a class with acquire, release and with."""

    def make(*arguments: Any) -> LockSubject:
        made = new(*arguments)
        return LockSubject(made.acquire, made.release, made)

    return make


def event_kind(new: Factory) -> Factory:
    def make() -> EventSubject:
        made = new()
        return EventSubject(made.wait, made.set, made.clear)

    return make


def barrier_kind(new: Factory) -> Factory:
    def make(parties: int) -> BarrierSubject:
        return BarrierSubject(new(parties).wait)

    return make


THREADING = ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier")
QUEUES = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")
FUTURES = ("Future", "ThreadPoolExecutor")


def stdlib_classes(threads: Any, queues: Any, futures: Any) -> dict[str, Factory]:
    """The classes of three modules that have the standard library's interface."""
    homes = ((threads, THREADING), (queues, QUEUES), (futures, FUTURES))
    return {name: getattr(home, name) for home, names in homes if home for name in names}


def bare(new: Factory) -> Factory:
    """For a class that is used under its own names."""
    return new


ADAPTERS: dict[str, Callable[[Factory], Factory]] = {
    "Lock": lock_kind,
    "RLock": lock_kind,
    "Semaphore": lock_kind,
    "BoundedSemaphore": lock_kind,
    "Event": event_kind,
    "Barrier": barrier_kind,
    "Queue": queue_kind,
    "LifoQueue": queue_kind,
    "PriorityQueue": queue_kind,
    "SimpleQueue": queue_kind,
}


def adapted(classes: Mapping[str, Factory]) -> dict[str, Factory]:
    """Factories of subjects; a class without an adapter is used as it is."""
    return {kind: ADAPTERS.get(kind, bare)(new) for kind, new in classes.items()}


def stdlib() -> Library:
    def mixed() -> MixedSubject:
        # What a program without a mixed queue does: one queue for each direction.
        to_thread: queue.Queue[Any] = queue.Queue()
        to_loop: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def thread_put(item: Any) -> None:
            loop.call_soon_threadsafe(to_loop.put_nowait, item)

        return MixedSubject(thread_put, to_thread.get, to_thread.put, to_loop.get, _nothing)

    def loop_only() -> MixedSubject:
        inside: asyncio.Queue[Any] = asyncio.Queue()
        return MixedSubject(inside.put_nowait, _no_thread, inside.put_nowait, inside.get, _nothing)

    classes = stdlib_classes(threading, queue, concurrent.futures)
    kinds = adapted(classes) | {"MixedQueue": mixed, "LoopQueue": loop_only}
    kinds |= process_kinds(STDLIB) | queue_kinds(STDLIB)
    kinds |= {"MemoryCopy": Hosted(STDLIB, work="copy")}
    kinds |= {"Loop": Looped(LOOPS[STDLIB]), "BareServer": Looped(BARE)}
    return Library(STDLIB, platform.python_version(), kinds, classes)


def counterpoint() -> Library:
    modules = [_part(f"counterpoint.{name}") for name in ("threading", "queue", "futures")]
    originals = stdlib_classes(threading, queue, concurrent.futures)
    classes = stdlib_classes(*modules)
    classes = {name: new for name, new in classes.items() if new is not originals[name]}
    queues = modules[1]

    def mixed() -> MixedSubject:
        made = queues.Queue()
        return MixedSubject(made.put_nowait, made.get, made.put_nowait, made.async_get, _nothing)

    kinds = adapted(classes)
    if "Queue" in classes:
        kinds |= {"MixedQueue": mixed, "LoopQueue": mixed}
    if modules[2] is not None:
        kinds |= process_kinds(OURS) | queue_kinds(OURS)
        kinds |= {"SoloProcessPool": Hosted(OURS, workers=1)}
    if _part("counterpoint.aio") is not None:
        kinds |= {"Loop": Looped(LOOPS[OURS])}
    return Library(OURS, _version("counterpoint"), kinds, classes)


def janus_like(name: str) -> Library:
    """A package with janus's interface: a queue with a synchronous and an asynchronous face."""
    module = importlib.import_module(name)

    def sync_side(kind: str) -> Factory:
        def make(*arguments: Any) -> QueueSubject:
            made = getattr(module, kind)(*arguments).sync_q
            return QueueSubject(made.put, made.get)

        return make

    def mixed() -> MixedSubject:
        made = module.Queue()
        threads, loop = made.sync_q, made.async_q
        return MixedSubject(threads.put_nowait, threads.get, loop.put_nowait, loop.get, made.aclose)

    queues = ("Queue", "LifoQueue", "PriorityQueue")
    kinds = {kind: sync_side(kind) for kind in queues}
    kinds |= {"MixedQueue": mixed, "LoopQueue": mixed}
    return Library(name, _version(name), kinds, {kind: getattr(module, kind) for kind in queues})


def culsans() -> Library:
    return janus_like("culsans")


def janus() -> Library:
    return janus_like("janus")


def aiologic() -> Library:
    module = importlib.import_module("aiologic")

    def queue_of(name: str) -> Factory:
        def make(*arguments: Any) -> QueueSubject:
            made = getattr(module, name)(**dict(zip(("maxsize",), arguments, strict=False)))
            return QueueSubject(made.green_put, made.green_get)

        return make

    def lock_of(name: str) -> Factory:
        def make(*arguments: Any) -> LockSubject:
            made = getattr(module, name)(*arguments)
            return LockSubject(made.green_acquire, made.green_release, made)

        return make

    def mixed() -> MixedSubject:
        made = module.SimpleQueue()
        return MixedSubject(made.put, made.green_get, made.put, made.async_get, _nothing)

    queues = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")
    locks = ("Lock", "RLock", "Semaphore", "BoundedSemaphore")
    classes = {name: getattr(module, name) for name in (*queues, *locks, "Condition")}
    classes |= {"Event": module.REvent, "Barrier": module.RBarrier}
    kinds = adapted({kind: classes[kind] for kind in ("Condition", "Event", "Barrier")})
    kinds |= {name: queue_of(name) for name in queues} | {name: lock_of(name) for name in locks}
    kinds |= {"MixedQueue": mixed, "LoopQueue": mixed}
    return Library("aiologic", _version("aiologic"), kinds, classes)


def process_peer(name: str) -> Library:
    """One that has process pools and nothing else that is measured here."""
    return Library(name, version_of(name), process_kinds(name), {})


def faster_fifo() -> Library:
    _must_be_there("faster_fifo")
    name = "faster-fifo"
    return Library(name, _version(name), queue_kinds(name), {})


def loop_peer(name: str) -> Library:
    """One that has an event loop and nothing else."""
    _must_be_there(name)
    return Library(name, _version(name), {"Loop": Looped(LOOPS[name])}, {})


LOADERS: dict[str, Callable[[], Library]] = {
    OURS: counterpoint,
    STDLIB: stdlib,
    "culsans": culsans,
    "aiologic": aiologic,
    "janus": janus,
    **{name: partial(process_peer, name) for name in OPENERS if name not in (OURS, STDLIB)},
    "faster-fifo": faster_fifo,
    **{name: partial(loop_peer, name) for name in LOOPS if name not in (OURS, STDLIB)},
}


def available() -> tuple[list[Library], list[str]]:
    """The libraries that can be imported here, ours first, and why the others cannot."""
    found: list[Library] = []
    notes: list[str] = []
    for name, load in LOADERS.items():
        try:
            found.append(load())
        except (ImportError, AttributeError) as error:
            notes.append(f"{name} is left out: {error}")
    return found, notes


def named(name: str) -> Library:
    """One library; ``ours`` is ours."""
    return LOADERS[OURS if name == "ours" else name]()


def _part(name: str) -> Any:
    """A module of a package that must exist; None while that module does not."""
    importlib.import_module(name.partition(".")[0])
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def _must_be_there(module: str) -> None:
    """Only its host imports it, which on a free-threaded build may switch the GIL on."""
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


async def _nothing() -> None:
    """Closes what needs no closing."""


def _no_thread() -> Any:
    raise TypeError("this queue belongs to one event loop")
