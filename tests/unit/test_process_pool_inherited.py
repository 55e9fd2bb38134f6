"""What a pool has from the stdlib's: initializers that are given locks and queues, and views."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from logging.handlers import QueueHandler
from typing import Any

import pytest

from counterpoint.futures import ProcessPoolExecutor, WorkerCrashed
from tests.support import DEADLINE, eventually

_given: list[Any] = []


def take(*given: Any) -> None:
    _given.extend(given)


def given() -> list[Any]:
    return _given


def put_locked(number: int) -> None:
    lock, queue = _given
    with lock:
        queue.put(number)


def refuse(queue: Any) -> None:
    logger = logging.getLogger("concurrent.futures")
    logger.addHandler(QueueHandler(queue))
    raise ValueError("no")


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def context(request: pytest.FixtureRequest) -> Any:
    return multiprocessing.get_context(request.param)


# The pool's own threads are no danger to what is forked here.
quiet = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@quiet
def test_an_initializer_is_given_locks_and_queues(context: Any) -> None:
    lock, queue = context.Lock(), context.Queue()
    with ProcessPoolExecutor(2, context, initializer=take, initargs=(lock, queue)) as pool:
        list(pool.map(put_locked, range(8), chunksize=1))
        assert sorted(queue.get(timeout=DEADLINE) for _ in range(8)) == list(range(8))


@quiet
def test_what_a_failing_initializer_logs_to_a_queue_arrives(context: Any) -> None:
    queue = context.Queue()
    with ProcessPoolExecutor(1, context, initializer=refuse, initargs=(queue,)) as pool:
        assert pool._broken is False
        with pytest.raises(BrokenProcessPool):
            pool.submit(os.getpid).result(DEADLINE)
        assert "not usable" in str(pool._broken)
    assert "ValueError: no" in queue.get(timeout=DEADLINE).getMessage()


@quiet
def test_a_fork_needs_no_pickle_of_its_initializer() -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, context, initializer=lambda: take(3)) as pool:
        assert pool.submit(given).result(DEADLINE) == [3]


@quiet
def test_processes_can_be_looked_at_and_signalled(context: Any) -> None:
    with ProcessPoolExecutor(1, context) as pool:
        pid = pool.submit(os.getpid).result(DEADLINE)
        process = pool._processes[pid]
        assert (process.pid, process.is_alive(), process.exitcode) == (pid, True, None)
        assert "started" in repr(process)
        process.join(timeout=0)
        process.terminate()
        process.join(DEADLINE)
        assert (process.is_alive(), process.exitcode) == (False, -signal.SIGTERM)
        assert "stopped" in repr(process)
        # The pool has let go of it.
        eventually(lambda: pid not in pool._processes)
        process.kill()
        assert process.exitcode == -signal.SIGTERM


def test_the_cause_of_a_crash_is_the_stdlibs() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(os._exit, 3).exception(DEADLINE)
        assert isinstance(error, WorkerCrashed)
        assert isinstance(error.__cause__, _RemoteTraceback)
        assert "terminated abruptly with exit code 3" in str(error.__cause__)


def test_a_forced_shutdown_has_two_ways() -> None:
    with (
        ProcessPoolExecutor(1) as pool,
        pytest.raises(ValueError, match="Unsupported operation: 'knock'"),
    ):
        pool._force_shutdown(operation="knock")
