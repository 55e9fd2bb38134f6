"""What a process pool's `statistics()` returns."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from counterpoint._statistics import TASKS, WaitStatistics, describe

if TYPE_CHECKING:
    from counterpoint._core import ProcessPool

    from .supervisor import Supervisor

__all__ = ["ProcessPoolStatistics", "WorkerStatistics", "collect"]


class WorkerStatistics(NamedTuple):
    """One worker process."""

    pid: int
    tasks: int
    busy: float
    cpu_time: float
    memory: int
    bytes_in: int
    bytes_out: int
    restarts: int


class ProcessPoolStatistics(NamedTuple):
    """A pool of worker processes. It begins as `ExecutorStatistics` does."""

    name: str | None
    max_workers: int
    workers: int
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    queue_delay: WaitStatistics
    run_time: WaitStatistics
    utilisation: float
    queue_histogram: tuple[tuple[float, int], ...]
    run_histogram: tuple[tuple[float, int], ...]
    crashes: int
    restarts: int
    each_worker: tuple[WorkerStatistics, ...]


def collect(
    pool: ProcessPool, supervisor: Supervisor, max_workers: int, born: float
) -> ProcessPoolStatistics:
    """The statistics of a pool that was made at `born`."""
    counts = pool.counts()
    pending, running, workers, done, failed, cancelled, crashes, delay, run, busy, restarts = counts
    life = (time.monotonic() - born) * max_workers
    launches = dict(supervisor.launches)
    queue_histogram, run_histogram = pool.histograms()
    return ProcessPoolStatistics(
        None,
        max_workers,
        workers,
        pending,
        running,
        done,
        failed,
        cancelled,
        WaitStatistics(*delay),
        WaitStatistics(*run),
        min(1.0, busy / 1e9 / life) if life > 0 else 0.0,
        tuple(queue_histogram),
        tuple(run_histogram),
        crashes,
        restarts,
        tuple(_workers(pool, supervisor, launches)),
    )


def _workers(
    pool: ProcessPool, supervisor: Supervisor, launches: dict[int, int]
) -> list[WorkerStatistics]:
    employed = dict(supervisor.employed)
    rows = []
    for number, pid, tasks, busy, bytes_in, bytes_out in pool.workers():
        place = employed[number].place if number in employed else -1
        cpu_time, memory = _usage(pid)
        restarts = launches.get(place, 1) - 1
        rows.append(
            WorkerStatistics(
                pid, tasks, busy / 1e9, cpu_time, memory, bytes_in, bytes_out, restarts
            )
        )
    return rows


def _usage(pid: int) -> tuple[float, int]:
    """CPU time and memory of a process; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Its name, which may contain anything, is in parentheses.
            fields = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = file.read().split()
    except OSError:
        return 0.0, 0
    ticks = int(fields[11]) + int(fields[12])
    private = max(0, int(pages[1]) - int(pages[2]))
    return ticks / os.sysconf("SC_CLK_TCK"), private * os.sysconf("SC_PAGE_SIZE")


# Where users find them.
WorkerStatistics.__module__ = ProcessPoolStatistics.__module__ = "counterpoint.futures"

describe(
    WorkerStatistics,
    pid="Its process number.",
    tasks="Tasks that it ended.",
    busy="Seconds that it spent in them.",
    cpu_time="Seconds of CPU time that it used, in user and kernel mode.",
    memory="Bytes of memory that it has for itself.",
    bytes_in="Bytes that it was sent: records and large buffers; not what `share` has placed.",
    bytes_out="Bytes that it sent: records and large buffers.",
    restarts="Workers that had its place before.",
)
describe(
    ProcessPoolStatistics,
    **TASKS,
    name="None.",
    failed="Tasks that raised, did not end in time, or whose worker died.",
    crashes="Workers that ended though nobody wanted it.",
    restarts="Workers that took the place of another.",
    each_worker="The workers that exist now.",
)
