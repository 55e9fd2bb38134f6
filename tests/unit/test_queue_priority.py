"""The order of `PriorityQueue`: the same as Python's, natively or by asking Python."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest

from counterpoint import queue
from tests.queues import is_native
from tests.support import DEADLINE, eventually, result, spawn

BIG = 2**80
SAMPLES: dict[str, list[Any]] = {
    "int": [5, -3, 0, 2**62, -(2**63), 7, 7, True, False, 12],
    "big int": [BIG, -BIG, BIG + 1, 0, 5, -5],
    "float": [0.5, -0.0, 0.0, math.inf, -math.inf, 1e300, 2.5],
    "mixed": [1, 1.5, 2**53 + 1, 2.0**53, -1, -1.5, BIG, 1e30, Fraction(1, 3)],
    "str": ["b", "a", "", "ä", "aa", "\U0001f600", "z", "\ud800", "a\0"],
    "bytes": [b"b", b"", b"a\0", b"\xff", b"ab"],
    "tuple": [(1, "b"), (1, "a"), (0,), (), (1,), (2.0, b"x"), (1, "a", 3)],
    "nested": [((1, 2), "x"), ((1,), "y"), ((0, (5, 6)), "z"), ((0, (5, 5)), "")],
    "list": [[3], [1, 2], [1], []],
}


@pytest.mark.parametrize("options", [{}, {"key": lambda item: item}], ids=["plain", "key"])
@pytest.mark.parametrize("items", SAMPLES.values(), ids=list(SAMPLES))
def test_the_order_is_python_s(items: list[Any], options: dict[str, Any]) -> None:
    for seed in range(10):
        shuffled = random.Random(seed).sample(items, len(items))
        subject: queue.PriorityQueue[Any] = queue.PriorityQueue(**options)
        subject.put_many(shuffled)
        assert [subject.get() for _ in items] == sorted(items)
        assert is_native(subject)


def test_a_long_run_against_heapq() -> None:
    source = random.Random(3)
    subject: queue.PriorityQueue[Any] = queue.PriorityQueue()
    heap: list[Any] = []
    for step in range(20_000):
        if heap and source.random() < 0.49:
            assert subject.get() == heapq.heappop(heap)
        else:
            item = (source.randrange(50), source.random(), step)
            subject.put(item)
            heapq.heappush(heap, item)


def test_nan_neither_hangs_nor_loses_anything() -> None:
    subject: queue.PriorityQueue[float] = queue.PriorityQueue()
    subject.put_many([1.0, math.nan, 0.0, math.nan, -1.0])
    seen = [subject.get() for _ in range(5)]
    assert sorted(item for item in seen if item == item) == [-1.0, 0.0, 1.0]


def test_items_that_cannot_be_compared_raise_and_leave_the_queue_as_it_was() -> None:
    subject: queue.PriorityQueue[Any] = queue.PriorityQueue()
    subject.put((1, {}))
    for bad in ((1, {"a": 1}), "text", object()):
        with pytest.raises(TypeError, match="'<' not supported"):
            subject.put(bad)
    assert (subject.qsize(), subject.unfinished_tasks) == (1, 1)
    subject.put((0, {}))
    assert [subject.get(), subject.get()] == [(0, {}), (1, {})]


def test_keys_decide_and_items_are_never_compared() -> None:
    class Job:
        def __init__(self, urgency: Any) -> None:
            self.urgency = urgency

        __lt__ = __gt__ = __eq__ = None  # type: ignore[assignment]
        __hash__ = object.__hash__

    for convert in (int, Fraction, lambda number: [number]):
        subject: queue.PriorityQueue[Job] = queue.PriorityQueue(key=lambda job: job.urgency)
        jobs = [Job(convert(number)) for number in (2, 1, 2, 1, 0, 2)]
        subject.put_many(jobs)
        got = [id(subject.get()) for _ in jobs]
        places = [id(job) for job in jobs]
        assert [places.index(job) for job in got] == [4, 1, 3, 0, 2, 5]


def test_a_key_that_fails_puts_nothing() -> None:
    subject: queue.PriorityQueue[str] = queue.PriorityQueue(key=int)
    subject.put_many(["3", "1"])
    with pytest.raises(ValueError, match="invalid literal"):
        subject.put("many")
    with pytest.raises(ValueError, match="invalid literal"):
        subject.put_many(["0", "many"])
    assert [subject.get(), subject.get(), subject.qsize()] == ["1", "3", 0]


@dataclass(order=True)
class Task:
    urgency: int
    name: str = field(compare=False)


def test_a_comparison_in_python_that_fails_midway() -> None:
    class Moody:
        left = 0

        def __init__(self, number: int) -> None:
            self.number = number

        def __lt__(self, other: Moody) -> bool:
            Moody.left -= 1
            if Moody.left == 0:
                raise ArithmeticError
            return self.number < other.number

    def run(after: int) -> int:
        """One put and one get, whose comparison number `after` fails; how many failed."""
        Moody.left = failed = 0
        subject: queue.PriorityQueue[Moody] = queue.PriorityQueue()
        subject.put_many([Moody(number) for number in (5, 3, 8, 1, 9, 2, 7)])
        Moody.left = after
        got: list[Moody] = []
        try:
            subject.put(Moody(0))
        except ArithmeticError:
            failed += 1
        try:
            got.append(subject.get())
        except ArithmeticError:
            failed += 1
        Moody.left = 0
        rest = [item.number for item in [*got, *subject.get_many(20)]]
        assert rest == sorted(rest)
        assert {*rest, 0} == {0, 1, 2, 3, 5, 7, 8, 9}
        return failed

    assert sum(run(after) for after in range(1, 14)) >= 5


def test_drop_oldest_drops_by_arrival_not_by_priority() -> None:
    dropped: list[Task] = []
    subject = queue.PriorityQueue(2, overflow="drop_oldest", on_drop=dropped.append)
    tasks = [Task(number, "") for number in (1, 9, 5, 3)]
    subject.put_many(tasks)
    assert dropped == tasks[:2]
    assert subject.get_many(5) == [tasks[3], tasks[2]]


def test_a_put_that_python_has_to_compare_keeps_a_lowered_bound() -> None:
    dropped: list[Task] = []
    subject = queue.PriorityQueue(4, overflow="drop_oldest", on_drop=dropped.append)
    tasks = [Task(number, "") for number in (4, 9, 5, 3, 7)]
    subject.put_many(tasks[:4])
    subject.maxsize = 2
    subject.put(tasks[4])
    assert dropped == tasks[:3]
    assert subject.get_many(5) == [tasks[3], tasks[4]]


def test_others_wait_while_python_compares() -> None:
    inside, go_on = spawn_gate()

    class Slow:
        def __init__(self, number: int) -> None:
            self.number = number

        def __lt__(self, other: Slow) -> bool:
            if self.number == 0 or other.number == 0:
                inside.set()
                assert go_on.wait(DEADLINE)
            return self.number < other.number

    subject: queue.PriorityQueue[Slow] = queue.PriorityQueue()
    subject.put(Slow(1))
    putting = spawn(subject.put, Slow(0))
    assert inside.wait(DEADLINE)
    assert subject.qsize() == 1
    getting = spawn(subject.get_nowait)
    other = spawn(subject.put, Slow(2))
    assert not getting.done()
    assert not other.done()
    go_on.set()
    result(putting)
    result(other)
    assert result(getting).number in (0, 1)
    eventually(lambda: subject.qsize() == 2)


def spawn_gate() -> tuple[Any, Any]:
    from counterpoint import threading

    return threading.Event(), threading.Event()
