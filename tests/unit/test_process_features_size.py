"""How many workers there are, what they may use, and how they leave."""

from __future__ import annotations

import logging
import os
import pickle
import random
import signal
import sys
from pathlib import Path

import pytest

from counterpoint._process.errors import WorkerCrashed
from counterpoint._process.executor import ProcessPoolExecutor
from counterpoint._process.sharing import share
from counterpoint._worker import zygotes
from tests.support import DEADLINE, eventually

MEGABYTE = 1 << 20


def grow(megabytes: int) -> None:
    kept = []
    for _ in range(megabytes):
        kept.append(bytearray(os.urandom(4096) * 256))
    signal.pause()


class Large:
    """A buffer that is mapped where it arrives."""

    def __init__(self, content: object) -> None:
        self.content = bytearray(content) if isinstance(content, int) else content

    def __reduce_ex__(self, _: int) -> tuple[object, ...]:
        return Large, (pickle.PickleBuffer(self.content),)  # type: ignore[arg-type]

    def touch(self) -> int:
        """Read every page."""
        return sum(memoryview(self.content)[::4096])  # type: ignore[arg-type]


def cpus() -> set[int]:
    return os.sched_getaffinity(0)


def imports(name: str) -> bool:
    found = name in sys.modules
    __import__(name)
    return found


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")


class Append:
    """A finalizer with a place to write to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> None:
        append(self.path)


def fail() -> None:
    raise RuntimeError("in the finalizer")


def workers(pool: ProcessPoolExecutor) -> int:
    return pool.statistics().workers


def test_the_least_are_started_at_once_and_replaced() -> None:
    with ProcessPoolExecutor(3, min_workers=2) as pool:
        eventually(lambda: workers(pool) == 2)
        with pytest.raises(WorkerCrashed):
            pool.submit(os._exit, 1).result(DEADLINE)
        eventually(lambda: workers(pool) == 2)


def test_idle_workers_leave_but_for_the_least(tmp_path: Path) -> None:
    gates = [tmp_path / str(number) for number in range(3)]
    for gate in gates:
        os.mkfifo(gate)
    with ProcessPoolExecutor(3, min_workers=1, idle_timeout=0.05) as pool:
        futures = [pool.submit(Path.read_bytes, gate) for gate in gates]
        for gate in gates:
            gate.write_bytes(b"go")
        assert [future.result(DEADLINE) for future in futures] == [b"go"] * 3
        eventually(lambda: workers(pool) == 1)
        assert pool.submit(abs, -1).result(DEADLINE) == 1


def test_a_pool_without_workers_starts_one_again() -> None:
    with ProcessPoolExecutor(1, idle_timeout=0) as pool:
        for number in range(3):
            assert pool.submit(abs, -number).result(DEADLINE) == number
            eventually(lambda: workers(pool) == 0)
        assert pool.statistics().crashes == 0


def test_a_worker_with_too_much_memory_is_killed() -> None:
    with ProcessPoolExecutor(1, max_memory_per_worker=300 * MEGABYTE) as pool:
        worker = pool.submit(os.getpid).result(DEADLINE)
        with pytest.raises(WorkerCrashed, match="max_memory_per_worker is 314572800") as raised:
            pool.submit(grow, 600).result(DEADLINE)
        assert raised.value.pid == worker
        assert not raised.value.oom
        # The pool goes on, and does not call it a crash.
        assert pool.submit(abs, -1).result(DEADLINE) == 1
        assert pool.statistics().crashes == 0


def test_memory_that_all_share_does_not_count() -> None:
    large = share(Large(300 * MEGABYTE))
    with ProcessPoolExecutor(1, max_memory_per_worker=200 * MEGABYTE) as pool:
        assert pool.submit(Large.touch, large).result(DEADLINE) == 0


def test_workers_have_the_cpus_of_their_place() -> None:
    usable = sorted(os.sched_getaffinity(0))
    first, last = usable[0], usable[-1]
    with ProcessPoolExecutor(1, cpu_affinity=[last, [first]]) as pool:
        assert pool.submit(cpus).result(DEADLINE) == {last}
        with pytest.raises(WorkerCrashed):
            pool.submit(os._exit, 1).result(DEADLINE)
        assert pool.submit(cpus).result(DEADLINE) == {last}


def test_a_finalizer_runs_in_each_worker_that_leaves(tmp_path: Path) -> None:
    path = tmp_path / "left"
    with ProcessPoolExecutor(1, finalizer=Append(path), max_tasks_per_child=1) as pool:
        pids = [pool.submit(os.getpid).result(DEADLINE) for _ in range(3)]
    assert sorted(map(int, path.read_text().split())) == sorted(pids)


def test_a_finalizer_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), ProcessPoolExecutor(1, finalizer=fail) as pool:
        assert pool.submit(abs, -1).result(DEADLINE) == 1
    assert "in the finalizer" in caplog.text


def test_what_the_first_worker_imported_the_next_one_has(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another zygote: one that has been asked for much that cannot be preloaded tries no more.
    monkeypatch.setattr(zygotes, "_modules", {})
    zygotes.stop(DEADLINE)
    name = random.choice(["sndhdr", "chunk"]) if sys.version_info < (3, 13) else "pyclbr"
    with ProcessPoolExecutor(1) as pool:
        pool.submit(imports, name).result(DEADLINE)
        # Told when it has nothing to do.
        eventually(lambda: name in zygotes._modules)

        def fresh() -> bool:
            with pytest.raises(WorkerCrashed):
                pool.submit(os._exit, 1).result(DEADLINE)
            return pool.submit(imports, name).result(DEADLINE)

        eventually(fresh)


@pytest.mark.parametrize(
    "arguments",
    [
        {"min_workers": 3},
        {"min_workers": -1},
        {"idle_timeout": -1},
        {"max_memory_per_worker": 0},
        {"cpu_affinity": []},
        {"cpu_affinity": [()]},
        {"cpu_affinity": [100_000]},
    ],
)
def test_nonsense_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ProcessPoolExecutor(2, **arguments)


def test_affinity_is_for_each_worker() -> None:
    with pytest.raises(TypeError, match=r"^cpu_affinity must have a CPU, or CPUs, for each worker"):
        ProcessPoolExecutor(2, cpu_affinity=0)  # type: ignore[arg-type]  # that is the point


def test_a_finalizer_must_be_callable() -> None:
    with pytest.raises(TypeError, match="finalizer"):
        ProcessPoolExecutor(2, finalizer=1)
