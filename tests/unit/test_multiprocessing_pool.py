"""`multiprocessing.Pool` over our executor."""

from __future__ import annotations

import gc
import itertools
import multiprocessing as stdlib
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from counterpoint import multiprocessing
from counterpoint._process.errors import WorkerCrashed
from tests.support import DEADLINE
from tests.unit import processes

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

_ended = pytest.fixture(scope="module", autouse=True)(processes.ended)


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    """Two workers."""
    with multiprocessing.Pool(2) as pool:
        yield pool
    pool.join()


def test_every_kind_of_call(pool: Any) -> None:
    assert pool.apply(pow, (2, 10)) == 1024
    assert pool.apply(int, ("12",), {"base": 8}) == 10
    assert pool.apply_async(pow, (3, 2)).get(DEADLINE) == 9
    assert pool.map(processes.square, range(10)) == [n * n for n in range(10)]
    assert pool.map(processes.square, iter(range(5)), chunksize=2) == [0, 1, 4, 9, 16]
    assert pool.map_async(processes.square, []).get(DEADLINE) == []
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.starmap_async(pow, zip([2], [5], strict=True)).get(DEADLINE) == [32]
    assert list(pool.imap(processes.square, range(7), 3)) == [n * n for n in range(7)]
    assert sorted(pool.imap_unordered(processes.square, range(7))) == [n * n for n in range(7)]


@pytest.mark.parametrize("method", processes.METHODS)
def test_an_initializer_may_be_given_locks_and_queues(method: str) -> None:
    pytest.importorskip("ctypes", reason="this build has no ctypes, which Value needs")
    context = multiprocessing.get_context(method)
    lock, queue, value = context.Lock(), context.Queue(), context.Value("i", 0)
    with context.Pool(2, processes.keep, (lock, queue, value)) as pool:
        pids = set(pool.map(processes.use_kept, range(20), chunksize=1))
    pool.join()
    assert value.value == sum(range(20))
    assert os.getpid() not in pids
    assert sorted(queue.get_many(20)) == list(range(20))


def test_an_initializer_of_forks_is_inherited() -> None:
    kept: list[Any] = []
    with multiprocessing.get_context("fork").Pool(1, kept.append, (threading.Lock(),)) as pool:
        assert pool.apply(abs, (-1,)) == 1
    pool.join()
    assert kept == []


def test_errors_come_with_the_workers_traceback(pool: Any) -> None:
    result = pool.apply_async(processes.fail, (5,))
    with pytest.raises(ValueError, match="5") as caught:
        result.get(DEADLINE)
    assert isinstance(caught.value.__cause__, stdlib.pool.RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)
    assert (result.ready(), result.successful()) == (True, False)
    with pytest.raises(ValueError, match="0"):
        pool.map(processes.fail, range(3))
    results = pool.imap(processes.fail, range(2))
    for number in "01":
        with pytest.raises(ValueError, match=number):
            next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_a_workers_death_fails_its_call_and_no_other(pool: Any) -> None:
    others = [pool.apply_async(processes.square, (n,)) for n in range(20)]
    with pytest.raises(WorkerCrashed):
        pool.apply_async(processes.exit_hard, (3,)).get(DEADLINE)
    assert [other.get(DEADLINE) for other in others] == [n * n for n in range(20)]
    assert pool.apply(processes.square, (3,)) == 9


def test_callbacks_are_over_when_the_wait_is(pool: Any) -> None:
    got: list[Any] = []
    result = pool.apply_async(processes.square, (3,), callback=got.append)
    result.wait(DEADLINE)
    assert got == [9]
    result = pool.map_async(processes.fail, [1, 2], error_callback=got.append)
    result.wait(DEADLINE)
    assert isinstance(got[1], ValueError)
    pool.map_async(processes.square, [], callback=got.append).wait(DEADLINE)
    assert got[2] == []


def test_what_is_not_ready_says_so(pool: Any) -> None:
    go_on = multiprocessing.Event()
    with multiprocessing.Pool(1, processes.keep, (go_on,)) as waiting:
        result = waiting.apply_async(_wait_for_kept)
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(0.01)
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        results = waiting.imap(processes.square, [2])
        for unordered in (False, True):
            if unordered:
                results = waiting.imap_unordered(processes.square, [2])
            with pytest.raises(multiprocessing.TimeoutError):
                results.next(timeout=0.01)
        go_on.set()
        assert result.get(DEADLINE)
        assert results.next(DEADLINE) == 4


def _wait_for_kept() -> bool:
    return bool(processes._given[0].wait(DEADLINE))


def test_imap_takes_an_infinite_input(pool: Any) -> None:
    results = pool.imap(processes.square, itertools.count(), chunksize=3)
    assert list(itertools.islice(results, 1000)) == [n * n for n in range(1000)]
    pool._reading.clear()


def test_close_and_join_run_what_was_not_taken() -> None:
    pytest.importorskip("ctypes", reason="this build has no ctypes, which Value needs")
    done = multiprocessing.Value("i", 0)
    pool = multiprocessing.Pool(1, processes.keep, (done.get_lock(), multiprocessing.Queue(), done))
    pool.imap_unordered(processes.use_kept, range(300))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply(processes.square, (1,))
    with pytest.raises(ValueError, match="not running"):
        pool.__enter__()
    pool.join()
    assert done.value == sum(range(300))


def test_results_are_there_after_close() -> None:
    pool = multiprocessing.Pool(1)
    results = pool.imap(processes.square, range(500))
    pool.close()
    assert list(results) == [n * n for n in range(500)]
    pool.join()


def test_max_tasks_per_child() -> None:
    for method in ("fork", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(1, maxtasksperchild=2) as pool:
            pids = [pool.apply(os.getpid) for _ in range(6)]
        pool.join()
        assert len(set(pids)) == 3


def test_terminate_does_not_wait_for_calls() -> None:
    pool = multiprocessing.Pool(2)
    result = pool.map_async(_sleep, range(1000), chunksize=1)
    pool.terminate()
    pool.join()
    with pytest.raises((WorkerCrashed, CancelledError)):
        result.get(DEADLINE)


def _sleep(_: int) -> None:
    threading.Event().wait(1000)


def test_arguments_are_checked() -> None:
    for processes_ in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            multiprocessing.Pool(processes_)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        multiprocessing.Pool(1, initializer=5)
    with pytest.raises(ValueError, match="maxtasksperchild"):
        multiprocessing.Pool(1, maxtasksperchild=0)
    pool = multiprocessing.Pool(1)
    with pytest.raises(ValueError, match="Chunksize"):
        pool.imap(processes.square, [], 0)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    with pytest.raises(NotImplementedError):
        pool.__reduce__()
    assert "state=RUN pool_size=1" in repr(pool)
    with pytest.warns(ResourceWarning, match="unclosed running"):
        pool.__del__()
    pool.terminate()


def test_a_pool_that_was_ended_is_dropped_in_silence() -> None:
    pool = multiprocessing.Pool(1)
    pool.terminate()
    pool.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del pool
        gc.collect()


def test_contexts_and_names() -> None:
    assert multiprocessing.get_context("spawn").get_start_method() == "spawn"
    with pytest.raises(ValueError, match="cannot find context"):
        multiprocessing.get_context("none")
    missing = [name for name in stdlib.__all__ if not hasattr(multiprocessing, name)]
    assert missing == []
    assert multiprocessing.Process is stdlib.Process
    assert multiprocessing.connection is stdlib.connection
    assert multiprocessing.get_all_start_methods() == stdlib.get_all_start_methods()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        multiprocessing.nothing  # noqa: B018
