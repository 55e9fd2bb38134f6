"""Faults 1 to 8: workers that die at every moment of a task's life."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counterpoint._process.errors import BrokenProcessPool, WorkerCrashed
from tests.processes import (
    Meeting,
    ProcessPoolExecutor,
    die,
    identity,
    own_pid,
    square,
    state_of,
    stay,
)
from tests.support import DEADLINE, eventually

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_left")]


def still_works(pool: ProcessPoolExecutor) -> None:
    """The pool goes on."""
    futures = [pool.submit(square, number) for number in range(50)]
    assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(50)]


def crashed(future: Any) -> WorkerCrashed:
    """How the process of a task ended, of which the task has failed."""
    error = future.exception(DEADLINE)
    assert isinstance(error, WorkerCrashed), error
    assert isinstance(error, BrokenProcessPool)
    return error


def test_1_sigkill_of_an_idle_worker() -> None:
    with ProcessPoolExecutor(2) as pool:
        for _ in range(3):
            pid = pool.submit(own_pid).result(DEADLINE)
            os.kill(pid, signal.SIGKILL)
            # At any moment: before the pool has seen the death, and after.
            still_works(pool)
            eventually(lambda pid=pid: pid not in pool._processes)
            still_works(pool)


def test_1_sigkill_of_every_idle_worker_costs_no_task(meeting: Meeting) -> None:
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(stay, meeting) for _ in range(2)]
        pids = meeting.arrived(2)
        meeting.let_go(2)
        for future in futures:
            future.result(DEADLINE)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        still_works(pool)


def test_2_sigkill_in_mid_task_fails_that_task_alone(meeting: Meeting) -> None:
    with ProcessPoolExecutor(2) as pool:
        victim = pool.submit(stay, meeting)
        (pid,) = meeting.arrived()
        neighbour = pool.submit(stay, meeting, "neighbour")
        meeting.arrived()
        queued = [pool.submit(square, number) for number in range(500)]
        os.kill(pid, signal.SIGKILL)
        error = crashed(victim)
        assert (error.pid, error.exitcode) == (pid, -signal.SIGKILL)
        assert str(pid) in str(error)
        assert "SIGKILL" in str(error)
        meeting.let_go()
        assert neighbour.result(DEADLINE) == "neighbour"
        assert [future.result(DEADLINE) for future in queued] == [n * n for n in range(500)]
        still_works(pool)


def test_2_what_waits_behind_a_killed_task_runs_elsewhere(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        # Short tasks first: the worker is given more than one at a time then.
        still_works(pool)
        victim = pool.submit(stay, meeting)
        behind = [pool.submit(square, number) for number in range(100)]
        os.kill(*meeting.arrived(), signal.SIGKILL)
        crashed(victim)
        assert [future.result(DEADLINE) for future in behind] == [n * n for n in range(100)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["fork", "spawn", "forkserver"])
def test_2_under_every_start_method(kind: str, meeting: Meeting) -> None:
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(kind)) as pool:
        victim = pool.submit(stay, meeting)
        os.kill(*meeting.arrived(), signal.SIGKILL)
        assert crashed(victim).exitcode == -signal.SIGKILL
        still_works(pool)


class Hesitates:
    """Stops while it is unpickled, or pickled."""

    def __init__(self, meeting: Any, payload: Any = None) -> None:
        self.meeting, self.payload = meeting, payload

    def __setstate__(self, state: dict[str, Any]) -> None:
        state["meeting"].stay()
        self.__dict__.update(state)


class HesitatesToLeave(Hesitates):
    def __reduce__(self) -> tuple[Any, ...]:
        self.meeting.stay()
        return str, ("never",)

    __setstate__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("payload", [b"small", b"large" * 2_000_000], ids=["small", "large"])
def test_3_sigkill_while_receiving(meeting: Meeting, payload: bytes) -> None:
    with ProcessPoolExecutor(1) as pool:
        victim = pool.submit(identity, Hesitates(meeting, payload))
        behind = pool.submit(len, payload)
        os.kill(*meeting.arrived(), signal.SIGKILL)
        crashed(victim)
        assert behind.result(DEADLINE) == len(payload)


def test_4_sigkill_while_pickling_a_result(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        victim = pool.submit(HesitatesToLeave, meeting)
        os.kill(*meeting.arrived(), signal.SIGKILL)
        crashed(victim)
        still_works(pool)


def large(number: int) -> bytearray:
    return bytearray([number]) * (8 << 20)


def test_4_sigkill_while_a_big_result_is_written() -> None:
    """Wherever the signal hits, a result is whole, or its task has failed."""
    random.seed(4)
    with ProcessPoolExecutor(1) as pool:
        whole = 0
        for turn in range(12):
            futures = [pool.submit(large, number) for number in range(3)]
            futures[random.randrange(2)].exception(DEADLINE)
            for worker in pool._supervisor.all_workers():
                worker.send_signal(signal.SIGKILL)
            for number, future in enumerate(futures):
                error = future.exception(DEADLINE)
                if error is None:
                    whole += 1
                    assert future.result() == large(number), turn
                else:
                    crashed(future)
        assert whole >= 12
        still_works(pool)


MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with room for little memory."""
    group = MEMORY / f"counterpoint-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(96 << 20))
    except OSError as error:
        pytest.skip(f"no memory control group can be made, which takes root and cgroup v1: {error}")
    yield group
    eventually(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def join_group(group: str) -> None:
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))


def devour() -> None:
    kept = []
    while True:
        kept.append(bytearray(b"x") * (16 << 20))


def test_5_the_kernel_kills_for_want_of_memory(small_group: Path) -> None:
    with ProcessPoolExecutor(1, initializer=join_group, initargs=(str(small_group),)) as pool:
        victim = pool.submit(devour)
        behind = [pool.submit(square, number) for number in range(20)]
        error = crashed(victim)
        assert error.exitcode == -signal.SIGKILL
        assert error.oom == kernel_counts(small_group)
        assert [future.result(DEADLINE) for future in behind] == [n * n for n in range(20)]
        # What it did is not blamed for what others do, in the same group.
        for _ in range(2):
            assert not crashed(pool.submit(die)).oom


def kernel_counts(group: Path) -> bool:
    """Whether the kernel counts what it kills: since Linux 4.13."""
    return "oom_kill " in (group / "memory.oom_control").read_text()


def test_6_os_exit_in_a_task() -> None:
    with ProcessPoolExecutor(2) as pool:
        for status in (0, 3):
            error = crashed(pool.submit(os._exit, status))
            assert error.exitcode == status
            assert f"exited with status {status}" in str(error)
            still_works(pool)


def test_7_system_exit_is_an_exception_like_others() -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(own_pid).result(DEADLINE)
        for status in (0, 7, "text"):
            error = pool.submit(sys.exit, status).exception(DEADLINE)
            assert isinstance(error, SystemExit)
            assert error.code == status
        assert pool.submit(own_pid).result(DEADLINE) == pid


def interrupt() -> None:
    raise KeyboardInterrupt


def test_7_so_is_keyboard_interrupt() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert isinstance(pool.submit(interrupt).exception(DEADLINE), KeyboardInterrupt)
        still_works(pool)


def segfault() -> None:
    import faulthandler

    faulthandler.disable()
    faulthandler._sigsegv()  # type: ignore[attr-defined]


def test_8_a_segfault() -> None:
    with ProcessPoolExecutor(2) as pool:
        error = crashed(pool.submit(segfault))
        assert error.exitcode == -signal.SIGSEGV
        assert "SIGSEGV" in str(error)
        still_works(pool)


def test_the_zygote_dies_and_everything_with_it(meeting: Meeting) -> None:
    from counterpoint._worker import zygotes

    with ProcessPoolExecutor(2) as pool:
        victims = [pool.submit(stay, meeting) for _ in range(2)]
        meeting.arrived(2)
        queued = [pool.submit(square, number) for number in range(50)]
        zygote = zygotes.current()
        assert zygote is not None
        os.kill(zygote.pid, signal.SIGKILL)
        for victim in victims:
            crashed(victim)
        assert [future.result(DEADLINE) for future in queued] == [n * n for n in range(50)]


def test_a_death_on_a_closed_pool_is_told_to_everybody(meeting: Meeting) -> None:
    """The last task of a pool dies: its callbacks run, and its retries too."""
    for _ in range(10):
        pool = ProcessPoolExecutor(1)
        heard: list[Any] = []
        future = pool.submit(stay, meeting)
        future.add_done_callback(lambda future, heard=heard: heard.append(future.exception()))
        (pid,) = meeting.arrived()
        pool.shutdown(wait=False)
        os.kill(pid, signal.SIGKILL)
        pool.shutdown()
        assert [type(error) for error in heard] == [WorkerCrashed]


def test_a_retry_after_a_death_on_a_closed_pool(tmp_path: Path) -> None:
    for turn in range(5):
        with ProcessPoolExecutor(1) as pool:
            future = pool.options(retries=1).submit(die_once, str(tmp_path / f"mark{turn}"))
        assert future.result(0) == "again"


def die_once(mark: str) -> str:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "again"
    die()
    raise AssertionError("survived")


def test_retries_end() -> None:
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.options(retries=2).submit(die) for _ in range(5)]
        for future in futures:
            crashed(future)
        assert pool._counterpoint_pool.counts()[6] == 15
        still_works(pool)


def start_a_sleeper(meeting: Any) -> None:
    import subprocess

    sleeper = subprocess.Popen(["sleep", "1000"])
    meeting.arrive(sleeper.pid)
    meeting.stay()


def test_a_death_takes_what_the_task_has_started(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        victim = pool.submit(start_a_sleeper, meeting)
        sleeper, pid = meeting.arrived(2)
        os.kill(pid, signal.SIGKILL)
        crashed(victim)
        eventually(lambda: state_of(sleeper) in ("", "Z"))


def test_on_worker_death_break_fails_everything(meeting: Meeting) -> None:
    pool = ProcessPoolExecutor(2, on_worker_death="break")
    futures = [pool.submit(stay, meeting) for _ in range(2)]
    pid, _ = meeting.arrived(2)
    futures += [pool.submit(square, number) for number in range(100)]
    os.kill(pid, signal.SIGKILL)
    for future in futures:
        assert isinstance(future.exception(DEADLINE), BrokenProcessPool)
    with pytest.raises(BrokenProcessPool):
        pool.submit(square, 1)
    pool.shutdown()
