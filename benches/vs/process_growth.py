"""How the cost of process pools grows: with workers, with a task's length, with queued tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benches.vs import hosts
from benches.vs.case import Demand
from benches.vs.hosts import WORKERS
from benches.vs.libraries import OURS, STDLIB, Library
from benches.vs.measure import Column, Row
from benches.vs.memory import child
from benches.vs.process_libraries import Hosted
from benches.vs.series import Series

KIND = "ProcessPool"
# Of others, so many workers take long to start, and much memory.
CHEAP_STARTERS = (OURS, STDLIB, "multiprocessing.Pool")
CHEAP_WORKERS = 8
# Where nobody does anything, the ratio is to be one.
LEAST_CPU = 1000
# Submitting does not wait, and there is something to submit to.
QUEUEING = (OURS, STDLIB, "multiprocessing.Pool", "loky", "pebble")

Progress = Callable[[str], None]
Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Extent:
    """How far to go, and how often.

    queued_of_others: the most queued tasks of anybody but us and the standard library.
    run: the most queued tasks that are run in the end.
    """

    workers: tuple[int, ...]
    microseconds: tuple[int, ...]
    queued: tuple[int, ...]
    queued_of_others: int
    run: int
    rounds: int
    tasks: int
    busy_seconds: float


QUICK = Extent((1, 2), (1, 100), (100, 1000), 100, 1000, 1, 500, 0.02)
FULL = Extent(
    workers=(1, 2, 8, 64),
    microseconds=(1, 10, 100, 1000, 10_000, 100_000),
    queued=(100, 1000, 10_000, 100_000, 1_000_000),
    queued_of_others=10_000,
    run=100_000,
    rounds=3,
    tasks=3000,
    busy_seconds=0.2,
)


def pools_of(libraries: Sequence[Library]) -> dict[str, Hosted]:
    """The process pools among what the libraries have."""
    found = {library.name: library.factories.get(KIND) for library in libraries}
    return {name: pool for name, pool in found.items() if isinstance(pool, Hosted)}


def measure_idle(
    libraries: Sequence[Library], rounds: int, wanted: Wanted, progress: Progress
) -> Iterator[Row]:
    """CPU time in a second of idling, of the parent, the workers and whoever else there is."""
    if not wanted("process-idle"):
        return
    columns = {name: Column(n=1) for name in pools_of(libraries)}
    for turn in range(min(rounds, 3)):
        for name, column in columns.items():
            progress(f"process-idle: round {turn + 1}, {name}")
            try:
                sample = hosts.ask(name, "idle", WORKERS, 1)
            except Exception as error:
                column.error = f"{type(error).__name__}: {error}"
                continue
            column.samples.append(max(sample.cpu, LEAST_CPU))
    title = f"ProcessPoolExecutor({WORKERS}), idle: CPU time of all in a second, from 1 µs on"
    yield Row("process-idle", title, "cpu", (Demand(1),), columns)


def worker_series(
    libraries: Sequence[Library], extent: Extent, progress: Progress
) -> Iterator[Series]:
    tasks = Series("process-workers", "process pool: submit + result", "workers", "ns")
    start = Series("process-workers-start", "process pool: start all workers", "workers", "ns")
    for workers in extent.workers:
        for name in pools_of(libraries):
            if workers > CHEAP_WORKERS and name not in CHEAP_STARTERS:
                continue
            progress(f"process-workers: {workers}, {name}")
            rounds = 1 if workers > CHEAP_WORKERS else extent.rounds
            for _ in range(rounds):
                each = partial(wall_of, name, "each", workers, extent.tasks)
                tasks.attempt(name, workers, each)
            hosts.close_pools(name)
            start.attempt(name, workers, partial(start_of, name, workers))
    yield from (tasks, start)


def length_series(
    libraries: Sequence[Library], extent: Extent, progress: Progress
) -> Iterator[Series]:
    title = f"process pool of {WORKERS}: tasks of so much CPU"
    series = Series("process-task-length", title, "microseconds", "ns")
    for length in extent.microseconds:
        count = min(max(int(extent.busy_seconds * 1e6 * WORKERS / length), 4), extent.tasks)
        for _ in range(extent.rounds):
            for name in pools_of(libraries):
                progress(f"{series.name}: {length} µs, {name}")
                work = partial(wall_of, name, f"busy-{length * 1000}", WORKERS, count)
                series.attempt(name, length, work)
    yield series


def queue_series(
    libraries: Sequence[Library], extent: Extent, progress: Progress
) -> Iterator[Series]:
    submit = Series("process-queued-submit", "submit to a busy process pool", "queued", "ns")
    fetch = Series("process-queued-fetch", "then run and fetch all", "queued", "ns")
    size = Series("process-queued-bytes", "bytes per queued task", "queued", "B")
    names = [name for name in pools_of(libraries) if name in QUEUEING]
    for count in extent.queued:
        for name in names:
            if count > extent.queued_of_others and name not in (OURS, STDLIB):
                continue
            progress(f"process-queued: {count}, {name}")
            if count <= extent.run:
                try:
                    timed = queued(name, count, "run")
                except Exception as error:
                    submit.notes.append(f"{name} at {count}: {error}")
                else:
                    submit.add(name, count, timed["submit_ns"])
                    fetch.add(name, count, timed["fetch_ns"])
            size.attempt(name, count, partial(bytes_of, name, count))
    yield from (submit, fetch, size)


def queued(library: str, count: int, then: str) -> dict[str, float]:
    """So many tasks behind a busy worker, in a fresh process; bytes are exact if they are kept."""
    return child("processes", library, count, then, exact=then == "keep")


def bytes_of(library: str, count: int) -> float:
    return queued(library, count, "keep")["bytes"]


def start_of(library: str, workers: int) -> float:
    """Wall-clock nanoseconds for one worker of a new pool."""
    return wall_of(library, "start", workers, 1) / workers


def wall_of(library: str, work: str, workers: int, n: int) -> float:
    """Wall-clock nanoseconds for one of n operations."""
    return hosts.ask(library, work, workers, n).wall / n


def measure_growth(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Series]:
    """All series whose name is wanted."""
    if wanted("process-workers"):
        yield from worker_series(libraries, extent, progress)
    if wanted("process-task-length"):
        yield from length_series(libraries, extent, progress)
    if wanted("process-queued"):
        yield from queue_series(libraries, extent, progress)
