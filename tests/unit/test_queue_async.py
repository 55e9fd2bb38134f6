"""Queues that threads and the tasks of several event loops share."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import queue
from counterpoint._queue import classes
from counterpoint._queue.compatible import Compatible
from tests.queues import every_bounded, every_queue, getters, putters
from tests.support import DEADLINE, eventually, eventually_async, loops, result, run_async, spawn

Make = Callable[..., Any]


@every_queue
def test_a_task_waits_for_an_item_from_a_thread(make: Make) -> None:
    subject = make()

    async def main() -> Any:
        got = asyncio.create_task(subject.async_get())
        await eventually_async(lambda: getters(subject) == 1)
        put = spawn(subject.put, 7)
        item = await got
        result(put)
        return item

    assert run_async(main()) == 7


@every_queue
def test_a_task_waits_for_an_item_from_its_own_loop(make: Make) -> None:
    async def main() -> Any:
        subject = make()
        got = asyncio.create_task(subject.async_get_many(9))
        await eventually_async(lambda: getters(subject) == 1)
        await subject.async_put(7)
        return await got

    assert run_async(main()) == [7]


@every_bounded
def test_a_task_waits_for_room(make: Make) -> None:
    async def main() -> None:
        subject = make(1)
        await subject.async_put(1)
        put = asyncio.create_task(subject.async_put(2))
        many = asyncio.create_task(subject.async_put_many([3, 4]))
        await eventually_async(lambda: putters(subject) == 2)
        seen = [await subject.async_get(timeout=DEADLINE) for _ in range(4)]
        await put
        await many
        assert sorted(seen) == [1, 2, 3, 4]

    run_async(main())


@every_queue
def test_threads_and_loops_share_one_queue(make: Make) -> None:
    subject = make()

    async def take(count: int) -> list[int]:
        return [await subject.async_get() for _ in range(count)]

    with loops(3) as running:
        taking = [loop.start(take(50)) for loop in running]
        taking.append(spawn(lambda: [subject.get() for _ in range(50)]))
        placing = [spawn(subject.put_many, range(100 * part, 100 * part + 100)) for part in (0, 1)]
        seen = [item for each in taking for item in result(each)]
        assert [result(each) for each in placing] == [None, None]
        assert sorted(seen) == list(range(200))


@every_bounded
def test_times_run_out_for_tasks(make: Make) -> None:
    async def main() -> None:
        subject = make(1)
        for timeout in (0.01, 0, -1):
            with pytest.raises(queue.Empty):
                await subject.async_get(timeout)
            with pytest.raises(queue.Empty):
                await subject.async_get_many(3, timeout=timeout)
        subject.put(1)
        for timeout in (0.01, 0, -1):
            with pytest.raises(queue.Full):
                await subject.async_put(2, timeout)
            with pytest.raises(queue.Full):
                await subject.async_put_many([2], timeout)
        with pytest.raises(TimeoutError):
            await subject.async_join(timeout=0.01)
        assert (getters(subject), putters(subject)) == (0, 0)
        assert (subject.get(), subject.qsize()) == (1, 0)

    run_async(main())


@every_bounded
def test_shutting_down_ends_the_waits_of_tasks(make: Make) -> None:
    async def main() -> None:
        empty, full = make(), make(1)
        full.put(1)
        waits = [empty.async_get(), empty.async_get_many(2), full.async_put(2)]
        tasks = [asyncio.create_task(wait) for wait in waits]
        await eventually_async(lambda: getters(empty) == 2 and putters(full) == 1)
        empty.shutdown()
        full.shutdown()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, queue.ShutDown)

    run_async(main())


@every_bounded
def test_asynchronous_iteration_ends_with_the_queue(make: Make) -> None:
    async def main() -> None:
        subject = make()

        async def read() -> list[int]:
            return [item async for item in subject]

        reading = asyncio.create_task(read())
        await subject.async_put_many(range(5))
        subject.shutdown()
        assert sorted(await reading) == list(range(5))

    run_async(main())


@every_bounded
def test_join_for_tasks(make: Make) -> None:
    async def main() -> None:
        subject = make()
        subject.put_many([1, 2])
        joined = asyncio.create_task(subject.async_join())
        for _ in range(2):
            await subject.async_get()
            assert not joined.done()
            subject.task_done()
        await joined

    run_async(main())


@every_bounded
def test_a_moment_with_nothing_to_do_is_enough_for_a_task_that_joins(make: Make) -> None:
    """As in asyncio."""

    async def main() -> None:
        subject = make()
        subject.put(1)
        joined = asyncio.create_task(subject.async_join())
        for _ in range(5):
            await asyncio.sleep(0)  # the task is in line after its first step
        subject.task_done()
        subject.put(2)
        await joined
        with pytest.raises(TimeoutError):
            await subject.async_join(timeout=0.01)
        with pytest.raises(TimeoutError):
            subject.join(timeout=0.01)
        subject.task_done()
        await subject.async_join()

    run_async(main())


@every_queue
def test_a_cancelled_get_takes_nothing(make: Make) -> None:
    async def main() -> None:
        subject = make()
        getting = asyncio.create_task(subject.async_get())
        await eventually_async(lambda: getters(subject) == 1)
        # The item and the cancellation arrive in the same turn of the loop.
        subject.put(1)
        getting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await getting
        assert (subject.qsize(), getters(subject)) == (1, 0)
        assert await subject.async_get(timeout=DEADLINE) == 1

    run_async(main())


@every_queue
def test_a_cancelled_get_lets_the_next_one_have_the_item(make: Make) -> None:
    async def main() -> None:
        subject = make()
        first = asyncio.create_task(subject.async_get())
        await eventually_async(lambda: getters(subject) == 1)
        second = asyncio.create_task(subject.async_get())
        await eventually_async(lambda: getters(subject) == 2)
        subject.put(1)
        first.cancel()
        assert await second == 1

    run_async(main())


@every_bounded
def test_a_cancelled_put_puts_nothing(make: Make) -> None:
    async def main() -> None:
        subject = make(1)
        subject.put(1)
        putting = asyncio.create_task(subject.async_put(2))
        other = asyncio.create_task(subject.async_put(3))
        await eventually_async(lambda: putters(subject) == 2)
        assert subject.get() == 1
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await other
        assert (subject.get(), subject.qsize(), subject.unfinished_tasks) == (3, 0, 2)

    run_async(main())


@every_queue
def test_a_storm_of_cancellations_loses_nothing(make: Make) -> None:
    items = 2000
    source = random.Random(11)

    async def main() -> None:
        subject = make()
        seen: list[int] = []

        async def consume() -> None:
            while True:
                seen.append(await subject.async_get())

        consumers = [asyncio.create_task(consume()) for _ in range(20)]
        producer = spawn(lambda: [subject.put(item) for item in range(items)])
        while len(seen) < items:
            at = source.randrange(len(consumers))
            consumers[at].cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumers[at]
            consumers[at] = asyncio.create_task(consume())
            await asyncio.sleep(0)
        result(producer)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        assert sorted(seen) == list(range(items))
        assert (subject.qsize(), getters(subject)) == (0, 0)

    run_async(main())


@every_bounded
def test_a_storm_of_timeouts_loses_nothing(make: Make) -> None:
    items = 300

    async def main() -> None:
        subject = make(2)
        seen: list[int] = []
        pending = iter(range(items))

        async def produce() -> None:
            for item in pending:
                while True:
                    try:
                        await subject.async_put(item, timeout=0.0005)
                        break
                    except queue.Full:
                        continue

        async def consume() -> None:
            while len(seen) < items:
                try:
                    seen.append(await asyncio.wait_for(subject.async_get(), 0.0005))
                except TimeoutError:
                    continue

        await asyncio.gather(*(produce() for _ in range(4)), *(consume() for _ in range(4)))
        assert sorted(seen) == list(range(items))

    run_async(main())


@every_queue
def test_a_loop_that_is_gone_passes_its_item_on(make: Make) -> None:
    subject = make()
    with loops(1) as [other]:
        doomed = other.start(subject.async_get())
        eventually(lambda: getters(subject) == 1)
        other.stop()
    waiting = spawn(subject.get)
    eventually(lambda: getters(subject) == 2)
    subject.put(1)
    assert result(waiting) == 1
    del doomed
    gc.collect()


test_a_loop_that_is_gone_passes_its_item_on = pytest.mark.filterwarnings("ignore")(
    test_a_loop_that_is_gone_passes_its_item_on
)


def test_objects_that_only_python_compares_reach_tasks() -> None:
    async def main() -> None:
        subject: queue.PriorityQueue[list[int]] = queue.PriorityQueue(1)
        await subject.async_put([3])
        more = asyncio.create_task(subject.async_put_many([[2], [1], [5]]))
        await eventually_async(lambda: putters(subject) == 1)
        subject.maxsize = 9
        await more
        assert await subject.async_get_many(9) == [[1], [2], [3], [5]]
        with pytest.raises(TypeError, match="'<' not supported"):
            await subject.async_put_many([[1], 5])  # type: ignore[list-item]
        assert await subject.async_get() == [1]

    run_async(main())


def test_all_items_of_a_put_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now, timeouts = 100.0, list[float | None]()

    async def async_put(_: object, __: object, ___: object, timeout: float | None) -> None:
        nonlocal now
        timeouts.append(timeout)
        now += 0.25

    subject = queue.Queue[int]()
    assert subject.mutex is not None
    monkeypatch.setattr(classes, "monotonic", lambda: now)
    monkeypatch.setattr(Compatible, "async_put", async_put)
    run_async(subject.async_put_many([1, 2, 3], timeout=1))
    run_async(subject.async_put_many([1, 2]))
    assert timeouts == [1, 0.75, 0.5, None, None]
