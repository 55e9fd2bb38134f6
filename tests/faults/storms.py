"""Storms: workers are killed every few milliseconds, while much is asked of the pool."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from counterpoint._process.errors import WorkerCrashed
from tests.faults.storm_tasks import LARGE, Book, note, note_large
from tests.processes import ProcessPoolExecutor, clean
from tests.support import DEADLINE, FREE_THREADED, eventually, result, spawn


class Killer:
    """While it is open: kills a random worker every few milliseconds, and `most` tasks at most.

    The tasks are for a machine that starts a process more slowly than the next one is killed.
    """

    def __init__(
        self, pool: ProcessPoolExecutor, seed: int, longest: float = 0.010, most: int = 100
    ) -> None:
        self.killed = 0
        self._pool, self._chance = pool, random.Random(seed)
        self._longest, self._most = longest, most
        self._stop = threading.Event()

    def __enter__(self) -> Killer:
        self._thread = spawn(self._kill)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        result(self._thread)

    def _kill(self) -> None:
        done = 0
        while not self._stop.wait(self._chance.uniform(0.001, self._longest)):
            due = done + self._chance.randrange(self._most)
            eventually(lambda: self._stop.is_set() or self._pool.statistics().done >= due)  # noqa: B023
            done = self._pool.statistics().done
            workers = self._pool._supervisor.all_workers()
            if workers:
                self.killed += self._chance.choice(workers).send_signal(signal.SIGKILL)

    def submitted(self, submit: Callable[[int], Any], tasks: int, enough: int) -> list[Any]:
        """What `submit` returns for each task; however slow the machine, in a storm of so many."""
        futures: list[Any] = []
        for number in range(tasks):
            if number % (tasks // enough) == 0:
                due = number * enough // tasks
                eventually(lambda: self.killed >= due)  # noqa: B023  (called at once)
            futures.append(submit(number))
        return futures


def memory() -> int:
    """Bytes that this process has to itself, and its share of what it shares."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def weather(name: str, directory: Path) -> None:
    """A storm until one leaves no more memory in use than one before, nor aught else.

    What leaks grows with each; what an allocator keeps for a while (some do that for a random part
    of hundreds of MB, as on free-threaded builds) is seen to be given back, or used again.
    """
    storm, used = globals()[name], list[int]()
    for turn in range(6):
        (directory / str(turn)).mkdir()
        with clean():
            storm(directory / str(turn))
        assert not os.listdir("/dev/shm"), os.listdir("/dev/shm")
        gc.collect()
        used.append(memory())
        before = used[:-1]
        if turn and used[-1] - min(before) < 20 << 20:
            return
        if turn and FREE_THREADED and used[-1] < max(before):
            return
    raise AssertionError(used)


def check(book: Book, futures: list[Any], expected: Any) -> int:
    """Exactly the tasks that ran when their process died have failed. How many that were."""
    began, ended = book.read()
    crashed = 0
    for number, future in enumerate(futures):
        error = future.exception(DEADLINE)
        if error is None:
            assert future.result() == expected(number)
            assert (began[number], ended[number]) == (1, 1), number
        else:
            assert isinstance(error, WorkerCrashed), error
            assert error.exitcode == -signal.SIGKILL
            crashed += 1
            # It had been given to a process; nobody ran it again.
            assert began[number] <= 1, number
    return crashed


def small(directory: Path) -> None:
    tasks = 100_000
    book = Book(directory / "book", tasks)
    with ProcessPoolExecutor(2, initializer=book.open) as pool:
        with Killer(pool, 24) as killer:
            futures = killer.submitted(lambda n: pool.submit(note, n, tasks), tasks, 20)
            for future in futures:
                future.exception(DEADLINE)
        crashed = check(book, futures, lambda number: number * 3)
        # A kill costs one task at most.
        assert crashed <= killer.killed
        # And nothing of the storm is left: the pool works as before.
        after = [pool.submit(note, number, tasks) for number in range(100)]
        assert [future.result(DEADLINE) for future in after] == [n * 3 for n in range(100)]
        statistics = pool.statistics()
        assert statistics.done == tasks - crashed + 100
        assert statistics.failed == crashed


def large(directory: Path) -> None:
    tasks = 600
    book = Book(directory / "book", tasks)
    with ProcessPoolExecutor(2, initializer=book.open) as pool:
        with Killer(pool, 25, 0.020, 2) as killer:
            futures = killer.submitted(
                lambda n: pool.submit(note_large, n, tasks, bytes([n % 251]) * LARGE), tasks, 5
            )
            for future in futures:
                future.exception(DEADLINE)
        crashed = check(book, futures, lambda number: bytearray([number % 251]) * LARGE)
        assert crashed <= killer.killed


def patient(directory: Path) -> None:
    tasks = 100_000
    book = Book(directory / "book", tasks)
    with ProcessPoolExecutor(2, initializer=book.open) as pool:
        often = pool.options(retries=20)
        with Killer(pool, 26) as killer:
            futures = killer.submitted(lambda n: often.submit(note, n, tasks), tasks, 5)
            assert [future.result(DEADLINE) for future in futures] == [n * 3 for n in range(tasks)]


def everything(directory: Path) -> None:
    """Cancels, kills, limits and deaths at once, from several threads; every future ends."""
    with ProcessPoolExecutor(2, max_tasks_per_child=500) as pool:

        def submit(seed: int) -> int:
            chance, ended = random.Random(seed), 0
            for _ in range(40):
                how = pool.options(retries=chance.randrange(3), priority=chance.randrange(3))
                some = [how.submit(pow, number, 2) for number in range(100)]
                some += [pool.options(timeout=5.0).submit(pow, 2, 2) for _ in range(3)]
                for future in chance.sample(some, 20):
                    chance.choice((future.cancel, future.kill))()
                for future in some:
                    try:
                        value = future.result(DEADLINE)
                        assert value in {n * n for n in range(100)}, (value, future)
                    except Exception as error:
                        if isinstance(error, TimeoutError | AssertionError):
                            raise
                    ended += 1
            return ended

        with Killer(pool, 27, 0.030, 2):
            threads = [spawn(submit, seed) for seed in range(3)]
            assert [result(thread) for thread in threads] == [4120] * 3
