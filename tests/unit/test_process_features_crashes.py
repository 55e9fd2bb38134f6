"""What is said of a worker that died, what is counted, and pools inside of workers."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterpoint._process import diagnosis, groups
from counterpoint._process.errors import WorkerCrashed
from counterpoint._process.executor import ProcessPoolExecutor
from counterpoint._process.sharing import share
from tests.support import DEADLINE


def die(status: int, why: str = "", *, text: str = "") -> None:
    os._exit(status)


def be_killed(number: int) -> None:
    os.kill(os.getpid(), number)


def crash() -> None:
    faulthandler._sigsegv()  # type: ignore[attr-defined]


def crash_of(
    pool: ProcessPoolExecutor, function: object, *args: object, **kwargs: object
) -> WorkerCrashed:
    error = pool.submit(function, *args, **kwargs).exception(DEADLINE)
    assert isinstance(error, WorkerCrashed)
    return error


def nested(numbers: list[int]) -> list[int]:
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(abs, numbers, chunksize=1))


def nested_share(numbers: list[int]) -> tuple[int, int]:
    # What arrived as a shared object goes on as one.
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(sum, share(numbers)).result(DEADLINE), os.getpid()


def nested_crash() -> str:
    with ProcessPoolExecutor(1) as pool:
        return str(crash_of(pool, die, 5))


def twice_nested() -> list[int]:
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(nested, [-1, -2]).result(DEADLINE)


def leave_a_pool() -> list[int]:
    pool = ProcessPoolExecutor(1)
    return pool.submit(nested, [-3]).result(DEADLINE)


def test_the_task_is_named() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = crash_of(pool, die, 3, "x", text="why")
        assert error.task == f"{__name__}.die(3, 'x', text='why')"
        assert str(error) == (
            f"worker process {error.pid} exited with status 3 while it ran this task: {error.task}"
        )
        named = pool.options(name="the first").submit(die, 4).exception(DEADLINE)
        assert isinstance(named, WorkerCrashed)
        assert named.task == f'"the first", {__name__}.die(4)'
        assert crash_of(pool, lambda: os._exit(1)).task == "a function without a name"
        long = crash_of(pool, die, 1, "x" * 1000)
        assert long.task is not None
        assert long.task.endswith("xxx...)")
        large = crash_of(pool, die, 1, bytes(100_000))
        assert large.task == f"{__name__}.die(1, ...)"
        copy = pickle.loads(pickle.dumps(error))
        assert (copy.pid, copy.exitcode, copy.task) == (error.pid, 3, error.task)


def test_the_signal_is_named() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = crash_of(pool, be_killed, signal.SIGTERM)
        assert error.exitcode == -signal.SIGTERM
        assert "was killed by SIGTERM" in str(error)


def test_a_fatal_signal_leaves_a_dump() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = crash_of(pool, crash)
        assert error.exitcode == -signal.SIGSEGV
        assert "Segmentation fault" in error.dump
        assert "in crash" in error.dump
        assert error.dump in str(error)


def test_a_kill_of_the_kernel_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kills = diagnosis.kills().number
    monkeypatch.setattr(diagnosis, "kills_by", lambda _: kills)
    with ProcessPoolExecutor(1) as pool:
        assert not crash_of(pool, be_killed, signal.SIGKILL).oom
        # The worker has told how many there were before it.
        pool.submit(os.getpid).result(DEADLINE)
        kills += 1
        error = crash_of(pool, be_killed, signal.SIGKILL)
        assert error.oom
        assert "out-of-memory killer" in str(error)
        assert not crash_of(pool, be_killed, signal.SIGKILL).oom


def test_each_kill_explains_one_death(tmp_path: Path) -> None:
    """By counter, from the one on that a worker has seen when it was set up."""
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.write_text("low 3\noom_kill 5\noom_kill_group 0\n")
    five, elsewhere = groups.Kills(str(first), 5), groups.Kills(str(second), 5)
    watch = diagnosis.OomWatch()
    assert not watch.claim(five)
    first.write_text("oom_kill 7\n")
    assert not watch.claim(elsewhere)
    assert not watch.claim(groups.Kills(str(first), 7))
    assert [watch.claim(five) for _ in range(3)] == [True, True, False]
    first.unlink()
    assert not watch.claim(five)
    assert not watch.claim(None)


def test_a_group_is_told_as_it_is() -> None:
    here = groups.kills()
    assert here.number >= 0
    assert groups.Kills.unpack(here.pack()) == here
    for nonsense in (b"", b"5", b"x /proc/vmstat", b"5 /etc/passwd", b"5 /sys/fs/cgroup/../x"):
        assert groups.Kills.unpack(nonsense) is None
    dump = diagnosis.Dump()
    assert dump.kills() is None
    diagnosis.keep_dump(dump.fd)
    diagnosis.note_kills(dump.fd)
    os.write(dump.fd, b"crashed")
    assert dump.kills() == groups.kills()
    assert dump.read() == "crashed"


def test_statistics_are_those_of_each_worker() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.statistics().each_worker == ()
        crash_of(pool, die, 1)
        pids = {pool.submit(os.getpid).result(DEADLINE) for _ in range(5)}
        statistics = pool.statistics()
        (worker,) = statistics.each_worker
        assert {worker.pid} == pids
        assert (worker.tasks, worker.restarts) == (5, 1)
        assert worker.bytes_in > 0
        assert worker.bytes_out > 0
        assert worker.memory > 0
        assert worker.cpu_time >= 0
        pool.submit(burn, 0.2).result(DEADLINE)
        (worker,) = pool.statistics().each_worker
        # The kernel counts it in hundredths.
        assert 0.18 <= worker.cpu_time < DEADLINE
        assert worker.busy >= 0.2
        assert worker.busy > 0
        assert (statistics.crashes, statistics.restarts) == (1, 1)
        assert sum(count for _, count in statistics.run_histogram) == 5
        assert sum(count for _, count in statistics.queue_histogram) == 5
        assert 0 < statistics.utilisation <= 1


@pytest.mark.parametrize("kind", [bytes, bytearray, pickle.PickleBuffer], ids=lambda k: k.__name__)
def test_large_buffers_are_counted_where_they_arrive_and_leave(kind: Callable[..., Any]) -> None:
    size = 1 << 20
    with ProcessPoolExecutor(1) as pool:
        before = counted(pool)
        large = kind(bytearray(size))
        assert pool.submit(length, large).result(DEADLINE) == size
        came, went = counted(pool)
        assert size <= came - before[0] < 2 * size
        assert went - before[1] < 1000
        pool.submit(bytearray, size).result(DEADLINE)
        assert size <= counted(pool)[1] - went < 2 * size
        # Many small parts make one large record.
        came, _ = counted(pool)
        pool.submit(len, list(range(1 << 18))).result(DEADLINE)
        assert 1 << 18 <= counted(pool)[0] - came < 2 << 20


def length(value: Any) -> int:
    return memoryview(value).nbytes


def counted(pool: ProcessPoolExecutor) -> tuple[int, int]:
    pool.submit(os.getpid).result(DEADLINE)
    (worker,) = pool.statistics().each_worker
    return worker.bytes_in, worker.bytes_out


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_pools_nest() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(nested, [-1, -2, -3]).result(DEADLINE) == [1, 2, 3]
        assert pool.submit(twice_nested).result(DEADLINE) == [1, 2]
        assert "exited with status 5" in pool.submit(nested_crash).result(DEADLINE)
        total, worker = pool.submit(nested_share, share([1, 2, 3])).result(DEADLINE)
        assert total == 6
        assert worker != os.getpid()


def test_a_pool_that_a_task_leaves_ends_with_its_worker() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(leave_a_pool).result(DEADLINE) == [3]
