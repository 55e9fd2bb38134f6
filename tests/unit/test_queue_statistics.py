"""What queues count: items and waits, in both modes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import queue
from tests.queues import every_bounded, every_native, every_queue, getters, putters
from tests.support import eventually, interrupted, result, run_async, spawn

Make = Callable[..., Any]


@every_queue
def test_statistics_tell_what_happened(make: Make) -> None:
    subject = make()
    got = spawn(subject.get)
    eventually(lambda: getters(subject) == 1)
    subject.put(1)
    result(got)
    subject.put_many([2, 3])
    seen = subject.statistics()
    assert (seen.size, seen.puts, seen.gets, seen.max_size) == (2, 3, 1, 2)
    assert (seen.get_waits.count, seen.put_waits.count) == (1, 0)
    assert seen.get_waits.max > 0
    assert subject._meter.waits("get_waits") == seen.get_waits


@every_bounded
def test_statistics_count_the_waits_for_room(make: Make) -> None:
    subject = make(1)
    subject.put(1)
    put = spawn(subject.put, 2)
    eventually(lambda: putters(subject) == 1)
    subject.get()
    result(put)
    with pytest.raises(queue.Full):
        subject.put(3, timeout=0.001)
    seen = subject.statistics()
    assert (seen.get_waits.count, seen.put_waits.count) == (0, 2)
    assert subject._meter.waits("put_waits") == seen.put_waits


@every_queue
def test_an_interrupted_get_is_counted(make: Make) -> None:
    subject = make()
    with interrupted(lambda: getters(subject) == 1):
        subject.get()
    assert subject.statistics().get_waits.count == 1
    assert subject.statistics().getters == 0


@every_bounded
def test_an_interrupted_put_is_counted(make: Make) -> None:
    subject = make(1)
    subject.put(1)
    with interrupted(lambda: putters(subject) == 1):
        subject.put(2)
    assert subject.statistics().put_waits.count == 1


@every_queue
def test_a_cancelled_get_is_counted(make: Make) -> None:
    async def main() -> Any:
        subject = make()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(subject.async_get(), 0.01)
        return subject.statistics()

    seen = run_async(main())
    assert (seen.get_waits.count, seen.getters) == (1, 0)
    assert seen.get_waits.max > 0


@every_bounded
def test_a_cancelled_put_is_counted(make: Make) -> None:
    async def main() -> Any:
        subject = make(1)
        await subject.async_put(1)
        for put in (subject.async_put(2), subject.async_put_many([3, 4])):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(put, 0.01)
        return subject.statistics()

    seen = run_async(main())
    assert (seen.put_waits.count, seen.putters) == (2, 0)


def test_waits_before_and_after_a_move_add_up() -> None:
    subject = queue.Queue[int](1)
    for _ in range(2):
        with pytest.raises(queue.Empty):
            subject.get(timeout=0.001)
        assert subject.mutex is not None
    assert subject.statistics().get_waits.count == 2


@every_native
def test_a_meter_outlives_its_queue(make: Make) -> None:
    subject = make()
    meter = subject._meter
    subject.put_many([1, 2, 3])
    subject.get()
    del subject
    gc.collect()
    counts = meter.counts()
    assert {name: counts[name] for name in ("puts", "gets", "max_size")} == {
        "puts": 3,
        "gets": 1,
        "max_size": 3,
    }
