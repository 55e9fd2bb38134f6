"""Measurements on pools of processes and queues between them, by name; they run in a host."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from benches.vs.case import Clock, Sample, quiet_gc
from benches.vs.process_libraries import OPENERS, PoolFace
from benches.vs.process_queues import pass_on
from benches.vs.process_tasks import buffer_of, burn, give, meet, same, touch

BATCH = 1000
MANY = 100_000
MB = 1_000_000
ARRAY_MB = 8
# Together larger than what a CPU's caches hold.
COPY_TARGETS = 16
# Peers' map is given the best of these.
CHUNKS = (200, 1000, 3000, 10_000, 25_000, 50_000)
SETTLE_SECONDS = 0.3
# From the end of one pool to the making of the next.
PAUSE_SECONDS = 0.05
IDLE_SECONDS = 1.0
Answer = dict[str, Any]


class Pools:
    """The open pools of one library, by their number of workers."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.chunk: int | None = None
        self._faces: dict[int, PoolFace] = {}

    def get(self, workers: int) -> PoolFace:
        """The pool with so many workers, all of which run."""
        if workers not in self._faces:
            self._faces[workers] = OPENERS[self.library](workers, False)
            assemble(self._faces[workers], workers)
        return self._faces[workers]

    def fresh(self, workers: int) -> PoolFace:
        """A new one, to be closed by the caller."""
        return OPENERS[self.library](workers, True)

    def close(self) -> None:
        """Close all of them."""
        while self._faces:
            self._faces.popitem()[1].close()


def assemble(face: PoolFace, workers: int) -> None:
    """Have every worker run, by as many tasks that wait for one another."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        pids = face.each(meet, [(directory, i, workers) for i in range(workers)])
    if len(set(pids)) != workers:
        raise RuntimeError(f"{len(set(pids))} processes for {workers} workers")


def each(pools: Pools, workers: int, n: int) -> Sample:
    """Tiny tasks, a thousand at a time: submit all, then fetch all."""
    face = pools.get(workers)
    clock = Clock()
    for start in range(0, n, BATCH):
        face.each(same, range(start, min(start + BATCH, n)))
    return clock.sample()


def call(pools: Pools, workers: int, n: int) -> Sample:
    """Tiny tasks, one round trip at a time."""
    once = pools.get(workers).call
    clock = Clock()
    for item in range(n):
        once(same, item)
    return clock.sample()


def map_all(pools: Pools, workers: int, n: int) -> Sample:
    """Tiny tasks by map, n of them at once; ours chooses its chunks, the others get their best."""
    face = pools.get(workers)
    if pools.library != "counterpoint" and pools.chunk is None:
        pools.chunk = best_chunk(face)
    clock = Clock()
    for _ in range(n // MANY):
        drain(face, pools.chunk)
    return clock.sample()


def drain(face: PoolFace, chunk: int | None) -> None:
    """Map and take every result."""
    count = sum(1 for _ in face.map(same, range(MANY), chunk))
    assert count == MANY


def best_chunk(face: PoolFace) -> int:
    """The chunk size with which the library is fastest here."""

    def seconds(chunk: int) -> float:
        start = time.perf_counter()
        drain(face, chunk)
        return time.perf_counter() - start

    return min(CHUNKS, key=lambda chunk: min(seconds(chunk) for _ in range(3)))


def argument(pools: Pools, workers: int, n: int) -> Sample:
    """n MB as arguments, 8 at a time, each a new array; the worker touches every page."""
    once = pools.get(workers).call
    return apart(n // ARRAY_MB, lambda array: once(touch, array))


def result(pools: Pools, workers: int, n: int) -> Sample:
    """n MB as results, 8 at a time; this process touches every page."""
    once = pools.get(workers).call
    clock = Clock()
    for _ in range(n // ARRAY_MB):
        touch(once(give, ARRAY_MB * MB))
    return clock.sample()


def copy(pools: Pools, workers: int, n: int) -> Sample:
    """No pool: n MB copied by memcpy, 8 at a time, into memory in use that no cache holds."""
    targets = cycle([memoryview(bytearray(ARRAY_MB * MB)) for _ in range(COPY_TARGETS)])

    def into(array: Any) -> None:
        next(targets)[:] = memoryview(array).cast("B")

    return apart(n // ARRAY_MB, into)


def apart(rounds: int, use: Callable[[Any], object]) -> Sample:
    """The time of ``use``, without that of making a new array for each round."""
    whole = buffer_of(ARRAY_MB * MB)
    wall = cpu = 0
    for _ in range(rounds):
        array = whole.copy()
        clock = Clock()
        use(array)
        sample = clock.sample()
        wall, cpu = wall + sample.wall, cpu + sample.cpu
    return Sample(wall, cpu)


def start(pools: Pools, workers: int, n: int) -> Sample:
    """New pools until all their workers run, in a process at rest; closing them is not counted."""
    wall = cpu = 0
    for _ in range(n):
        time.sleep(PAUSE_SECONDS)
        clock = Clock()
        face = pools.fresh(workers)
        assemble(face, workers)
        sample = clock.sample()
        wall, cpu = wall + sample.wall, cpu + sample.cpu
        face.close()
    return Sample(wall, cpu)


def millisecond(pools: Pools, workers: int, n: int) -> Sample:
    """Tasks of a millisecond of CPU."""
    return busy(pools, workers, n, 1_000_000)


def busy(pools: Pools, workers: int, n: int, nanoseconds: int) -> Sample:
    """Tasks of so many nanoseconds of CPU."""
    face = pools.get(workers)
    clock = Clock()
    face.each(burn, [nanoseconds] * n)
    return clock.sample()


def queue(pools: Pools, producers: int, n: int) -> Sample:
    """No pool: n items of so many producers come through a queue."""
    return pass_on(pools.library, producers, n)


def idle(pools: Pools, workers: int, n: int) -> Sample:
    """CPU time of everybody in a second in which nobody asks for anything.

    Without this thread, which does nothing but measure.
    """
    pools.get(workers)
    time.sleep(SETTLE_SECONDS)
    before = cpu_of_all()
    wall = time.perf_counter_ns()
    time.sleep(IDLE_SECONDS)
    wall = time.perf_counter_ns() - wall
    return Sample(wall, max(cpu_of_all() - before, 0))


def cpu_of_all() -> int:
    """Nanoseconds on a CPU of this process and all that descend from it, but not of this thread."""
    return sum(cpu_of(pid) for pid in (os.getpid(), *descendants(os.getpid())))


def cpu_of(pid: int) -> int:
    total = 0
    for file in task_files(pid, "schedstat"):
        if file.parent.name == str(threading.get_native_id()):
            continue
        try:
            total += int(file.read_text().split()[0])
        except OSError:
            continue  # it has just ended
    return total


def task_files(pid: int, name: str) -> list[Path]:
    """That file of each thread of a process; none if it has just ended."""
    try:
        return list(Path(f"/proc/{pid}/task").glob(f"*/{name}"))
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, as the kernel knows them."""
    found: list[int] = []
    for file in task_files(pid, "children"):
        try:
            children = [int(word) for word in file.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


Work = Callable[[Pools, int, int], Sample]
WORKS: dict[str, Work] = {
    work.__name__: work
    for work in (each, call, map_all, argument, result, copy, start, millisecond, queue, idle)
}


def perform(pools: Pools, work: str, workers: int, n: int) -> Answer:
    """One sample; `work` may be busy-N for tasks of N nanoseconds."""
    name, _, nanoseconds = work.partition("-")
    with quiet_gc():
        if nanoseconds:
            sample = busy(pools, workers, n, int(nanoseconds))
        else:
            sample = WORKS[name](pools, workers, n)
    return {"wall": sample.wall, "cpu": sample.cpu, "chunk": pools.chunk}
