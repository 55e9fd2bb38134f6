"""Faults 21, 22 and 24: pools in pools, what tasks leave behind, and workers that stand still."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.processes import (
    Meeting,
    ProcessPoolExecutor,
    identity,
    own_pid,
    square,
    state_of,
    stay,
)
from tests.support import DEADLINE, eventually

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_left")]


def still_works(pool: ProcessPoolExecutor) -> None:
    futures = [pool.submit(square, number) for number in range(20)]
    assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(20)]


def test_21_callbacks_submit_to_their_own_pool() -> None:
    done, futures = threading.Event(), []
    with ProcessPoolExecutor(1) as pool:

        def go_on(future: Any) -> None:
            if future.result() == 50:
                return done.set()
            futures.append(pool.submit(identity, future.result() + 1))
            return futures[-1].add_done_callback(go_on)

        pool.submit(identity, 0).add_done_callback(go_on)
        assert done.wait(DEADLINE)
        assert [future.result() for future in futures] == list(range(1, 51))


def nested(depth: int) -> int:
    if depth == 0:
        return 1
    with ProcessPoolExecutor(2) as pool:
        return sum(pool.map(nested, [depth - 1] * 2))


def test_21_a_task_has_a_pool_of_its_own() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(nested, 2).result(DEADLINE) == 4


_OWN: list[ProcessPoolExecutor] = []


def use_inherited(_: object) -> str:
    try:
        _OWN[0].submit(square, 2).result(DEADLINE)
    except RuntimeError as error:
        return str(error)
    return "it worked"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_21_a_pool_that_a_forked_worker_inherits_refuses() -> None:
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        _OWN.append(pool)
        try:
            assert "fork" in pool.submit(use_inherited, None).result(DEADLINE)
        finally:
            _OWN.clear()
        still_works(pool)


def leave_a_child(meeting: Any) -> int:
    import subprocess

    return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid


def test_22_a_task_leaves_a_child_behind(meeting: Meeting) -> None:
    """Neither the pool nor its end waits for it."""
    with ProcessPoolExecutor(1) as pool:
        child = pool.submit(leave_a_child, meeting).result(DEADLINE)
        still_works(pool)
    assert state_of(child) not in ("", "Z")
    os.kill(child, signal.SIGKILL)
    eventually(lambda: state_of(child) in ("", "Z"))


def leave_a_fork(meeting: Any) -> int:
    child = os.fork()
    if child == 0:
        meeting.stay()
        return -1
    return child


def test_22_a_fork_that_returns_from_its_task_is_no_worker(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        child = pool.submit(leave_a_fork, meeting).result(DEADLINE)
        assert meeting.arrived() == [child]
        meeting.let_go()
        eventually(lambda: state_of(child) in ("", "Z"))
        still_works(pool)


def leave_a_thread(meeting: Any) -> int:
    threading.Thread(target=meeting.stay, daemon=False).start()
    return os.getpid()


def test_22_a_thread_left_behind_does_not_hold_up_the_end_for_ever(meeting: Meeting) -> None:
    with ProcessPoolExecutor(2) as pool:
        pid = pool.submit(leave_a_thread, meeting).result(DEADLINE)
        meeting.arrived()
        still_works(pool)
    eventually(lambda: not state_of(pid))


def test_24_a_stopped_worker_whose_task_has_a_limit(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(own_pid).result(DEADLINE)  # imports what would take a part of the limit
        future = pool.options(timeout=0.3).submit(stay, meeting)
        (pid,) = meeting.arrived()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError, match=r"limit of 0\.3 s"):
            future.result(DEADLINE)
        eventually(lambda: not state_of(pid))
        still_works(pool)


def test_24_a_stopped_worker_whose_task_is_killed(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        future = pool.submit(stay, meeting)
        (pid,) = meeting.arrived()
        os.kill(pid, signal.SIGSTOP)
        assert future.kill()
        assert future.exception(DEADLINE) is not None
        eventually(lambda: not state_of(pid))
        still_works(pool)


@pytest.mark.parametrize("limit", [None, 0.2])
@pytest.mark.parametrize("workers", [1, 2])
def test_24_an_idle_worker_is_stopped(meeting: Meeting, workers: int, limit: float | None) -> None:
    """What is sent to it is done by another."""
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(stay, meeting) for _ in range(workers)]
        pids = meeting.arrived(workers)
        meeting.let_go(workers)
        for future in futures:
            future.result(DEADLINE)
        os.kill(pids[0], signal.SIGSTOP)
        eventually(lambda: state_of(pids[0]) == "T")
        # Nothing that a new worker would have to import within the limit.
        futures = [pool.options(timeout=limit).submit(os.getpid) for _ in range(4)]
        assert pids[0] not in [future.result(DEADLINE) for future in futures]
        still_works(pool)


def test_24_a_stopped_worker_does_not_hold_up_the_end() -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(own_pid).result(DEADLINE)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state_of(pid) == "T")
    eventually(lambda: not state_of(pid))


def test_a_limit_holds_whatever_comes_behind(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(stay, meeting)
        meeting.arrived()
        # All of these are handed out at the same moment.
        limited = pool.options(timeout=0.1).submit(stay, meeting)
        behind = [pool.submit(square, number) for number in range(20)]
        meeting.let_go()
        first.result(DEADLINE)
        with pytest.raises(TimeoutError):
            limited.result(DEADLINE)
        assert [future.result(DEADLINE) for future in behind] == [n * n for n in range(20)]


def test_a_task_that_runs_for_ever_is_stopped_alone(meeting: Meeting, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        limited = [pool.options(timeout=0.1).submit(stay, meeting) for _ in range(4)]
        others = [pool.submit(square, number) for number in range(300)]
        for future in limited:
            with pytest.raises(TimeoutError):
                future.result(DEADLINE)
        assert [future.result(DEADLINE) for future in others] == [n * n for n in range(300)]
