"""Every lock under many threads and tasks at once: exclusion, nothing lost, an end for everyone."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import pytest

from counterpoint import threading
from tests.support import LoopThread, eventually, loops, spawn
from tests.waits import WAITS, Wait

# A million operations on a Lock and an RLock each, and a part of it on the others, as their speeds
# demand: `docs/internals/locks.md` has the numbers.
OPERATIONS = int(os.environ.get("COUNTERPOINT_STRESS_OPERATIONS", "1000000"))
THREADS = 6
PATIENCE = 55.0

pytestmark = pytest.mark.timeout(240)


def all_end(futures: list[Future[Any]]) -> None:
    """Waits for all, and shows the first error."""
    end = time.monotonic() + PATIENCE
    for future in futures:
        future.result(max(0.1, end - time.monotonic()))


class Counter:
    """A number that loses increments unless something excludes the others."""

    def __init__(self) -> None:
        self.value = self.inside = 0

    def increase(self) -> None:
        self.inside += 1
        assert self.inside == 1
        value = self.value
        self.value = value + 1
        self.inside -= 1


EXCLUDERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "Lock": threading.Lock,
    "RLock": threading.RLock,
    "Semaphore": threading.Semaphore,
    "BoundedSemaphore": threading.BoundedSemaphore,
    "Condition": threading.Condition,
    "Condition-Lock": lambda: threading.Condition(threading.Lock()),
    "WriteLock": lambda: threading.RWLock().write_lock,
    "WriteLock-fair": lambda: threading.RWLock("fair").write_lock,
    "CapacityLimiter": lambda: threading.CapacityLimiter(1),
}


# Those that hand over each time cost a switch of threads for each operation.
PARTS = {"Lock": 1, "RLock": 1, "CapacityLimiter": 100, "WriteLock-fair": 100}


@pytest.mark.parametrize("name", EXCLUDERS)
def test_threads_exclude_each_other(name: str) -> None:
    lock, counter = EXCLUDERS[name](), Counter()
    share = OPERATIONS // PARTS.get(name, 12) // THREADS

    def work() -> None:
        for _ in range(share):
            with lock:
                counter.increase()

    all_end([spawn(work) for _ in range(THREADS)])
    assert counter.value == share * THREADS


@pytest.mark.parametrize("name", EXCLUDERS)
def test_threads_and_tasks_exclude_each_other(name: str) -> None:
    lock: Any = EXCLUDERS[name]()
    counter = Counter()
    share = OPERATIONS // 2000

    def in_thread() -> None:
        for _ in range(share):
            with lock:
                counter.increase()

    async def in_task() -> None:
        for _ in range(share):
            async with lock:
                counter.increase()
                await asyncio.sleep(0)

    with loops(2) as running:
        futures: list[Future[Any]] = [spawn(in_thread) for _ in range(2)]
        futures += [loop.start(in_task()) for loop in running for _ in range(2)]
        all_end(futures)
    assert counter.value == share * len(futures)


def test_readers_and_writers_see_whole_states() -> None:
    for mode in ("writer", "fair"):
        lock = threading.RWLock(mode)  # type: ignore[arg-type]
        pair = [0, 0]

        def write(lock: threading.RWLock = lock, pair: list[int] = pair) -> None:
            for _ in range(OPERATIONS // 1000):
                with lock.write_lock:
                    pair[0] += 1
                    pair[1] += 1

        def read(lock: threading.RWLock = lock, pair: list[int] = pair) -> None:
            for _ in range(OPERATIONS // 400):
                with lock.read_lock:
                    assert pair[0] == pair[1]

        all_end([spawn(write) for _ in range(2)] + [spawn(read) for _ in range(4)])
        assert pair == [OPERATIONS // 500] * 2
        assert lock.waiters == lock.readers == 0


def test_permits_are_neither_lost_nor_made() -> None:
    semaphore = threading.Semaphore(3)
    inside = threading.Semaphore(3)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(OPERATIONS // 60):
            if semaphore.acquire(timeout=chance.choice((0, 0.00001, 0.001, 1.0))):
                assert inside.acquire(blocking=False)
                inside.release()
                semaphore.release()

    all_end([spawn(work, seed) for seed in range(THREADS)])
    assert (semaphore._value, semaphore.waiters) == (3, 0)


def test_every_notification_has_its_receiver() -> None:
    """Producers and consumers through a condition: as many tokens come out as went in."""
    condition = threading.Condition()
    tokens = 0
    share = OPERATIONS // 400

    def produce() -> None:
        nonlocal tokens
        for _ in range(share):
            with condition:
                tokens += 1
                condition.notify()

    def consume() -> None:
        nonlocal tokens
        for _ in range(share):
            with condition:
                condition.wait_for(lambda: tokens > 0)  # noqa: B023
                tokens -= 1

    async def consume_as_task() -> None:
        nonlocal tokens
        for _ in range(share):
            async with condition:
                await condition.async_wait_for(lambda: tokens > 0)  # noqa: B023
                tokens -= 1

    with loops() as [loop]:
        futures: list[Future[Any]] = [spawn(produce) for _ in range(4)]
        futures += [spawn(consume) for _ in range(3)] + [loop.start(consume_as_task())]
        all_end(futures)
    assert tokens == 0
    assert condition.waiters == 0


def test_generations_of_a_barrier_do_not_mix() -> None:
    parties = 4
    barrier = threading.Barrier(parties)
    rounds = OPERATIONS // 1000
    reached = [0] * parties

    def check(number: int, turn: int) -> None:
        reached[number] = turn
        # Nobody is a whole generation ahead or behind.
        assert max(reached) - min(reached) <= 1

    def in_thread(number: int) -> None:
        for turn in range(rounds):
            check(number, turn)
            barrier.wait()

    async def in_task(number: int) -> None:
        for turn in range(rounds):
            check(number, turn)
            await barrier.async_wait()

    with loops(2) as running:
        futures: list[Future[Any]] = [spawn(in_thread, number) for number in (0, 1)]
        futures += [loop.start(in_task(number + 2)) for number, loop in enumerate(running)]
        all_end(futures)
    assert (barrier.n_waiting, barrier.broken) == (0, False)


STORMY = [name for name in WAITS if name not in ("Event", "Barrier")]


@pytest.mark.parametrize("name", [n for n in STORMY if not n.startswith("Condition")])
def test_a_storm_of_cancellations_loses_nothing(name: str) -> None:
    """Tasks are cancelled, waits time out, threads mix in; in the end it is to be had."""
    wait = WAITS[name]
    subject: Any = {
        "ReadLock": threading.RWLock,
        "WriteLock": threading.RWLock,
        "CapacityLimiter": lambda: threading.CapacityLimiter(1),
        "Semaphore": lambda: threading.Semaphore(1),
        "BoundedSemaphore": threading.BoundedSemaphore,
        "Lock": threading.Lock,
        "RLock": threading.RLock,
    }[name]()
    counter, shared = Counter(), name == "ReadLock"

    async def hold(chance: random.Random) -> None:
        timeout = chance.choice((None, None, 0, 0.0001, 0.002))
        if await wait.async_take(subject, timeout):
            try:
                if not shared:
                    counter.increase()
                await asyncio.sleep(chance.choice((0, 0, 0.0002)))
            finally:
                wait.give(subject)

    async def storm(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(OPERATIONS // 20000):
            tasks = [asyncio.create_task(hold(chance)) for _ in range(20)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            for task in tasks:
                if chance.random() < 0.6:
                    task.cancel()
                if chance.random() < 0.2:
                    await asyncio.sleep(0)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            errors = [
                error
                for error in outcomes
                if error is not None and not isinstance(error, asyncio.CancelledError)
            ]
            assert not errors, errors

    def thunder(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(OPERATIONS // 2000):
            if wait.take(subject, chance.choice((0, 0.00001, 0.001, 1.0))):
                if not shared:
                    counter.increase()
                wait.give(subject)

    with loops(2) as running:
        futures: list[Future[Any]] = [loop.start(storm(n)) for n, loop in enumerate(running)]
        futures += [spawn(thunder, seed) for seed in range(2)]
        all_end(futures)
    assert subject.waiters == 0
    assert wait.take(subject, 0)
    wait.give(subject)


@pytest.mark.parametrize("name", ["Condition", "Condition-Lock"])
def test_cancelled_listeners_pass_on_what_they_were_told(name: str) -> None:
    condition = WAITS[name].make()
    tokens = 0

    async def take_one() -> None:
        nonlocal tokens
        async with condition:
            await condition.async_wait_for(lambda: tokens > 0)
            tokens -= 1

    async def storm(seed: int) -> int:
        chance, taken = random.Random(seed), 0
        for _ in range(OPERATIONS // 20000):
            tasks = [asyncio.create_task(take_one()) for _ in range(10)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            cancelled = {task for task in tasks if chance.random() < 0.5 and task.cancel()}
            # Those that were not cancelled must all be served, whoever was told in vain.
            with condition:
                nonlocal tokens
                tokens += 10
                condition.notify(10)
            await asyncio.wait(tasks)
            for task in tasks:
                if task.cancelled():
                    assert task in cancelled
                else:
                    assert task.result() is None  # or its error
                    taken += 1
        return taken

    with loops() as [loop]:
        outcome = loop.start(storm(1))
        all_end([outcome])
    assert outcome.result() == 10 * (OPERATIONS // 20000) - tokens > 0
    assert condition.waiters == 0
    assert not condition.locked()


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "WriteLock"])
@pytest.mark.parametrize("kind", ["thread", "task"])
def test_one_who_waits_is_not_starved_by_one_who_comes_again_and_again(
    name: str, kind: str
) -> None:
    wait: Wait = WAITS[name]
    subject: Any = {"WriteLock": threading.RWLock}.get(name, getattr(threading, name, None))()
    stop, turns = threading.Event(), 0

    def barge() -> int:
        """Takes it back in the moment in which it gives it up."""
        count = 0
        while not stop.is_set():
            assert wait.take(subject, None)
            count += 1
            wait.give(subject)
        return count

    async def take_as_task() -> None:
        assert await wait.async_take(subject, None)
        wait.give(subject)

    def take() -> None:
        assert wait.take(subject, None)
        wait.give(subject)

    barging = spawn(barge)
    loop = LoopThread()
    try:
        for _ in range(20):
            all_end([spawn(take) if kind == "thread" else loop.start(take_as_task())])
            turns += 1
    finally:
        stop.set()
        barging.result(PATIENCE)
        loop.close()
    assert turns == 20
    eventually(lambda: subject.waiters == 0)
