"""The process pool's workers and their memory, its end, and what it is to other classes."""

from __future__ import annotations

import concurrent.futures as stdlib
import gc
import multiprocessing
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterpoint._process.errors import BrokenProcessPool
from counterpoint.futures import wait
from tests.processes import (
    METHODS,
    Meeting,
    ProcessPoolExecutor,
    clean,
    fail,
    identity,
    own_pid,
    square,
    stay,
)
from tests.support import DEADLINE, eventually, is_collected

pytestmark = pytest.mark.timeout(60)


_SET_UP: list[Any] = []


def set_up(value: Any) -> None:
    _SET_UP.append(value)


def what_is_set_up() -> list[Any]:
    return _SET_UP


class TestWorkers:
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    @pytest.mark.parametrize("method", METHODS)
    def test_an_initializer(self, method: str) -> None:
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, context, set_up, ("value",)) as pool:
            assert pool.submit(what_is_set_up).result(DEADLINE) == ["value"]

    def test_started_as_needed(self, meeting: Meeting) -> None:
        with ProcessPoolExecutor(3) as pool:
            assert len(pool._processes) == 0
            for _ in range(20):
                pool.submit(square, 2).result(DEADLINE)
            assert len(pool._processes) == 1
            futures = [pool.submit(stay, meeting) for _ in range(3)]
            assert len(set(meeting.arrived(3))) == 3
            meeting.let_go(3)
            assert wait(futures, DEADLINE).not_done == set()

    def test_max_tasks_per_child(self) -> None:
        with ProcessPoolExecutor(1, max_tasks_per_child=2) as pool:
            pids = [pool.submit(own_pid).result(DEADLINE) for _ in range(6)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"max_workers": 0}, ValueError),
            ({"initializer": 3}, TypeError),
            ({"max_tasks_per_child": 0}, ValueError),
            ({"max_tasks_per_child": 1.5}, TypeError),
            ({"max_pending": 0}, ValueError),
            ({"max_pending": "x"}, TypeError),
            ({"on_full": "wait"}, ValueError),
            ({"on_worker_death": "ignore"}, ValueError),
        ],
    )
    def test_nonsense(self, wrong: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            ProcessPoolExecutor(**wrong)

    def test_a_task_sees_a_child_of_multiprocessing(self, pool: ProcessPoolExecutor) -> None:
        name, parent = pool.submit(family).result(DEADLINE)
        assert name != "MainProcess"
        assert parent == os.getpid()


def family() -> tuple[str, int | None]:
    parent = multiprocessing.parent_process()
    return multiprocessing.current_process().name, parent and parent.pid


class TestArrays:
    def test_are_writable_and_nobody_elses(self, pool: ProcessPoolExecutor) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.arange(1_000_000)
        futures = [pool.submit(fill, array, number) for number in range(4)]
        for number, future in enumerate(futures):
            back = future.result(DEADLINE)
            assert (back == number).all()
            back[:] = -1
        assert (array == numpy.arange(1_000_000)).all()

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 5_000_000])
    def test_bytes_of_every_size(self, pool: ProcessPoolExecutor, size: int) -> None:
        for kind in (bytes, bytearray):
            value = kind(os.urandom(min(size, 1000)) * (size // 1000 + 1))[:size]
            back = pool.submit(identity, value).result(DEADLINE)
            assert back == value
            assert type(back) is kind

    def test_memory_is_used_again(self, pool: ProcessPoolExecutor) -> None:
        """Gigabytes pass through, and few stay."""
        payload = bytes(8 << 20)
        for _ in range(100):
            assert len(pool.submit(identity, payload).result(DEADLINE)) == len(payload)
        assert shared_memory() < 400 << 20

    def test_results_outlive_the_pool(self) -> None:
        numpy = pytest.importorskip("numpy")
        with ProcessPoolExecutor(1) as pool:
            array = pool.submit(numpy.ones, 1_000_000).result(DEADLINE)
        del pool
        gc.collect()
        array += 1
        assert array.sum() == 2_000_000


def fill(array: Any, value: int) -> Any:
    array[:] = value
    return array


def shared_memory() -> int:
    """Bytes of shared memory that this process has touched."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssShmem:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such line")


class TestEnds:
    def test_shutdown_waits_for_everything(self, meeting: Meeting) -> None:
        with clean():
            pool = ProcessPoolExecutor(2)
            futures = [pool.submit(stay, meeting, number) for number in range(6)]
            meeting.let_go(6)
            pool.shutdown()
            assert [future.result(0) for future in futures] == list(range(6))
            assert not pool._processes
            pool.shutdown()
            del pool, futures

    def test_no_more_calls_after_it(self, pool: ProcessPoolExecutor) -> None:
        pool.shutdown(wait=False)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            pool.submit(square, 1)
        with pytest.raises(RuntimeError):
            list(pool.map(square, [1]))

    def test_without_waiting(self, meeting: Meeting) -> None:
        pool = ProcessPoolExecutor(1)
        futures = [pool.submit(stay, meeting, number) for number in range(3)]
        pool.shutdown(wait=False)
        meeting.let_go(3)
        assert [future.result(DEADLINE) for future in futures] == [0, 1, 2]

    def test_cancelling_what_waits(self, meeting: Meeting) -> None:
        pool = ProcessPoolExecutor(1)
        running = pool.submit(stay, meeting, "ran")
        meeting.arrived()
        waiting = [pool.submit(square, number) for number in range(500)]
        pool.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in waiting)
        assert stdlib.wait(waiting, DEADLINE).not_done == set()
        meeting.let_go()
        assert running.result(DEADLINE) == "ran"
        pool.shutdown()

    def test_a_pool_never_used(self) -> None:
        with clean():
            for _ in range(20):
                ProcessPoolExecutor(2).shutdown()
                with ProcessPoolExecutor(2):
                    pass

    def test_a_hundred_pools(self) -> None:
        with clean():
            kept = []
            for number in range(30):
                with ProcessPoolExecutor(1) as pool:
                    kept.append(pool.submit(square, number))
            del pool
            # Futures keep none of the descriptors of their pools.
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) < 40
            assert [future.result() for future in kept] == [n * n for n in range(30)]
            del kept

    def test_the_executor_is_collected_and_its_tasks_are_done(self) -> None:
        with clean():
            pool = ProcessPoolExecutor(1)
            futures = [pool.submit(square, number) for number in range(100)]
            gone = weakref.ref(pool)
            del pool
            assert is_collected(gone)
            assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(100)]

    def test_terminate_and_kill_workers(self, meeting: Meeting) -> None:
        for method in ("terminate_workers", "kill_workers"):
            pool = ProcessPoolExecutor(2)
            running = [pool.submit(stay, meeting) for _ in range(2)]
            meeting.arrived(2)
            waiting = pool.submit(square, 1)
            getattr(pool, method)()
            assert waiting.cancelled()
            for future in running:
                assert isinstance(future.exception(DEADLINE), BrokenProcessPool)
            pool.shutdown()
            with pytest.raises(RuntimeError):
                pool.submit(square, 1)


class TestClass:
    def test_it_is_the_stdlibs(self, pool: ProcessPoolExecutor) -> None:
        assert isinstance(pool, stdlib.ProcessPoolExecutor)
        assert isinstance(pool.submit(square, 1), stdlib.Future)

    def test_subclasses(self) -> None:
        class Counting(ProcessPoolExecutor):
            submitted = 0

            def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
                self.submitted += 1
                return super().submit(fn, *args, **kwargs)

        with Counting(1) as pool:
            assert pool.submit(square, 3).result(DEADLINE) == 9
            assert list(pool.map(square, range(5), chunksize=1)) == [0, 1, 4, 9, 16]
            assert pool.submitted == 6

    def test_a_subclass_that_forgets_its_base(self) -> None:
        class Forgetful(ProcessPoolExecutor):
            def __init__(self) -> None:
                pass

        with pytest.raises(RuntimeError, match=r"super\(\).__init__"):
            Forgetful().submit(square, 1)

    def test_statistics(self, pool: ProcessPoolExecutor, meeting: Meeting) -> None:
        futures = [pool.submit(square, number) for number in range(100)]
        futures += [pool.submit(fail, "counted") for _ in range(3)]
        assert wait(futures, DEADLINE).not_done == set()
        running = [pool.submit(stay, meeting) for _ in range(2)]
        meeting.arrived(2)
        waiting = [pool.submit(square, 1) for _ in range(5)]
        statistics = pool.statistics()
        assert (statistics.max_workers, statistics.workers) == (2, 2)
        assert (statistics.running, statistics.queued) == (2, 5)
        assert all(future.cancel() for future in waiting)
        meeting.let_go(2)
        assert wait(running, DEADLINE).not_done == set()
        statistics = pool.statistics()
        assert (statistics.done, statistics.failed, statistics.cancelled) == (102, 0 + 3, 5)
        assert statistics.run_time.count == 105

    def test_references_are_let_go(self, pool: ProcessPoolExecutor) -> None:
        class Held:
            pass

        held = Held()
        future = pool.submit(square, 2)
        future.add_done_callback(lambda _, held=held: None)
        future.result(DEADLINE)
        gone, alive = weakref.ref(held), weakref.ref(future)
        del held, future
        eventually(lambda: is_collected(gone) and is_collected(alive))

    def test_pickling_is_refused(self, pool: ProcessPoolExecutor) -> None:
        with pytest.raises(TypeError):
            pool.submit(identity, pool).result(DEADLINE)
