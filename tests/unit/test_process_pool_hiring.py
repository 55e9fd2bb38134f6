"""How a pool gets its workers: only the first is waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import pytest

from counterpoint._process import executor, supervisor
from counterpoint._process.errors import BrokenProcessPool
from counterpoint._process.supervisor import Supervisor
from tests.processes import Meeting, ProcessPoolExecutor, clean, own_pid, stay
from tests.support import DEADLINE, eventually, result, spawn
from tests.unit.workers import stopped_zygote

T = TypeVar("T")


@pytest.fixture
def busy(meeting: Meeting) -> Iterator[ProcessPoolExecutor]:
    """A pool of eight, in which one works and no other is there."""
    with ProcessPoolExecutor(8, on_worker_death="break") as pool:
        pool.submit(stay, meeting)
        meeting.arrived()
        yield pool


def test_who_submits_does_not_wait_for_another_worker(
    busy: ProcessPoolExecutor, meeting: Meeting
) -> None:
    with stopped_zygote():
        asked = [result(spawn(busy.submit, own_pid)) for _ in range(4)]
    pids = {future.result(DEADLINE) for future in asked}
    assert os.getpid() not in pids
    eventually(lambda: busy.statistics().workers == 5)
    meeting.let_go()


def test_a_broken_pool_wants_none_of_those_that_were_asked_for(
    busy: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody says how the worker ended.
    monkeypatch.setattr(supervisor, "_REPORT", 0.1)
    with stopped_zygote():
        asked = [result(spawn(busy.submit, own_pid)) for _ in range(3)]
        os.kill(next(iter(busy._processes)), signal.SIGKILL)
        for future in asked:
            assert isinstance(future.exception(DEADLINE), BrokenProcessPool)
    busy.shutdown()


def end_while_workers_come(meeting: Meeting) -> None:
    pool = ProcessPoolExecutor(8)
    pool.submit(stay, meeting)
    meeting.arrived()
    asked = [pool.submit(own_pid) for _ in range(7)]
    pool.kill_workers()
    assert not wait(asked, DEADLINE).not_done
    pool.shutdown()


def test_nobody_is_left_of_a_pool_that_ends_while_workers_come(meeting: Meeting) -> None:
    for _ in range(5):
        with clean():
            end_while_workers_come(meeting)


def test_a_callback_may_submit_and_wait_for_another_worker(meeting: Meeting) -> None:
    seen: Future[int] = Future()
    with ProcessPoolExecutor(2) as pool:

        def call_back(_: Future[int]) -> None:
            pool.submit(stay, meeting)
            meeting.arrived()
            # Behind that, until a second worker is there.
            seen.set_result(pool.submit(own_pid).result(DEADLINE))

        pool.submit(own_pid).add_done_callback(call_back)
        assert seen.result(DEADLINE) != os.getpid()
        meeting.let_go()


class Interrupted(Supervisor):
    """One of whose methods is interrupted as it begins or ends, once, as by Ctrl-C."""

    when = ("", "")

    def request(self, number: int, fds: tuple[int, ...]) -> int:
        return self._interrupted("request", super().request, number, fds)

    def launched(self, number: int) -> tuple[int, int, bool]:
        return self._interrupted("launched", super().launched, number)

    def _interrupted(self, name: str, method: Callable[..., T], *arguments: Any) -> T:
        here, Interrupted.when = Interrupted.when, ("", "")
        if here == (name, "begins"):
            raise KeyboardInterrupt
        result = method(*arguments)
        if here == (name, "ends"):
            raise KeyboardInterrupt
        Interrupted.when = here
        return result


@pytest.mark.parametrize(
    "when", [(n, w) for n in ("request", "launched") for w in ("begins", "ends")]
)
def test_an_interrupted_launch_leaves_nobody(
    when: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "Supervisor", Interrupted)
    with clean():
        interrupt_a_launch(when)


def interrupt_a_launch(when: tuple[str, str]) -> None:
    with ProcessPoolExecutor(2) as pool:
        hooks = pool._supervisor
        Interrupted.when = when
        with pytest.raises(KeyboardInterrupt):
            pool.submit(own_pid)
        assert not pool._processes
        assert not hooks._requested
        assert not hooks._coming
        assert pool.submit(own_pid).result(DEADLINE) != os.getpid()


def test_a_worker_that_has_run_its_last_task_is_none_of_the_pools_processes() -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:
        for _ in range(20):
            pid = pool.submit(own_pid).result(DEADLINE)
            assert pid not in pool._processes


def test_a_pool_that_is_closed_gets_the_workers_that_its_tasks_need(meeting: Meeting) -> None:
    with ProcessPoolExecutor(4) as pool:
        # Its tasks are quick, so one worker is given several.
        pool.submit(own_pid).result(DEADLINE)
        stays = [pool.submit(stay, meeting) for _ in range(4)]
        pool.shutdown(wait=False)
        meeting.arrived(4)
        meeting.let_go(4)
        assert not wait(stays, DEADLINE).not_done
