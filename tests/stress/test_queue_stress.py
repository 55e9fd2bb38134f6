"""A million operations of threads and tasks on one queue: nothing lost, doubled or stuck."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import queue
from tests.support import LoopThread, loops, result, spawn

PRODUCERS = 4
CONSUMERS = 4

MAKERS: dict[str, Callable[[], Any]] = {
    "Queue": queue.Queue,
    "Queue(1)": lambda: queue.Queue(1),
    "Queue(16)": lambda: queue.Queue(16),
    "LifoQueue": queue.LifoQueue,
    "PriorityQueue": queue.PriorityQueue,
    "PriorityQueue(key)": lambda: queue.PriorityQueue(key=lambda item: item[1]),
    "SimpleQueue": queue.SimpleQueue,
}
ORDERED = ("Queue", "Queue(1)", "Queue(16)", "SimpleQueue")
END = (10**9, 10**9)

# Items for each queue: half a million puts and as many gets where both are cheap.
ITEMS = {"Queue": 500_000, "SimpleQueue": 200_000, "Queue(16)": 60_000, "Queue(1)": 12_000}


def produce(subject: Any, producer: int, count: int) -> None:
    for number in range(count):
        subject.put((producer, number))


def consume(subject: Any) -> list[tuple[int, int]]:
    seen = []
    while (item := subject.get()) != END:
        seen.append(item)
    return seen


def check(name: str, seen: list[list[tuple[int, int]]], count: int) -> None:
    counted = Counter(item for items in seen for item in items)
    expected = {(producer, number) for producer in range(PRODUCERS) for number in range(count)}
    assert set(counted) == expected
    assert max(counted.values()) == 1
    if name in ORDERED:
        for items in seen:
            for producer in range(PRODUCERS):
                own = [number for who, number in items if who == producer]
                assert own == sorted(own)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", list(MAKERS))
def test_threads(name: str) -> None:
    subject = MAKERS[name]()
    count = ITEMS.get(name, 80_000) // PRODUCERS
    consuming = [spawn(consume, subject) for _ in range(CONSUMERS)]
    producing = [spawn(produce, subject, producer, count) for producer in range(PRODUCERS)]
    for each in producing:
        each.result(200)
    for _ in consuming:
        # A LIFO queue would hand the end out first.
        while name == "LifoQueue" and not subject.empty():
            pass
        subject.put(END)
    check(name, [each.result(200) for each in consuming], count)
    seen = subject.statistics()
    assert (seen.size, seen.getters, seen.putters) == (0, 0, 0)
    assert seen.puts == seen.gets == PRODUCERS * count + CONSUMERS


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["Queue(1)", "Queue(16)", "SimpleQueue", "PriorityQueue"])
def test_threads_and_tasks_with_cancellations(name: str) -> None:
    subject = MAKERS[name]()
    count = 1500
    seen: list[list[tuple[int, int]]] = []

    async def consumer(done: asyncio.Event) -> None:
        mine: list[tuple[int, int]] = []
        seen.append(mine)
        while (item := await subject.async_get()) != END:
            mine.append(item)
        done.set()

    async def disturbed(seed: int) -> None:
        source = random.Random(seed)
        done = asyncio.Event()
        while not done.is_set():
            task = asyncio.create_task(consumer(done))
            for _ in range(source.randrange(20)):
                await asyncio.sleep(0)
            if not done.is_set():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def put_all(producer: int) -> None:
        for number in range(count):
            while True:
                try:
                    async with asyncio.timeout(0.001):
                        await subject.async_put((producer, number))
                    break
                except TimeoutError:
                    continue

    def from_loop(loop: LoopThread, producer: int) -> Any:
        return loop.start(put_all(producer))

    with loops(2) as [one, two]:
        consuming = [one.start(disturbed(1)), two.start(disturbed(2)), one.start(disturbed(3))]
        threads = [spawn(consume, subject)]
        producing = [from_loop(one, 0), from_loop(two, 1)]
        producing += [spawn(produce, subject, producer, count) for producer in (2, 3)]
        for each in producing:
            each.result(200)
        for _ in range(len(consuming) + len(threads)):
            subject.put(END)
        for each in consuming:
            each.result(200)
        seen.extend(each.result(200) for each in threads)
    check("cancelled", seen, count)
    left = subject.statistics()
    assert (left.size, left.getters, left.putters) == (0, 0, 0)


@pytest.mark.timeout(240)
def test_comparisons_in_python_from_many_threads() -> None:
    class Item:
        def __init__(self, value: tuple[int, int]) -> None:
            self.value = value

        def __lt__(self, other: Item) -> bool:
            return self.value < other.value

    subject: queue.PriorityQueue[Item] = queue.PriorityQueue(64)
    count = 1500

    def put_all(producer: int) -> None:
        for number in range(count):
            subject.put(Item((producer, number)))

    def take_all() -> list[tuple[int, int]]:
        return [item.value for item in subject]

    consuming = [spawn(take_all) for _ in range(CONSUMERS)]
    producing = [spawn(put_all, producer) for producer in range(PRODUCERS)]
    for each in producing:
        each.result(200)
    subject.shutdown()
    check("compared", [each.result(200) for each in consuming], count)


@pytest.mark.timeout(240)
def test_moving_to_compatible_mode_in_mid_use() -> None:
    for _ in range(10):
        subject: queue.Queue[tuple[int, int]] = queue.Queue(16)
        count = 400
        consuming = [spawn(consume, subject) for _ in range(CONSUMERS)]
        producing = [spawn(produce, subject, producer, count) for producer in range(PRODUCERS)]
        moving = spawn(lambda q=subject: q.not_empty)
        for each in producing:
            each.result(200)
        result(moving)
        for _ in consuming:
            subject.put(END)
        check("Queue", [each.result(200) for each in consuming], count)
