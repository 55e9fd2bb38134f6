"""What a full queue does, whichever way an item comes: from a thread or a task, alone or not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import queue
from tests.queues import every_bounded, putters
from tests.support import DEADLINE, eventually_async, run_async

Make = Callable[..., Any]
Put = Callable[[Any, list[Any]], None]


def _each(subject: Any, items: list[Any]) -> None:
    for item in items:
        subject.put(item)


def _each_in_time(subject: Any, items: list[Any]) -> None:
    for item in items:
        subject.put(item, timeout=DEADLINE)


def _awaited(*, timeout: float | None) -> Put:
    def put(subject: Any, items: list[Any]) -> None:
        async def main() -> None:
            for item in items:
                await subject.async_put(item, timeout)

        run_async(main())

    return put


def _many_awaited(*, timeout: float | None) -> Put:
    return lambda subject, items: run_async(subject.async_put_many(items, timeout))


WAYS: dict[str, Put] = {
    "put": _each,
    "put-timeout": _each_in_time,
    "put_many": lambda subject, items: subject.put_many(items),
    "async_put": _awaited(timeout=None),
    "async_put-timeout": _awaited(timeout=DEADLINE),
    "async_put-now": _awaited(timeout=0),
    "async_put_many": _many_awaited(timeout=None),
    "async_put_many-timeout": _many_awaited(timeout=DEADLINE),
}
every_way = pytest.mark.parametrize("put", WAYS.values(), ids=list(WAYS))


def drained(subject: Any) -> list[Any]:
    return sorted(subject.get_many(99))


@every_bounded
@every_way
def test_raise_refuses_at_once(make: Make, put: Put) -> None:
    subject = make(2, overflow="raise")
    with pytest.raises(queue.Full):
        put(subject, [5, 3, 4])
    # One at a time or together: the first two had room.
    assert drained(subject) == [3, 5]
    assert putters(subject) == 0


@every_bounded
@every_way
def test_drop_newest_turns_away(make: Make, put: Put) -> None:
    dropped: list[int] = []
    subject = make(2, overflow="drop_newest", on_drop=dropped.append)
    put(subject, [5, 3, 4, 9])
    assert (dropped, subject.unfinished_tasks) == ([4, 9], 2)
    assert drained(subject) == [3, 5]


@every_bounded
@every_way
def test_drop_oldest_makes_room(make: Make, put: Put) -> None:
    dropped: list[int] = []
    subject = make(2, overflow="drop_oldest", on_drop=dropped.append)
    put(subject, [5, 3, 4, 9])
    assert (dropped, subject.unfinished_tasks) == ([5, 3], 2)
    assert drained(subject) == [4, 9]


@every_bounded
@every_way
def test_block_takes_what_fits(make: Make, put: Put) -> None:
    subject = make(2, overflow="block")
    put(subject, [5, 3])
    assert drained(subject) == [3, 5]


@every_bounded
@pytest.mark.parametrize("many", [False, True], ids=["async_put", "async_put_many"])
def test_block_lets_a_task_wait_for_room(make: Make, many: bool) -> None:
    async def main() -> None:
        subject = make(1, overflow="block")
        subject.put(1)
        waiting = subject.async_put_many([2]) if many else subject.async_put(2)
        putting = asyncio.create_task(waiting)
        await eventually_async(lambda: putters(subject) == 1)
        assert [await subject.async_get(), await subject.async_get(DEADLINE)] == [1, 2]
        await putting

    run_async(main())


@every_bounded
@every_way
def test_what_on_drop_raises_is_reported_and_the_put_holds(
    make: Make, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))

    def refuse(item: int) -> None:
        raise KeyError(item)

    subject = make(1, overflow="drop_oldest", on_drop=refuse)
    put(subject, [1, 2])
    assert [error.args for error in reports] == [(1,)]
    assert drained(subject) == [2]


@every_bounded
@every_way
def test_on_drop_may_put_into_another_queue(make: Make, put: Put) -> None:
    overflown: queue.Queue[int] = queue.Queue()
    subject = make(1, overflow="drop_newest", on_drop=overflown.put)
    put(subject, [1, 2, 3])
    assert (drained(subject), overflown.get_many(9)) == ([1], [2, 3])
