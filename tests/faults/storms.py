"""Storms: workers are killed every few milliseconds, while much is asked of the pool."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

from counterpoint._process.errors import WorkerCrashed
from tests.faults.storm_tasks import LARGE, Book, note, note_large
from tests.processes import ProcessPoolExecutor, clean
from tests.support import DEADLINE, result, spawn


def kill_at_random(
    pool: ProcessPoolExecutor, stop: threading.Event, seed: int, longest: float = 0.010
) -> int:
    """Kills a random worker every few milliseconds; how many it killed."""
    chance, killed = random.Random(seed), 0
    while not stop.wait(chance.uniform(0.001, longest)):
        workers = pool._supervisor.all_workers()
        if workers:
            killed += chance.choice(workers).send_signal(signal.SIGKILL)
    return killed


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
        if turn and used[-1] - min(used[:-1]) < 20 << 20:
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
    book, stop = Book(directory / "book", tasks), threading.Event()
    with ProcessPoolExecutor(2, initializer=book.open) as pool:
        killer = spawn(kill_at_random, pool, stop, 24)
        futures = [pool.submit(note, number, tasks) for number in range(tasks)]
        for future in futures:
            future.exception(DEADLINE)
        stop.set()
        killed = result(killer)
        crashed = check(book, futures, lambda number: number * 3)
        assert killed > 20
        # A kill costs one task at most.
        assert crashed <= killed
        # And nothing of the storm is left: the pool works as before.
        after = [pool.submit(note, number, tasks) for number in range(100)]
        assert [future.result(DEADLINE) for future in after] == [n * 3 for n in range(100)]
        statistics = pool.statistics()
        assert statistics.done == tasks - crashed + 100
        assert statistics.failed == crashed


def large(directory: Path) -> None:
    tasks = 600
    book, stop = Book(directory / "book", tasks), threading.Event()
    with ProcessPoolExecutor(2, initializer=book.open) as pool:
        killer = spawn(kill_at_random, pool, stop, 25, 0.020)
        futures = [
            pool.submit(note_large, number, tasks, bytes([number % 251]) * LARGE)
            for number in range(tasks)
        ]
        for future in futures:
            future.exception(DEADLINE)
        stop.set()
        killed = result(killer)
        crashed = check(book, futures, lambda number: bytearray([number % 251]) * LARGE)
        assert crashed <= killed


def patient(directory: Path) -> None:
    tasks = 100_000
    book, stop = Book(directory / "book", tasks), threading.Event()
    with ProcessPoolExecutor(2, initializer=book.open) as pool:
        killer = spawn(kill_at_random, pool, stop, 26)
        often = pool.options(retries=20)
        futures = [often.submit(note, number, tasks) for number in range(tasks)]
        assert [future.result(DEADLINE) for future in futures] == [n * 3 for n in range(tasks)]
        stop.set()
        assert result(killer) > 5


def everything(directory: Path) -> None:
    """Cancels, kills, limits and deaths at once, from several threads; every future ends."""
    stop = threading.Event()
    with ProcessPoolExecutor(2, max_tasks_per_child=500) as pool:
        killer = spawn(kill_at_random, pool, stop, 27, 0.030)

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

        threads = [spawn(submit, seed) for seed in range(3)]
        assert [result(thread) for thread in threads] == [4120] * 3
        stop.set()
        result(killer)
