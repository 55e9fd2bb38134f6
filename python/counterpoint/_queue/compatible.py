"""Compatible mode: a queue whose items are in Python objects, for those who use its insides.

A native queue goes into this mode when its class overrides `_init`, `_qsize`, `_put` or `_get`, or
when somebody reads `mutex`, `queue`, `not_empty`, `not_full` or `all_tasks_done`. From then on the
methods here do what the native ones did, the stdlib's way: under one lock that users may hold,
through hooks that users may override, with conditions on which users may wait.

Reentrancy: a thread that already holds the mutex (it is in a hook, or in a destructor or signal
handler that interrupted one) cannot wait for it. Its put goes into an inbox that is emptied when
the mutex is released; its get takes what is there or raises.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Iterable
from threading import get_ident
from time import monotonic
from typing import Any, Protocol

from counterpoint._queue.errors import Empty, Full, ShutDown
from counterpoint._queue.mutex import Mutex
from counterpoint._sync.condition import Condition
from counterpoint._sync.lock import Lock

__all__ = ["Compatible", "Hooked"]


class Hooked(Protocol):
    """A queue, as far as its Python implementation is concerned."""

    @property
    def maxsize(self) -> int: ...
    def _init(self, maxsize: int) -> None: ...
    def _qsize(self) -> int: ...
    def _put(self, item: Any) -> None: ...
    def _get(self) -> Any: ...
    def _adopt(self, items: list[Any]) -> None: ...
    def _evict(self) -> Any: ...
    def _peek(self) -> Any: ...
    def _dropped(self, item: Any) -> None: ...


def _deadline(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if timeout < 0:
        raise ValueError(_NEGATIVE)
    return monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - monotonic())


def _condition(mutex: Mutex) -> Condition:
    """Over a lock of any kind; an observer is shown the queue, not its conditions."""
    condition = Condition.__new__(Condition)
    condition._set_inside(mutex, 0)
    return condition


class Compatible:
    """The implementation of one queue. It holds no reference to the queue."""

    __slots__ = (
        "__weakref__",
        "_acquire",
        "_release",
        "all_tasks_done",
        "completions",
        "gets",
        "is_shutdown",
        "longest",
        "mutex",
        "not_empty",
        "not_full",
        "overflow",
        "puts",
        "queue",
        "unfinished_tasks",
    )

    def __init__(self, overflow: str) -> None:
        self.overflow = overflow
        self.mutex = Mutex()
        # The native methods, without the detour through the subclass.
        self._acquire = Lock.acquire.__get__(self.mutex)
        self._release = Lock.release.__get__(self.mutex)
        self.not_empty = _condition(self.mutex)
        self.not_full = _condition(self.mutex)
        self.all_tasks_done = _condition(self.mutex)
        self.unfinished_tasks = self.puts = self.gets = self.longest = 0
        # How often everything was done.
        self.completions = 0
        self.is_shutdown = False
        self.queue: Any = None
        # Others wait until `furnish` has brought the items.
        self.mutex.acquire()
        _alive.add(self)

    def furnish(
        self,
        queue: Hooked,
        items: list[Any],
        numbers: tuple[int, int, int, int],
        is_shutdown: bool,
    ) -> None:
        """Takes over from the native queue."""
        try:
            self.puts, self.gets, self.unfinished_tasks, self.longest = numbers
            self.is_shutdown = is_shutdown
            queue._init(queue.maxsize)
            if items:
                queue._adopt(items)
        finally:
            self.mutex.release()

    def _is_inside(self) -> bool:
        """Whether this thread holds the mutex, itself or through the task that it runs."""
        owner = self.mutex.owner
        if owner is None or isinstance(owner, int):
            return owner == get_ident()
        return asyncio._get_running_loop() is not None and owner is asyncio.current_task()

    def _enter(self) -> bool:
        """Takes the mutex; False if this thread has it already."""
        if not self._acquire(False):
            if self._is_inside():
                return False
            self._acquire()
        return True

    def _leave(self) -> None:
        try:
            if self.mutex.inbox:
                self.mutex.empty_inbox()
        finally:
            self._release()

    # Under the mutex.

    def store(self, queue: Hooked, item: Any) -> None:
        """Puts an item for which there is room."""
        queue._put(item)
        self.unfinished_tasks += 1
        self.puts += 1
        if self.not_empty.waiters:
            self.not_empty.notify()

    def _take(self, queue: Hooked) -> Any:
        item = queue._get()
        self.gets += 1
        size = self.puts - self.gets
        if size >= self.longest:
            self.longest = size + 1
        if self.not_full.waiters:
            self.not_full.notify()
        return item

    def _is_full(self, queue: Hooked) -> bool:
        return 0 < queue.maxsize <= queue._qsize()

    def _finish(self, count: int) -> None:
        unfinished = self.unfinished_tasks - count
        if unfinished <= 0:
            if unfinished < 0:
                raise ValueError("task_done() called too many times")
            self.completions += 1
            self.all_tasks_done.notify_all()
        self.unfinished_tasks = unfinished

    def _overflow(self, queue: Hooked, item: Any) -> tuple[bool, list[Any]]:
        """What to do with an item for which there is no room: whether to wait, what was dropped."""
        if self.overflow == "drop_newest":
            return False, [item]
        if self.overflow == "drop_oldest":
            dropped = []
            while self._is_full(queue) and queue._qsize():
                dropped.append(queue._evict())
                self.unfinished_tasks -= 1
            self.store(queue, item)
            return False, dropped
        if self.overflow == "raise":
            raise Full
        return True, []

    # Putting.

    def put(self, queue: Hooked, item: Any, block: bool, timeout: float | None) -> None:
        """The queue's `put`."""
        if timeout is not None and block and timeout < 0:
            raise ValueError(_NEGATIVE)
        if not self._enter():
            self._put_inside(queue, item, block and timeout is None)
            return
        dropped: list[Any] = []
        try:
            if self._try_put(queue, item, dropped):
                self._await_room(queue, item, dropped, block, timeout)
        finally:
            self._leave()
        for thrown in dropped:
            queue._dropped(thrown)

    def _await_room(
        self, queue: Hooked, item: Any, dropped: list[Any], block: bool, timeout: float | None
    ) -> None:
        deadline = _deadline(timeout) if block else None
        waits = True
        while waits:
            left = _left(deadline)
            if not block or left == 0:
                raise Full
            self.not_full.wait(left)
            waits = self._try_put(queue, item, dropped)

    def _try_put(self, queue: Hooked, item: Any, dropped: list[Any]) -> bool:
        """Whether the item has to wait for room."""
        if self.is_shutdown:
            raise ShutDown
        if not self._is_full(queue):
            self.store(queue, item)
            return False
        wait, thrown = self._overflow(queue, item)
        dropped.extend(thrown)
        return wait

    def _put_inside(self, queue: Hooked, item: Any, forever: bool) -> None:
        if self.is_shutdown:
            raise ShutDown
        if self._is_full(queue):
            if forever and self.overflow == "block":
                raise RuntimeError(_WITHIN.format("put"))
            raise Full
        self.mutex.inbox.append((self, queue, item))

    def put_many(self, queue: Hooked, items: Iterable[Any], timeout: float | None) -> None:
        """The queue's `put_many`."""
        deadline = _deadline(timeout)
        for item in list(items):
            self.put(queue, item, True, _left(deadline))

    # Getting.

    def get(self, queue: Hooked, block: bool, timeout: float | None) -> Any:
        """The queue's `get`."""
        if timeout is not None and block and timeout < 0:
            raise ValueError(_NEGATIVE)
        if not self._enter():
            return self._get_inside(queue, block)
        try:
            if not queue._qsize():
                self._await_item(queue, block, _deadline(timeout) if block else None)
            return self._take(queue)
        finally:
            self._leave()

    def _await_item(self, queue: Hooked, block: bool, deadline: float | None) -> None:
        while not queue._qsize():
            if self.is_shutdown:
                raise ShutDown
            left = _left(deadline)
            if not block or left == 0:
                raise Empty
            self.not_empty.wait(left)

    def _get_inside(self, queue: Hooked, block: bool) -> Any:
        if queue._qsize():
            return self._take(queue)
        if self.is_shutdown:
            raise ShutDown
        if block:
            raise RuntimeError(_WITHIN.format("get"))
        raise Empty

    def get_many(self, queue: Hooked, most: int, timeout: float | None) -> list[Any]:
        """The queue's `get_many`."""
        if self._is_inside():
            return [self._get_inside(queue, True)]
        deadline = _deadline(timeout)
        with self.not_empty:
            self._await_item(queue, True, deadline)
            return [self._take(queue) for _ in range(min(most, queue._qsize()))]

    def peek(self, queue: Hooked) -> Any:
        """The queue's `peek`."""
        if self._is_inside():
            return self._look(queue)
        with self.mutex:
            return self._look(queue)

    def _look(self, queue: Hooked) -> Any:
        if queue._qsize():
            return queue._peek()
        raise ShutDown if self.is_shutdown else Empty

    # The same for tasks.

    async def async_put(self, queue: Hooked, item: Any, timeout: float | None) -> None:
        """The queue's `async_put`."""
        deadline = None if timeout is None else monotonic() + max(0.0, timeout)
        dropped: list[Any] = []
        async with self.mutex:
            while self._try_put(queue, item, dropped):
                left = _left(deadline)
                if left == 0:
                    raise Full
                await self.not_full.async_wait(left)
        for thrown in dropped:
            queue._dropped(thrown)

    async def async_get(self, queue: Hooked, timeout: float | None) -> Any:
        """The queue's `async_get`."""
        async with self.mutex:
            await self._async_item(queue, timeout)
            return self._take(queue)

    async def async_get_many(self, queue: Hooked, most: int, timeout: float | None) -> list[Any]:
        """The queue's `async_get_many`."""
        async with self.mutex:
            await self._async_item(queue, timeout)
            return [self._take(queue) for _ in range(min(most, queue._qsize()))]

    async def _async_item(self, queue: Hooked, timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic() + max(0.0, timeout)
        while not queue._qsize():
            if self.is_shutdown:
                raise ShutDown
            left = _left(deadline)
            if left == 0:
                raise Empty
            await self.not_empty.async_wait(left)

    async def async_join(self, timeout: float | None) -> bool:
        """Whether everything was done in time; as in asyncio, for one moment at least."""
        async with self.mutex:
            before = self.completions

            def done() -> bool:
                return self._all_done() or self.completions != before

            return await self.all_tasks_done.async_wait_for(done, timeout)

    def _all_done(self) -> bool:
        return not self.unfinished_tasks

    # Everything else.

    def qsize(self, queue: Hooked) -> int:
        """The queue's `qsize`."""
        entered = self._enter()
        try:
            return queue._qsize()
        finally:
            if entered:
                self._leave()

    def empty(self, queue: Hooked) -> bool:
        """The queue's `empty`."""
        return not self.qsize(queue)

    def full(self, queue: Hooked) -> bool:
        """The queue's `full`."""
        return 0 < queue.maxsize <= self.qsize(queue)

    def task_done(self, queue: Hooked) -> None:
        """The queue's `task_done`."""
        entered = self._enter()
        try:
            self._finish(1)
        finally:
            if entered:
                self._leave()

    def join(self, queue: Hooked, timeout: float | None) -> None:
        """The queue's `join`."""
        _deadline(timeout)
        if self._is_inside() and self.unfinished_tasks:
            raise RuntimeError(_WITHIN.format("join"))
        with self.all_tasks_done:
            if not self.all_tasks_done.wait_for(self._all_done, timeout):
                raise TimeoutError("tasks of the queue are unfinished")

    def shutdown(self, queue: Hooked, immediate: bool) -> None:
        """The queue's `shutdown`."""
        if self._is_inside():
            self._shut_down(queue, immediate)
            return
        with self.mutex:
            dropped = self._shut_down(queue, immediate)
        del dropped

    def _shut_down(self, queue: Hooked, immediate: bool) -> list[Any]:
        self.is_shutdown = True
        dropped = []
        if immediate:
            while queue._qsize():
                dropped.append(queue._get())
                if self.unfinished_tasks > 0:
                    self.unfinished_tasks -= 1
            self.completions += not self.unfinished_tasks
            self.all_tasks_done.notify_all()
        self.not_empty.notify_all()
        self.not_full.notify_all()
        return dropped

    def resized(self, queue: Hooked) -> None:
        """The bound has changed: there may be room."""
        if self._is_inside():
            self.not_full.notify_all()
            return
        with self.mutex:
            self.not_full.notify_all()

    def unfinished(self, queue: Hooked) -> int:
        """The queue's `unfinished_tasks`."""
        return self.unfinished_tasks

    def shut_down(self, queue: Hooked) -> bool:
        """The queue's `is_shutdown`."""
        return self.is_shutdown

    def counters(self, queue: Hooked) -> tuple[int, int, int, int, int, int, int]:
        """Size, unfinished, puts, gets, longest, putters, getters."""
        size = self.qsize(queue)
        longest = max(self.longest, size)
        waiting = len(self.not_full._waiters), len(self.not_empty._waiters)
        return size, self.unfinished_tasks, self.puts, self.gets, longest, *waiting


_alive: weakref.WeakSet[Compatible] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child: what a thread held that is gone is free."""
    for implementation in list(_alive):
        mutex = implementation.mutex
        if mutex.owner not in (None, get_ident()):
            mutex._at_fork_reinit()
            mutex.inbox.clear()


os.register_at_fork(after_in_child=_after_fork)

_NEGATIVE = "'timeout' must be a non-negative number"

_WITHIN = (
    "{0}() would wait for the call of the same thread that it was made from: use {0}_nowait() "
    "where the thread holds the queue's mutex"
)
