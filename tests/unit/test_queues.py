"""What holds for the queues of `counterpoint.queue`, in threads, native and compatible."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import queue as stdlib
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import queue
from tests.queues import (
    CLASSES,
    every_bounded,
    every_native,
    every_queue,
    getters,
    putters,
)
from tests.support import DEADLINE, eventually, is_collected, result, spawn

Make = Callable[..., Any]

CALLS: dict[str, Callable[[Any], Any]] = {
    "put": lambda q: q.put(9, timeout=DEADLINE),
    "get": lambda q: q.get(timeout=DEADLINE),
    "put_many": lambda q: q.put_many([9], DEADLINE),
    "get_many": lambda q: q.get_many(5, DEADLINE),
}


def drained(subject: Any) -> list[Any]:
    return [subject.get_nowait() for _ in range(subject.qsize())]


@every_queue
def test_a_getter_waits_for_an_item(make: Make) -> None:
    subject = make()
    got = spawn(subject.get)
    eventually(lambda: getters(subject) == 1)
    subject.put(7)
    assert result(got) == 7
    assert getters(subject) == 0


@every_bounded
def test_a_putter_waits_for_room(make: Make) -> None:
    subject = make(2)
    subject.put_many([1, 2])
    put = spawn(subject.put, 3)
    eventually(lambda: putters(subject) == 1)
    first = subject.get()
    result(put)
    assert sorted([first, *drained(subject)]) == [1, 2, 3]


@every_queue
def test_getters_are_served_in_order(make: Make) -> None:
    subject = make()
    order: list[int] = []

    def get(number: int) -> None:
        subject.get()
        order.append(number)

    waiting = []
    for number in range(3):
        waiting.append(spawn(get, number))
        eventually(lambda: getters(subject) == len(waiting))
    for count in range(1, 4):
        subject.put(count)
        eventually(lambda expected=count: len(order) == expected)
    assert order == [0, 1, 2]
    assert [result(each) for each in waiting] == [None] * 3


@every_queue
def test_nothing_to_get(make: Make) -> None:
    subject = make()
    for call in (
        subject.get_nowait,
        lambda: subject.get(False),
        lambda: subject.get(block=False, timeout=-1),
        lambda: subject.get(timeout=0),
        lambda: subject.get(True, 0.01),
        lambda: subject.get_many(3, timeout=0.01),
        subject.peek,
    ):
        with pytest.raises(stdlib.Empty):
            call()
    assert subject.empty()
    assert subject.qsize() == 0


@every_bounded
def test_no_room_to_put(make: Make) -> None:
    subject = make(maxsize=1)
    subject.put(1)
    assert subject.full()
    for call in (
        lambda: subject.put_nowait(2),
        lambda: subject.put(2, False),
        lambda: subject.put(2, block=False, timeout=-1),
        lambda: subject.put(2, timeout=0),
        lambda: subject.put(2, True, 0.01),
        lambda: subject.put_many([2, 3], timeout=0.01),
    ):
        with pytest.raises(stdlib.Full):
            call()
    assert drained(subject) == [1]


@every_queue
def test_many_at_a_time(make: Make) -> None:
    subject = make()
    subject.put_many(iter([1, 2, 3]))
    first = subject.peek()
    assert subject.qsize() == 3
    items = subject.get_many(2)
    assert items[0] == first
    assert sorted(items + subject.get_many(100)) == [1, 2, 3]
    subject.put_many([])
    assert subject.empty()


@every_bounded
def test_put_many_waits_for_room_as_it_comes(make: Make) -> None:
    subject = make(2)
    put = spawn(subject.put_many, range(10))
    got = [subject.get(timeout=DEADLINE) for _ in range(10)]
    result(put)
    assert sorted(got) == list(range(10))


@every_bounded
def test_a_putter_goes_on_though_the_getter_does_not_come_back(make: Make) -> None:
    subject = make(4)
    turns = 200

    def produce() -> None:
        for number in range(turns * 4 + 1):
            subject.put(number)

    producing = spawn(produce)
    # Many turns in which the getter empties the queue and waits teach it to let putters doze…
    for _ in range(turns * 4 - 4):
        subject.get(timeout=DEADLINE)
    # … and then it takes a single item and turns to other things.
    eventually(lambda: putters(subject) == 1)
    subject.get()
    result(producing)


@every_bounded
def test_a_larger_maxsize_lets_putters_go_on(make: Make) -> None:
    subject = make(1)
    subject.put(0)
    waiting = [spawn(subject.put, number) for number in (1, 2, 3)]
    eventually(lambda: putters(subject) == 3)
    subject.maxsize = 3
    eventually(lambda: subject.qsize() == 3 and putters(subject) == 1)
    subject.maxsize = 0
    for each in waiting:
        result(each)
    assert (subject.maxsize, subject.full(), subject.qsize()) == (0, False, 4)


@every_bounded
def test_a_smaller_maxsize_is_kept_to_from_then_on(make: Make) -> None:
    subject = make(3)
    subject.put_many([1, 2, 3])
    subject.maxsize = 2
    assert subject.full()
    subject.get()
    with pytest.raises(queue.Full):
        subject.put_nowait(4)


@every_bounded
def test_shutting_down_wakes_everyone_who_waits(make: Make) -> None:
    empty, full = make(), make(1)
    full.put(1)
    waiting = [spawn(empty.get), spawn(empty.get_many, 3), spawn(full.put, 2)]
    waiting.append(spawn(full.put_many, [3]))
    eventually(lambda: getters(empty) == 2 and putters(full) == 2)
    empty.shutdown()
    full.shutdown()
    for each in waiting:
        with pytest.raises(queue.ShutDown):
            result(each)
    assert full.get() == 1
    for call in (full.get, full.get_nowait, full.peek, lambda: full.get_many(1)):
        with pytest.raises(queue.ShutDown):
            call()
    for call in (lambda: full.put(1), lambda: full.put_nowait(1), lambda: full.put_many([1])):
        with pytest.raises(queue.ShutDown):
            call()
    assert full.is_shutdown


@every_bounded
def test_shutting_down_at_once_drops_the_items(make: Make) -> None:
    subject = make()
    subject.put_many(range(4))
    subject.get()
    joined = spawn(subject.join)
    subject.shutdown(immediate=True)
    assert (subject.qsize(), subject.unfinished_tasks) == (0, 1)
    subject.task_done()
    result(joined)
    with pytest.raises(queue.ShutDown):
        subject.get()
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        subject.task_done()


@every_bounded
def test_iteration_ends_with_the_queue(make: Make) -> None:
    subject = make()
    seen = spawn(lambda: sorted(subject))
    subject.put_many(range(5))
    subject.shutdown()
    assert result(seen) == list(range(5))
    assert list(subject) == []


@every_bounded
def test_membership_is_refused_because_it_would_take_items(make: Make) -> None:
    with pytest.raises(TypeError):
        assert 1 in make()


@every_bounded
def test_join_waits_for_all_tasks(make: Make) -> None:
    subject = make()
    subject.put_many(range(3))
    with pytest.raises(TimeoutError):
        subject.join(timeout=0.01)
    joined = [spawn(subject.join), spawn(subject.join, DEADLINE)]
    for _ in range(3):
        subject.get()
        subject.task_done()
    assert [result(each) for each in joined] == [None, None]
    assert subject.unfinished_tasks == 0


@every_bounded
@pytest.mark.parametrize("overflow", ["raise", "drop_newest", "drop_oldest"])
def test_what_a_full_queue_does(make: Make, overflow: str) -> None:
    dropped: list[int] = []
    hears = {} if overflow == "raise" else {"on_drop": dropped.append}
    subject = make(2, overflow=overflow, **hears)
    subject.put_many([5, 3])
    if overflow == "raise":
        for call in (lambda: subject.put(4), lambda: subject.put(4, timeout=DEADLINE)):
            with pytest.raises(queue.Full):
                call()
        assert sorted(drained(subject)) == [3, 5]
        return
    subject.put(4)
    left = sorted(drained(subject))
    assert (dropped, left) == (([4], [3, 5]) if overflow == "drop_newest" else ([5], [3, 4]))
    assert subject.unfinished_tasks == 2


@every_bounded
def test_a_put_that_drops_keeps_a_lowered_bound(make: Make) -> None:
    dropped: list[int] = []
    subject = make(5, overflow="drop_oldest", on_drop=dropped.append)
    subject.put_many(range(5))
    subject.maxsize = 2
    assert subject.qsize() == 5
    subject.put(5)
    assert (dropped, sorted(drained(subject))) == ([0, 1, 2, 3], [4, 5])
    assert subject.unfinished_tasks == 2
    subject.shutdown(immediate=True)
    assert len(dropped) == 4


def test_what_on_drop_raises_is_reported_and_the_put_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)

    def refuse(item: int) -> None:
        raise KeyError(item)

    subject = queue.Queue(1, overflow="drop_oldest", on_drop=refuse)
    subject.put_many([1, 2])
    assert [report.exc_value.args for report in reports] == [(1,)]
    assert subject.get() == 2


@every_queue
@pytest.mark.parametrize("call", ["put", "get", "put_many", "get_many"])
def test_a_timeout_must_make_sense(make: Make, call: str) -> None:
    bounded = call == "put" and make is not queue.SimpleQueue
    subject = make(9) if bounded else make()
    arguments = {"put": (1, True), "get": (True,), "put_many": ([1],), "get_many": (1,)}[call]
    if call == "put" and not bounded:
        subject.put(1, True, -1)
        return
    for timeout, error in ((-1, ValueError), ("soon", TypeError), (math.nan, ValueError)):
        with pytest.raises(error):
            getattr(subject, call)(*arguments, timeout)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        getattr(subject, call)(*arguments, timeout=-0.001)
    assert subject.empty()


@every_native
def test_wrong_arguments_raise_type_errors(make: Make) -> None:
    subject = make()
    calls: list[Callable[[], Any]] = [
        lambda: subject.put(),
        lambda: subject.put(1, 2, 3, 4),
        lambda: subject.put(1, item=2),
        lambda: subject.put(1, blocking=True),
        lambda: subject.get(1, 2, 3),
        lambda: subject.get(wait=1),
        lambda: subject.put_nowait(),
        lambda: subject.put_many(5),
        lambda: subject.get_many(),
        lambda: subject.get_many("2"),
        lambda: subject.qsize(1),
        lambda: make(1, 2),
        lambda: make(size=1),
        lambda: make("big"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    for most in (0, -3):
        with pytest.raises(ValueError, match="'max' must be a positive number"):
            subject.get_many(most)
    assert subject.empty()


def test_wrong_options_raise_clear_errors() -> None:
    with pytest.raises(ValueError, match="overflow must be 'block', 'raise'"):
        queue.Queue(overflow="explode")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_drop must be callable or None"):
        queue.Queue(on_drop=5)  # type: ignore[arg-type]
    for policy in ({}, {"overflow": "block"}, {"overflow": "raise"}):
        with pytest.raises(ValueError, match="on_drop is never called unless overflow is"):
            queue.Queue(on_drop=print, **policy)  # type: ignore[arg-type]
        queue.Queue(on_drop=None, **policy)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key must be callable or None"):
        queue.PriorityQueue(key=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'key'"):
        queue.Queue(key=len)  # type: ignore[call-arg]


@every_native
def test_keywords_work_as_in_the_stdlib(make: Make) -> None:
    subject = make()
    subject.put(item=1, block=True, timeout=None)
    subject.put_nowait(item=2)
    assert sorted([subject.get(block=0), subject.get(timeout=5, block=True)]) == [1, 2]


def test_classes_are_related_as_in_the_stdlib() -> None:
    for name, kind in CLASSES.items():
        assert isinstance(kind, type)
        assert issubclass(kind, queue.Queue)
        assert (kind.__name__, kind.__module__) == (name, "counterpoint.queue")
    assert queue.Empty is stdlib.Empty
    assert queue.Full is stdlib.Full
    if hasattr(stdlib, "ShutDown"):
        assert queue.ShutDown is stdlib.ShutDown
    # A method of the base class operates in the order of the object.
    stack = queue.LifoQueue()
    for item in (1, 2):
        queue.Queue.put(stack, item)
    assert queue.Queue.get(stack) == 2


@every_native
def test_references_are_let_go(make: Make) -> None:
    class Item:
        def __lt__(self, other: object) -> bool:
            return False

    subject = make()
    item = Item()
    reference = weakref.ref(item)
    subject.put(item)
    del item
    assert reference() is subject.peek()
    subject.get()
    assert reference() is None


@every_native
def test_a_cycle_through_a_queue_is_collected(make: Make) -> None:
    subject = make()
    subject.put(subject)
    if not isinstance(subject, queue.SimpleQueue):
        subject.me = subject
    reference = weakref.ref(subject)
    del subject
    assert is_collected(reference)


@every_bounded
def test_a_cycle_through_options_is_collected(make: Make) -> None:
    class Policy:
        subject: Any = None

        def __call__(self, item: Any) -> None:
            """Never called."""

    policy = Policy()
    policy.subject = make(3, overflow="drop_newest", on_drop=policy)
    reference = weakref.ref(policy.subject)
    del policy
    assert is_collected(reference)


@every_bounded
def test_a_queue_dies_without_the_collector(make: Make) -> None:
    gc.collect()
    gc.disable()
    try:
        subject = make()
        subject.put_many([1, 2])
        reference = weakref.ref(subject)
        del subject
        assert reference() is None
    finally:
        gc.enable()


@every_queue
def test_copies_are_refused_with_the_stdlib_s_words(make: Make) -> None:
    subject = make()
    theirs = stdlib.SimpleQueue() if isinstance(subject, queue.SimpleQueue) else stdlib.Queue()
    for refused in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as raised:
            refused(subject)
        if refused is not copy.copy or isinstance(subject, queue.SimpleQueue):
            with pytest.raises(TypeError) as expected:
                refused(theirs)
            assert str(raised.value) == str(expected.value)


def test_instances_have_what_the_stdlib_s_have() -> None:
    subject = queue.Queue()
    subject.colour = "red"  # type: ignore[attr-defined]
    assert subject.__dict__ == {"colour": "red"}
    with pytest.raises(AttributeError):
        queue.SimpleQueue().colour = "red"  # type: ignore[attr-defined]
    assert repr(queue.Queue[int]) == "counterpoint.queue.Queue[int]"
    assert repr(subject).startswith("<counterpoint.queue.Queue object at 0x")


@every_native
def test_an_empty_queue_is_small_and_an_item_costs_little(make: Make) -> None:
    subject = make()
    empty = sys.getsizeof(subject)
    assert empty < 220
    subject.put_many(range(100_000))
    assert (sys.getsizeof(subject) - empty) / 100_000 < 8.6
    subject.get_many(100_000)
    assert subject.empty()


def test_a_queue_made_anew_is_empty() -> None:
    subject = queue.Queue(1)
    subject.put(1)
    subject.__init__(2)  # type: ignore[misc]
    assert (subject.maxsize, subject.qsize()) == (2, 0)
