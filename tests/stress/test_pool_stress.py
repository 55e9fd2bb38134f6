"""The pool and its futures under many threads at once: nothing lost, doubled, left waiting."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future as StdlibFuture
from typing import Any

import pytest

from counterpoint import futures
from counterpoint._core import Collector
from counterpoint.futures import Future, ThreadPoolExecutor
from tests.support import DEADLINE, loops, spawn

# Everything below together makes about a million operations.
OPERATIONS = int(os.environ.get("COUNTERPOINT_STRESS_OPERATIONS", "1000000"))
PATIENCE = 55.0

pytestmark = pytest.mark.timeout(240)


def all_end(running: list[StdlibFuture[Any]]) -> None:
    """Waits for all, and shows the first error."""
    end = time.monotonic() + PATIENCE
    for each in running:
        each.result(max(0.1, end - time.monotonic()))


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_every_task_runs_once_whoever_submits_it(workers: int) -> None:
    count = OPERATIONS // 40
    ran: deque[tuple[int, int]] = deque()

    def submit(submitter: int) -> None:
        pending = [pool.submit(ran.append, (submitter, n)) for n in range(count)]
        assert all(each.result(PATIENCE) is None for each in pending)

    with ThreadPoolExecutor(workers) as pool:
        all_end([spawn(submit, n) for n in range(4)])
    assert len(ran) == len(set(ran)) == 4 * count
    if workers == 1:
        for submitter in range(4):
            mine = [n for who, n in ran if who == submitter]
            assert mine == sorted(mine)
    seen = pool.statistics()
    assert (seen.done, seen.queued, seen.running, seen.workers) == (4 * count, 0, 0, 0)
    assert seen.run_time.count == seen.done


def test_a_worker_sleeps_and_wakes_between_tasks() -> None:
    def rounds(seed: int) -> None:
        chance = random.Random(seed)
        for n in range(OPERATIONS // 400):
            assert pool.submit(abs, -n).result(PATIENCE) == n
            if chance.random() < 0.1:
                time.sleep(0.0001)

    with ThreadPoolExecutor(3) as pool:
        all_end([spawn(rounds, seed) for seed in range(3)])


def test_results_callbacks_and_cancellations_race() -> None:
    told: Counter[int] = Counter()
    lock = threading.Lock()

    def tell(future: Future[int]) -> None:
        with lock:
            told[id(future)] += 1

    def finish(pending: list[Future[int]], cancel: bool) -> None:
        for future in pending:
            try:
                future.cancel() if cancel else future.set_result(1)
            except futures.InvalidStateError:
                assert future.cancelled()

    for _ in range(OPERATIONS // 20_000):
        pending = [Future[int]() for _ in range(200)]
        told.clear()
        parties = [
            spawn(finish, pending, False),
            spawn(finish, pending, True),
            spawn(lambda p=pending: [f.add_done_callback(tell) for f in p]),
            spawn(lambda p=pending: [f.exception(PATIENCE) for f in p if not f.cancelled()]),
        ]
        for party in parties:
            try:
                party.result(PATIENCE)
            except futures.CancelledError:
                pass
        assert set(told.values()) == {1}
        assert len(told) == 200


def test_the_stdlib_s_view_appears_in_the_middle() -> None:
    def touch(pending: list[Future[int]]) -> None:
        for future in pending:
            with future._condition:
                assert future._state in ("PENDING", "FINISHED")

    for _ in range(OPERATIONS // 20_000):
        pending = [Future[int]() for _ in range(100)]
        all_end(
            [
                spawn(touch, pending),
                spawn(lambda p=pending: [f.set_result(n) for n, f in enumerate(p)]),
                spawn(lambda p=pending: [f.result(PATIENCE) for f in p]),
                spawn(lambda p=pending: futures.wait(p, PATIENCE)),
                spawn(lambda p=pending: list(futures.as_completed(p, PATIENCE))),
            ]
        )
        assert [future.result() for future in pending] == list(range(100))


def test_many_wait_for_the_same_futures() -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in range(OPERATIONS // 50_000):
            gate = threading.Event()
            pending = [
                pool.submit(lambda n=n, gate=gate: gate.wait(PATIENCE) and n) for n in range(20)
            ]
            waiting: list[StdlibFuture[Any]] = [
                spawn(futures.wait, pending, PATIENCE, when)
                for when in (futures.ALL_COMPLETED, futures.FIRST_COMPLETED) * 2
            ]
            waiting += [spawn(lambda p=pending: list(futures.as_completed(p, PATIENCE)))] * 2
            gate.set()
            all_end(waiting)
            assert [future.result() for future in pending] == list(range(20))


def test_who_stops_watching_hides_no_other_who_watches() -> None:
    futures_of_now, over = [Future[int]()], threading.Event()

    def come_and_go() -> None:
        collector = Collector()
        while not over.is_set():
            future = futures_of_now[0]
            collector.watch([future])
            collector.unwatch([future])

    staying = [Collector() for _ in range(10)]
    passing = [spawn(come_and_go) for _ in range(3)]
    try:
        for _ in range(OPERATIONS // 20):
            future = futures_of_now[0] = Future()
            for each in staying:
                each.watch([future])
            future.set_result(1)
            assert [each.take() for each in staying] == [[future]] * len(staying)
    finally:
        over.set()
    all_end(passing)


def test_tasks_of_several_loops_await_and_are_cancelled() -> None:
    async def storm(pool: ThreadPoolExecutor, seed: int) -> int:
        chance, done = random.Random(seed), 0

        async def one() -> None:
            nonlocal done
            await pool.submit(abs, -1)
            done += 1

        for _ in range(OPERATIONS // 20_000):
            tasks = [asyncio.create_task(one()) for _ in range(20)]
            await asyncio.sleep(0)
            for task in tasks:
                if chance.random() < 0.5:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return done

    with ThreadPoolExecutor(2) as pool, loops(3) as running:
        storms = [loop.start(storm(pool, seed)) for seed, loop in enumerate(running)]
        assert all(each.result(PATIENCE) > 0 for each in storms)
    seen = pool.statistics()
    assert (seen.queued, seen.done) == (0, 3 * 20 * (OPERATIONS // 20_000))


def test_nested_submissions_without_end() -> None:
    def tree(depth: int) -> int:
        if depth == 0:
            return 1
        return sum(each.result(PATIENCE) for each in [pool.submit(tree, depth - 1) for _ in "ab"])

    with ThreadPoolExecutor(2) as pool:
        all_end([spawn(lambda: pool.submit(tree, 6).result(PATIENCE)) for _ in range(2)])
        assert pool.submit(tree, 5).result(PATIENCE) == 32
        assert len(pool._threads) == 2


def test_a_bounded_pool_with_many_submitters() -> None:
    ran: deque[int] = deque()
    with ThreadPoolExecutor(2, max_pending=3) as pool:

        def submit() -> None:
            for n in range(OPERATIONS // 400):
                pool.submit(ran.append, n)

        all_end([spawn(submit) for _ in range(4)])
    assert len(ran) == 4 * (OPERATIONS // 400)


def test_time_limits_and_retries_at_once() -> None:
    attempts: Counter[int] = Counter()

    def flaky(n: int) -> int:
        attempts[n] += 1
        if attempts[n] < 3:
            raise OSError(n)
        return n

    with ThreadPoolExecutor(4) as pool:
        limited = pool.options(timeout=30, retries=2, priority=1)
        pending = [limited.submit(flaky, n) for n in range(OPERATIONS // 1000)]
        assert [each.result(PATIENCE) for each in pending] == list(range(len(pending)))
        late = pool.options(timeout=0.001)
        slow = [late.submit(futures.cancellation_token().wait, 0.01) for _ in range(20)]
        assert all(isinstance(each.exception(DEADLINE), TimeoutError | None) for each in slow)


def test_pools_are_made_and_dropped() -> None:
    def make(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(OPERATIONS // 10_000):
            pool = ThreadPoolExecutor(chance.randrange(1, 4))
            pending = [pool.submit(abs, -n) for n in range(chance.randrange(20))]
            if chance.random() < 0.5:
                pool.shutdown(wait=chance.random() < 0.5)
            del pool
            assert sum(each.result(PATIENCE) for each in pending) == sum(range(len(pending)))

    all_end([spawn(make, seed) for seed in range(3)])
