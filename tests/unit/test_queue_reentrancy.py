"""A queue used from within its own operations: destructors, callbacks, signals, comparisons."""

from __future__ import annotations

import gc
import signal
import sys
import threading as stdlib
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import queue
from tests.queues import every_queue
from tests.support import DEADLINE, eventually, result, spawn, succeeds

Make = Callable[..., Any]


class Dying:
    """Puts a number into a queue when it is destroyed."""

    def __init__(self, subject: Any, number: int) -> None:
        self.subject = subject
        self.number = number

    def __lt__(self, other: object) -> bool:
        return False

    def __del__(self) -> None:
        self.subject.put(self.number)


@every_queue
def test_a_destructor_puts_into_the_queue_that_lets_go_of_it(make: Make) -> None:
    subject = make()
    subject.put(Dying(subject, 1))
    subject.get()
    assert subject.get(timeout=DEADLINE) == 1
    if not isinstance(subject, queue.SimpleQueue):
        subject.put(Dying(subject, 2))
        subject.shutdown(immediate=True)
        assert subject.qsize() == 0


test_a_destructor_puts_into_the_queue_that_lets_go_of_it = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)(test_a_destructor_puts_into_the_queue_that_lets_go_of_it)


def test_a_dropped_item_s_destructor_puts() -> None:
    subject: queue.Queue[Any] = queue.Queue(1, overflow="drop_newest")
    subject.put(0)
    subject.put(Dying(subject, 1))
    assert subject.get_many(5) == [0]


@every_queue
def test_a_weakref_callback_uses_the_queue(make: Make) -> None:
    subject = make()
    seen: list[int] = []

    class Item:
        def __lt__(self, other: object) -> bool:
            return False

    def callback(_: object) -> None:
        seen.append(subject.qsize())
        subject.put(5)

    item = Item()
    reference = weakref.ref(item, callback)
    subject.put(item)
    del item
    subject.get()
    assert reference() is None
    assert (seen, subject.get(timeout=DEADLINE)) == ([0], 5)


@every_queue
def test_the_collector_runs_destructors_anywhere(make: Make) -> None:
    subject = make()
    source = iter(range(10**9))
    stop = 400

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            subject.put(next(source))
            if subject.qsize() < stop:
                Cycle()

    threshold = gc.get_threshold()
    gc.set_threshold(10)
    try:
        Cycle()
        while subject.qsize() < stop:
            subject.put(next(source))
            [[] for _ in range(3)]
    finally:
        gc.set_threshold(*threshold)
    got = [subject.get() for _ in range(subject.qsize())]
    assert sorted(got) == list(range(len(got)))


@pytest.mark.skipif(
    stdlib.current_thread() is not stdlib.main_thread(), reason="signals reach the main thread"
)
@every_queue
def test_a_storm_of_signals_whose_handler_uses_the_queue(make: Make) -> None:
    subject = make()
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        subject.put(-1)
        subject.qsize()

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    total = 0
    try:
        while handled < 150:
            for number in range(20):
                subject.put(number)
            for _ in range(20):
                subject.get()
                total += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert subject.qsize() == handled


@every_queue
def test_a_handler_feeds_the_get_that_it_interrupts(make: Make) -> None:
    subject = make()
    old = signal.signal(signal.SIGALRM, lambda *_: subject.put(9))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        assert subject.get(timeout=DEADLINE) == 9
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


class Meddling:
    """Uses the queue whenever it is compared."""

    def __init__(self, number: int, action: Callable[[], object] | None = None) -> None:
        self.number = number
        self.action = action

    def __lt__(self, other: Meddling) -> bool:
        for each in (self, other):
            action, each.action = each.action, None
            if action is not None:
                action()
        return self.number < other.number


def test_a_comparison_puts_into_its_own_queue() -> None:
    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue()
    subject.put(Meddling(5))
    subject.put(Meddling(3, lambda: subject.put(Meddling(4, lambda: subject.put(Meddling(1))))))
    assert subject.unfinished_tasks == 4
    assert [item.number for item in subject.get_many(9)] == [1, 3, 4, 5]


def test_a_comparison_cannot_wait_for_itself() -> None:
    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue(2)
    errors: list[BaseException] = []

    def attempt(call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                call()
            except BaseException as error:
                errors.append(error)

        return run

    calls: list[Callable[[], object]] = [
        subject.get,
        lambda: subject.get(timeout=DEADLINE),
        subject.get_nowait,
        lambda: subject.get_many(3),
        subject.peek,
        lambda: subject.mutex,
    ]
    for call in calls:
        subject.put(Meddling(5))
        subject.put(Meddling(3, attempt(call)))
        assert [item.number for item in subject.get_many(2)] == [3, 5]
    kinds = [RuntimeError, RuntimeError, queue.Empty, RuntimeError, queue.Empty, RuntimeError]
    assert [type(error) for error in errors] == kinds
    errors.clear()
    subject.put(Meddling(5))

    def fill() -> None:
        subject.put(Meddling(7))
        subject.put(Meddling(8))

    subject.put(Meddling(3, attempt(fill)))
    subject.get_many(9)
    assert len(errors) <= 1
    assert subject.empty()


def test_a_comparison_lowers_the_bound_and_nothing_is_thrown_away() -> None:
    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue(10)
    subject.put_many([Meddling(number) for number in range(4)])
    subject.put(Meddling(9, lambda: setattr(subject, "maxsize", 2)))
    assert (subject.maxsize, subject.qsize(), subject.unfinished_tasks) == (2, 5, 5)
    assert [item.number for item in subject.get_many(9)] == [0, 1, 2, 3, 9]


def test_a_comparison_lowers_the_bound_of_a_queue_that_drops() -> None:
    dropped: list[int] = []
    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue(
        10, overflow="drop_oldest", on_drop=lambda item: dropped.append(item.number)
    )
    subject.put_many([Meddling(number) for number in range(4)])
    subject.put(Meddling(9, lambda: setattr(subject, "maxsize", 2)))
    assert dropped == [0, 1, 2]
    assert [item.number for item in subject.get_many(9)] == [3, 9]


def test_the_item_that_is_being_put_takes_up_room() -> None:
    errors: list[BaseException] = []

    def put() -> None:
        try:
            subject.put_nowait(Meddling(7))
        except queue.Full as error:
            errors.append(error)

    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue(2)
    subject.put(Meddling(1))
    subject.put(Meddling(2, put))
    assert (subject.qsize(), len(errors)) == (2, 1)


def test_the_counters_tell_what_was_before_a_comparison() -> None:
    seen: list[tuple[int, int, int]] = []

    def look() -> None:
        counted = subject.statistics()
        seen.append((counted.puts, counted.gets, subject.unfinished_tasks))

    def put() -> None:
        look()
        subject.put(Meddling(5, look))
        look()
        subject.put(Meddling(6, look))
        look()

    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue()
    subject.put_many([Meddling(0), Meddling(1)])
    subject.get()
    subject.put(Meddling(2, put))
    assert len(seen) > 3
    assert set(seen) == {(2, 1, 2)}
    look()
    assert seen[-1] == (5, 1, 5)


def test_a_comparison_shuts_its_queue_down() -> None:
    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue()
    subject.put(Meddling(5))
    subject.put(Meddling(3, lambda: subject.shutdown(immediate=True)))
    assert (subject.qsize(), subject.unfinished_tasks) == (0, 0)
    with pytest.raises(queue.ShutDown):
        subject.get()


def test_an_item_put_by_a_comparison_that_cannot_be_compared_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_type))
    subject: queue.PriorityQueue[Any] = queue.PriorityQueue()
    subject.put(Meddling(5))
    subject.put(Meddling(3, lambda: subject.put("text")))
    assert reports == [TypeError] or reports == [AttributeError]
    assert [item.number for item in subject.get_many(9)] == [3, 5]


def test_a_hook_puts_into_its_own_queue() -> None:
    class Doubling(queue.Queue[int]):
        def _put(self, item: int) -> None:
            super()._put(item)
            if item < 100:
                self.put(item * 10)

    subject = Doubling()
    subject.put(1)
    assert subject.get_many(9) == [1, 10, 100]
    assert subject.unfinished_tasks == 3


def test_a_destructor_within_a_hook() -> None:
    class Careless(queue.Queue[Any]):
        def _get(self) -> Any:
            item = super()._get()
            return item.number if isinstance(item, Dying) else item

    subject = Careless()
    subject.put(Dying(subject, 7))
    assert subject.get() == 7
    assert subject.get(timeout=DEADLINE) == 7


def test_a_getter_in_a_thread_is_fed_by_a_hook() -> None:
    subject: queue.PriorityQueue[Meddling] = queue.PriorityQueue()
    got = spawn(lambda: [subject.get().number for _ in range(3)])
    eventually(lambda: subject.statistics().getters == 1)
    subject.put_many([Meddling(2), Meddling(1, lambda: subject.put(Meddling(3)))])
    assert sorted(result(got)) == [1, 2, 3]


def test_a_deep_nest_of_queues_can_be_let_go() -> None:
    succeeds(
        """
from counterpoint.queue import Queue, SimpleQueue
for kind in (Queue, SimpleQueue):
    inner = kind()
    for _ in range(200_000):
        outer = kind()
        outer.put(inner)
        inner = outer
    del inner, outer
"""
    )
