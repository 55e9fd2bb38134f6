"""What a case is, and how one sample of it is taken.

CPU time of the thread is the measure of work in one thread: it hardly depends on what else the
machine does. Work of several threads is measured by the wall clock, which is what its user waits
for; the CPU time of the whole process is kept beside it in the raw data.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Literal, NamedTuple

from benches.vs.libraries import STDLIB, Factory

PATIENCE_SECONDS = 120.0


class Sample(NamedTuple):
    """Nanoseconds for all operations of one run."""

    wall: int
    cpu: int


Run = Callable[[Factory, int], Sample]
Work = Callable[[], object]


@dataclass(frozen=True)
class Demand:
    """What the project asks of itself: ``times`` as fast as a column of the same table."""

    times: float
    than: str = STDLIB


@dataclass(frozen=True)
class Case:
    """One row of the tables.

    name: for the command line. title: for the reader. kind: of the subject, see ``libraries.py``.
    run: takes one sample. also: more columns, each with its library and kind.
    step: the number of operations is a multiple of it. base: the smallest number of operations.
    unit: in which a sample is shown; it is kept as nanoseconds, for MB/s those of one megabyte.
    clock: whose time counts, that of this thread without the empty loop, of the wall, or the CPU
    time of the process that does the work, with the wall clock beside it.
    """

    name: str
    title: str
    kind: str
    run: Run
    demands: tuple[Demand, ...] = ()
    clock: Literal["cpu", "wall", "host"] = "wall"
    also: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    step: int = 1
    base: int = 100
    group: str = ""
    unit: Literal["ns", "MB/s", "/s"] = "ns"


@contextmanager
def quiet_gc() -> Iterator[None]:
    """No collection while the clock runs; what earlier samples left is collected before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_one_thread(loop: Callable[[Any, int], object], *arguments: Any) -> Run:
    """Runs of ``loop(subject, n)`` in the calling thread."""

    def run(factory: Factory, n: int) -> Sample:
        subject = factory(*arguments)
        with quiet_gc():
            wall = time.perf_counter_ns()
            cpu = time.thread_time_ns()
            loop(subject, n)
            cpu = time.thread_time_ns() - cpu
            wall = time.perf_counter_ns() - wall
        return Sample(wall, cpu)

    return run


def in_threads(divide: Callable[[Any, int], Sequence[Work]], *arguments: Any) -> Run:
    """Runs of what ``divide(subject, n)`` returns, each in a thread of its own."""

    def run(factory: Factory, n: int) -> Sample:
        subject = factory(*arguments)
        with quiet_gc():
            return race(divide(subject, n))

    return run


def in_event_loop(steps: Callable[[Any, int], Coroutine[Any, Any, Sample]]) -> Run:
    """Runs of ``await steps(subject, n)``; the subject is made inside the running loop."""

    async def main(factory: Factory, n: int) -> Sample:
        subject = factory()
        try:
            return await asyncio.wait_for(steps(subject, n), PATIENCE_SECONDS)
        finally:
            await subject.close()

    def run(factory: Factory, n: int) -> Sample:
        with quiet_gc():
            return asyncio.run(main(factory, n))

    return run


class Clock:
    """Wall and process time from its making on."""

    def __init__(self) -> None:
        self.cpu = time.process_time_ns()
        self.wall = time.perf_counter_ns()

    def sample(self) -> Sample:
        wall = time.perf_counter_ns() - self.wall
        return Sample(wall, time.process_time_ns() - self.cpu)


def race(works: Sequence[Work]) -> Sample:
    """Run each work in a thread; the time from the common start to the last one's end.

    Raises what one of them raised; threads that then wait for ever are daemons.
    """
    gate = threading.Barrier(len(works) + 1)
    ended = threading.Semaphore(0)
    errors: list[BaseException] = []

    def runner(work: Work) -> None:
        try:
            gate.wait()
            work()
        except BaseException as error:
            errors.append(error)
        ended.release()

    threads = [threading.Thread(target=runner, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    gate.wait()
    clock = Clock()
    for _ in threads:
        if not ended.acquire(timeout=PATIENCE_SECONDS):
            raise TimeoutError(f"threads still run after {PATIENCE_SECONDS:.0f} s")
        if errors:
            raise errors[0]
    sample = clock.sample()
    for thread in threads:
        thread.join()
    return sample


def empty_loop_ns() -> float:
    """CPU time of one turn of the loop that every single-thread case has: to be subtracted."""
    n = 200_000
    best = float("inf")
    for _ in range(7):
        start = time.thread_time_ns()
        for _ in repeat(None, n):
            pass
        best = min(best, (time.thread_time_ns() - start) / n)
    return best
