"""Faults 14 to 16 and 18: ends of pools and of workers, asked for at a bad moment."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from counterpoint._process.errors import BrokenProcessPool
from counterpoint.futures import CancelledError
from tests.processes import Meeting, ProcessPoolExecutor, identity, own_pid, square, stay
from tests.support import DEADLINE, eventually, result, spawn

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_left")]


def test_14_cancel_at_once_then_shutdown() -> None:
    for turn in range(15):
        pool = ProcessPoolExecutor(1)
        futures = [pool.submit(square, number) for number in range(5)]
        cancelled = [future.cancel() for future in futures]
        pool.shutdown(cancel_futures=bool(turn % 2))
        for number, (future, gone) in enumerate(zip(futures, cancelled, strict=True)):
            assert future.done()
            assert future.cancelled() or (not gone and future.result() == number**2)


def test_14_cancelled_tasks_take_no_room_and_no_worker(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1, max_pending=10, on_full="raise") as pool:
        busy = pool.submit(stay, meeting)
        meeting.arrived()
        for _ in range(50):
            for future in [pool.submit(square, 1) for _ in range(10)]:
                assert future.cancel()
        assert pool.statistics().queued == 0
        meeting.let_go()
        busy.result(DEADLINE)


def test_14_cancel_while_everything_moves() -> None:
    """Every task is either cancelled or done once, whoever is faster."""
    with ProcessPoolExecutor(2) as pool:
        for _ in range(20):
            futures = [pool.submit(identity, number) for number in range(300)]
            canceller = spawn(lambda some: [future.cancel() for future in some], futures[::2])
            gone = result(canceller)
            for number, future in enumerate(futures):
                if number % 2 == 0 and gone[number // 2]:
                    with pytest.raises(CancelledError):
                        future.result(DEADLINE)
                else:
                    assert future.result(DEADLINE) == number


def test_15_a_hundred_thousand_queued_tiny_tasks(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        busy = pool.submit(stay, meeting)
        meeting.arrived()
        futures = [pool.submit(identity, number) for number in range(100_000)]
        assert pool.statistics().queued >= 100_000
        meeting.let_go()
        busy.result(DEADLINE)
        assert [future.result(DEADLINE) for future in futures] == list(range(100_000))


@pytest.mark.parametrize("most", [1, 3, 10])
def test_16_max_tasks_per_child_with_a_backlog(most: int) -> None:
    with ProcessPoolExecutor(2, max_tasks_per_child=most) as pool:
        futures = [pool.submit(own_pid) for _ in range(8 * most)]
        counts = Counter(future.result(DEADLINE) for future in futures)
        assert max(counts.values()) <= most
        assert sum(counts.values()) == 8 * most


def test_16_no_more_workers_run_tasks_than_may(meeting: Meeting) -> None:
    """One that runs its last task is still one of them."""
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:
        last = pool.submit(stay, meeting)
        meeting.arrived()
        next_one = pool.submit(square, 2)
        assert len(pool._processes) == 1
        assert not next_one.done()
        meeting.let_go()
        last.result(DEADLINE)
        assert next_one.result(DEADLINE) == 4


def test_16_with_the_executor_collected() -> None:
    pool = ProcessPoolExecutor(2, max_tasks_per_child=1)
    futures = [pool.submit(square, number) for number in range(20)]
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(20)]


def test_an_executor_collected_in_a_cycle_while_busy(meeting: Meeting) -> None:
    pool = ProcessPoolExecutor(1)
    pool.itself = pool  # type: ignore[attr-defined]
    futures = [pool.submit(stay, meeting, number) for number in range(4)]
    meeting.arrived()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    meeting.let_go(4)
    assert [future.result(DEADLINE) for future in futures] == list(range(4))


def raise_odd() -> None:
    raise LookupError("not here")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_18_an_initializer_that_raises() -> None:
    pool = ProcessPoolExecutor(2, initializer=raise_odd)
    futures = [pool.submit(square, number) for number in range(10)]
    for future in futures:
        error = future.exception(DEADLINE)
        assert isinstance(error, BrokenProcessPool)
        assert isinstance(error.__cause__, LookupError)
    with pytest.raises(BrokenProcessPool):
        pool.submit(square, 1)
    pool.shutdown()


def raise_huge() -> None:
    raise LookupError("x" * 5_000_000)


def test_18_whatever_the_size_of_its_error() -> None:
    with ProcessPoolExecutor(1, initializer=raise_huge) as pool:
        assert isinstance(pool.submit(square, 1).exception(DEADLINE), BrokenProcessPool)


def test_18_an_initializer_that_dies() -> None:
    with ProcessPoolExecutor(2, initializer=os._exit, initargs=(9,)) as pool:
        futures = []
        # Three deaths may be over before ten submissions are.
        with contextlib.suppress(BrokenProcessPool):
            futures += [pool.submit(square, 1)]
            futures += [pool.submit(square, number) for number in range(10)]
        for future in futures:
            error = future.exception(DEADLINE)
            assert isinstance(error, BrokenProcessPool)
            assert "status 9" in f"{error} {error.__cause__}"


def stay_once(meeting: Any, mark: str) -> None:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    meeting.stay()


def test_18_an_initializer_that_hangs_holds_up_nobody_else(
    meeting: Meeting, tmp_path: Path
) -> None:
    arguments = (meeting, str(tmp_path / "mark"))
    pool = ProcessPoolExecutor(2, initializer=stay_once, initargs=arguments)
    futures = [pool.submit(square, number) for number in range(100)]
    meeting.arrived()
    assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(100)]
    pool.kill_workers()
    pool.shutdown()


def test_18_a_pool_whose_initializers_all_hang_can_be_shut_down(meeting: Meeting) -> None:
    pool = ProcessPoolExecutor(2, initializer=stay, initargs=(meeting,))
    futures = [pool.submit(square, number) for number in range(10)]
    meeting.arrived(2)
    pool.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)


def test_shutdown_in_a_callback_is_refused_as_in_the_stdlib() -> None:
    heard: list[Any] = []

    def end(_: object) -> None:
        try:
            pool.shutdown()
        except RuntimeError as error:
            heard.append(error)

    pool = ProcessPoolExecutor(1)
    future = pool.submit(square, 2)
    future.add_done_callback(end)
    eventually(future.done)
    pool.shutdown()
    assert not heard or "cannot join current thread" in str(heard[0])
    assert future.result() == 4


def test_kill_of_a_task_costs_only_that_task(meeting: Meeting) -> None:
    """However close it is to its end, and whatever waits behind it at its worker."""
    with ProcessPoolExecutor(2) as pool:
        for _ in range(30):
            futures = [pool.submit(identity, number) for number in range(200)]
            killed = [number for number in range(0, 200, 20) if futures[number].kill()]
            for number, future in enumerate(futures):
                if number in killed:
                    assert future.cancelled() or future.exception() is not None
                else:
                    assert future.result(DEADLINE) == number


def test_kill_workers_ends_everything(meeting: Meeting) -> None:
    for method, number in (("kill_workers", signal.SIGKILL), ("terminate_workers", signal.SIGTERM)):
        pool = ProcessPoolExecutor(2)
        running = [pool.options(retries=3).submit(stay, meeting) for _ in range(2)]
        meeting.arrived(2)
        waiting = [pool.submit(square, number) for number in range(20)]
        getattr(pool, method)()
        for future in running:
            error = future.exception(DEADLINE)
            assert isinstance(error, BrokenProcessPool)
            assert error.exitcode == -number
        assert all(future.cancelled() for future in waiting)
        pool.shutdown()


def flaky(mark: str) -> None:
    raise LookupError(mark)


def test_a_judged_task_can_be_cancelled_and_killed_without_harm_to_others() -> None:
    """While its failure is judged its number at the worker is another's."""
    with ProcessPoolExecutor(2) as pool:
        for _ in range(10):
            judged = [pool.options(retries=50).submit(flaky, "") for _ in range(20)]
            others = [pool.submit(identity, number) for number in range(200)]
            stopper = spawn(lambda some: [f.cancel() or f.kill() for f in some], judged)
            assert [future.result(DEADLINE) for future in others] == list(range(200))
            result(stopper)
            for future in judged:
                assert future.cancelled() or future.exception(DEADLINE) is not None


def test_many_threads_submit_cancel_and_shut_down_at_once() -> None:
    for _ in range(5):
        pool = ProcessPoolExecutor(2)
        go = threading.Event()

        def work(pool: ProcessPoolExecutor = pool, go: threading.Event = go) -> list[Any]:
            futures = []
            go.wait(DEADLINE)
            try:
                for number in range(1000):
                    futures.append(pool.submit(identity, number))
            except RuntimeError:
                pass
            return futures

        threads = [spawn(work) for _ in range(4)]
        go.set()
        pool.submit(square, 1).result(DEADLINE)
        pool.shutdown(cancel_futures=True)
        for thread in threads:
            for number, future in enumerate(result(thread)):
                assert future.done()
                assert future.cancelled() or future.result() == number
