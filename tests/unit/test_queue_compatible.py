"""Subclasses with hooks, and programs that use the stdlib's mutex, conditions and containers."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

import pytest

from counterpoint import _core, queue, threading
from tests.queues import getters, is_native, putters
from tests.support import DEADLINE, eventually, loops, result, spawn


class Distinct(queue.Queue[int]):
    """The documentation's kind of subclass: a set instead of a deque."""

    def _init(self, maxsize: int) -> None:
        self.items: set[int] = set()

    def _qsize(self) -> int:
        return len(self.items)

    def _put(self, item: int) -> None:
        self.items.add(item)

    def _get(self) -> int:
        return self.items.pop()


def test_a_subclass_may_keep_its_items_anywhere() -> None:
    subject = Distinct(2)
    for item in (1, 1, 1, 2):
        subject.put_nowait(item)
    with pytest.raises(queue.Full):
        subject.put_nowait(3)
    assert sorted(subject.get_many(5)) == [1, 2]
    assert subject.unfinished_tasks == 4


def test_hooks_are_called_under_the_mutex_and_may_fail() -> None:
    class Picky(queue.PriorityQueue[int]):
        def _put(self, item: int) -> None:
            assert self.mutex.locked()
            if item < 0:
                raise ValueError(item)
            super()._put(item)

    subject = Picky()
    subject.put(3)
    subject.put(1)
    with pytest.raises(ValueError, match="-1"):
        subject.put(-1)
    assert (subject.get(), subject.get(), subject.unfinished_tasks) == (1, 3, 2)


def test_put_nowait_goes_through_an_overridden_put() -> None:
    class Loud(queue.Queue[int]):
        def put(self, item: int, block: bool = True, timeout: float | None = None) -> None:
            super().put(item * 10, block, timeout)

        def get(self, block: bool = True, timeout: float | None = None) -> int:
            return super().get(block, timeout) + 1

    subject = Loud()
    subject.put_nowait(1)
    subject.put(2)
    assert (subject.get_nowait(), subject.get()) == (11, 21)
    assert is_native(subject)


def test_the_containers_are_the_stdlib_s() -> None:
    for make, kind in (
        (queue.Queue, deque),
        (queue.LifoQueue, list),
        (queue.PriorityQueue, list),
    ):
        subject: Any = make()
        subject.put_many([3, 1, 2])
        assert is_native(subject)
        items = subject.queue
        assert type(items) is kind
        assert sorted(items) == [1, 2, 3]
        assert not is_native(subject)
        expected = {deque: [3, 1, 2], list: [2, 1, 3]}[kind]
        if make is queue.PriorityQueue:
            heapq.heapify(list(items))
            expected = [1, 2, 3]
        assert [subject.get() for _ in range(3)] == expected


def test_items_may_be_changed_under_the_mutex() -> None:
    subject: queue.Queue[int] = queue.Queue(2)
    subject.put_many([1, 2])
    waiting = spawn(subject.put, 3)
    eventually(lambda: putters(subject) == 1)
    with subject.mutex:
        subject.queue.clear()
        subject.not_full.notify()
    result(waiting)
    assert subject.get() == 3


def test_the_conditions_share_the_mutex_and_tell() -> None:
    subject: queue.Queue[int] = queue.Queue()
    seen = spawn(_await_item, subject)
    eventually(lambda: len(subject.not_empty._waiters) == 1)
    subject.put(5)
    assert result(seen) == 5
    assert isinstance(subject.mutex, threading.Lock)
    for condition in (subject.not_empty, subject.not_full, subject.all_tasks_done):
        assert isinstance(condition, threading.Condition)
        with condition:
            assert subject.mutex.locked()


def _await_item(subject: queue.Queue[int]) -> int:
    with subject.not_empty:
        while not subject._qsize():
            subject.not_empty.wait(DEADLINE)
        return subject._get()


def test_those_who_wait_natively_go_on_in_compatible_mode() -> None:
    empty: queue.Queue[int] = queue.Queue()
    full: queue.Queue[int] = queue.Queue(1)
    full.put(0)
    with loops() as [loop]:
        waiting = [spawn(empty.get), spawn(empty.get_many, 1), loop.start(empty.async_get())]
        placing = [spawn(full.put, 1), spawn(full.put_many, [2]), loop.start(full.async_put(3))]
        joining = [spawn(full.join), loop.start(full.async_join())]
        eventually(lambda: getters(empty) == 3 and putters(full) == 3)
        assert empty.mutex is not full.mutex
        empty.put_many([7, 8, 9])
        got = [result(each) for each in waiting]
        assert sorted(item[0] if isinstance(item, list) else item for item in got) == [7, 8, 9]
        taken = []
        for _ in range(4):
            taken.append(full.get(timeout=DEADLINE))
            full.task_done()
        assert sorted(taken) == [0, 1, 2, 3]
        for each in (*placing, *joining):
            result(each)
    assert not is_native(empty)
    assert not is_native(full)


def test_settable_attributes_move_the_queue() -> None:
    subject: queue.Queue[int] = queue.Queue()
    subject.put(1)
    subject.unfinished_tasks = 0
    subject.join()
    subject.is_shutdown = True
    with pytest.raises(queue.ShutDown):
        subject.put(2)
    assert subject.get() == 1


def test_a_stable_heap_stays_stable_when_it_moves() -> None:
    subject: queue.PriorityQueue[str] = queue.PriorityQueue(key=len)
    subject.put_many(["bb", "a", "cc"])
    assert len(subject.queue) == 3
    subject.put_many(["dd", "e"])
    assert subject.peek() == "a"
    assert subject.get_many(5) == ["a", "e", "bb", "cc", "dd"]


def test_a_put_by_the_holder_of_the_mutex_is_stored_at_its_release() -> None:
    subject: queue.Queue[int] = queue.Queue()
    with subject.mutex:
        subject.put(1)
        assert subject.qsize() == 0
        with pytest.raises(RuntimeError, match=r"get\(\) would wait for the call of the same"):
            subject.get()
        with pytest.raises(queue.Empty):
            subject.get_nowait()
    assert subject.get_nowait() == 1
    assert subject.unfinished_tasks == 1


def test_an_observer_sees_the_queue_and_not_its_parts() -> None:
    seen: list[Any] = []
    _core.set_observer(seen.append)
    try:
        subject = Distinct()
        plain: queue.Queue[int] = queue.Queue()
        assert plain.mutex is not None
    finally:
        _core.set_observer(None)
    assert seen == [subject, plain]
    meter = subject._meter
    seen.clear()
    for item in (1, 2, 3):
        subject.put(item)
    subject.get()
    del subject
    counts = meter.counts()
    assert (counts["puts"], counts["gets"], counts["max_size"]) == (3, 1, 3)


def test_threads_that_move_a_queue_at_once_agree() -> None:
    for _ in range(50):
        subject: queue.Queue[int] = queue.Queue()
        subject.put_many(range(10))
        mutexes = [spawn(lambda q=subject: q.mutex) for _ in range(4)]
        puts = [spawn(subject.put, 10 + number) for number in range(4)]
        assert len({id(result(each)) for each in mutexes}) == 1
        for each in puts:
            result(each)
        assert sorted(subject.get_many(20)) == list(range(14))


def test_ctrl_c_while_the_inbox_is_emptied_frees_the_mutex() -> None:
    class Interrupted(queue.Queue[int]):
        def _put(self, item: int) -> None:
            if item == 1:
                self.put_nowait(2)  # from within: goes into the inbox
            if item == 2:
                raise KeyboardInterrupt
            super()._put(item)

    subject = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        subject.put(1)
    assert not subject.mutex.locked()
    with pytest.raises(KeyboardInterrupt), subject.mutex:
        subject.put_nowait(2)
    assert not subject.mutex.locked()
    subject.put(3)
    assert subject.get_many(5) == [1, 3]
