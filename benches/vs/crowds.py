"""Many threads at one object: how long until they all wait there, and until all are through.

While threads that are through go on working, the next one has to wait for a turn of the scheduler
through all of them; where the object wakes its waiters one by one, the whole then takes a time that
grows with the square of their number. aiologic's performance page explains it on starting threads,
a lock and a condition; here the same is done at more kinds of objects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from benches.vs.case import PATIENCE_SECONDS, quiet_gc
from benches.vs.libraries import OURS, STDLIB, Library
from benches.vs.series import Series

SETTLE_SECONDS = 0.02
LONGEST_SECONDS = 15.0
BUSY_KINDS = ("Lock", "Condition", "Event")


class Crossing(NamedTuple):
    """What each thread does at the object, and what lets all of them through.

    A thread calls what block is given as late as it can before it waits.
    """

    block: Callable[[Callable[[], None]], object]
    release: Callable[[], object]


def at_lock(library: Library, count: int) -> Crossing:
    acquire, release, _ = library.factories["Lock"]()
    acquire()

    def block(announce: Callable[[], None]) -> None:
        announce()
        acquire()
        release()

    return Crossing(block, release)


def at_semaphore(library: Library, count: int) -> Crossing:
    acquire, release, _ = library.factories["Semaphore"](0)

    def block(announce: Callable[[], None]) -> None:
        announce()
        acquire()

    def release_all() -> None:
        for _ in range(count):
            release()

    return Crossing(block, release_all)


def at_condition(library: Library, count: int) -> Crossing:
    condition = library.factories["Condition"]()

    def block(announce: Callable[[], None]) -> None:
        with condition:
            announce()
            condition.wait()

    def notify_all() -> None:
        with condition:
            condition.notify_all()

    return Crossing(block, notify_all)


def at_event(library: Library, count: int) -> Crossing:
    wait, wake, _ = library.factories["Event"]()

    def block(announce: Callable[[], None]) -> None:
        announce()
        wait()

    return Crossing(block, wake)


def at_barrier(library: Library, count: int) -> Crossing:
    (wait,) = library.factories["Barrier"](count + 1)

    def block(announce: Callable[[], None]) -> None:
        announce()
        wait()

    return Crossing(block, wait)


def at_queue(library: Library, count: int) -> Crossing:
    put, get = library.factories["Queue"]()

    def block(announce: Callable[[], None]) -> None:
        announce()
        get()

    def put_all() -> None:
        for _ in range(count):
            put(1)

    return Crossing(block, put_all)


CROSSINGS: dict[str, Callable[[Library, int], Crossing]] = {
    "Lock": at_lock,
    "Semaphore": at_semaphore,
    "Condition": at_condition,
    "Event": at_event,
    "Barrier": at_barrier,
    "Queue": at_queue,
}


class Count:
    """Lets one thread wait until others have called it often enough."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.seen: list[None] = []
        self.reached = threading.Semaphore(0)

    def __call__(self) -> None:
        # Appending and asking for the length are atomic; so one caller at least sees the last.
        self.seen.append(None)
        if len(self.seen) >= self.wanted:
            self.reached.release()

    def work_until_reached(self) -> None:
        """Something that gives way to other threads all the time."""
        while len(self.seen) < self.wanted:
            time.sleep(0)

    def wait(self) -> None:
        if not self.reached.acquire(timeout=PATIENCE_SECONDS):
            raise TimeoutError(f"only {len(self.seen)} of {self.wanted} threads came")


def cross(crossing: Crossing, count: int, busy: bool = False) -> tuple[float, float]:
    """Nanoseconds a thread to start all and have them wait; and to let all of them through.

    busy: a thread that is through goes on working until all are.
    """
    arrived, gone = Count(count), Count(count)

    def visit() -> None:
        crossing.block(arrived)
        gone()
        if busy:
            gone.work_until_reached()

    threads = [threading.Thread(target=visit, daemon=True) for _ in range(count)]
    with quiet_gc():
        start = time.perf_counter_ns()
        for thread in threads:
            thread.start()
        arrived.wait()
        started = time.perf_counter_ns() - start
        time.sleep(SETTLE_SECONDS)  # the last to be announced still have to begin to wait
        start = time.perf_counter_ns()
        crossing.release()
        gone.wait()
        through = time.perf_counter_ns() - start
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    return started / count, through / count


def start_busy(library: Library, count: int) -> float:
    """Nanoseconds a thread to start threads that work until all are started.

    ``Thread.start`` waits at an event that the new thread sets. It is the library's here, as it is
    in a program whose ``threading.Event`` has been replaced.
    """
    started = Count(count)

    def work() -> None:
        started()
        started.work_until_reached()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread._started = library.classes["Event"]()  # type: ignore[attr-defined]
    with quiet_gc():
        start = time.perf_counter_ns()
        for thread in threads:
            thread.start()
        took = time.perf_counter_ns() - start
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    return took / count


def crowd_series(
    libraries: Sequence[Library],
    counts: Sequence[int],
    rounds: int,
    wanted: Callable[[str], bool],
    progress: Callable[[str], None],
) -> Iterator[Series]:
    if wanted("threads-start"):
        series = Series("threads-start", "start threads that work until all are", "threads", "ns")
        # Others' events do not fit: Thread calls is_set() on what it made itself.
        here = [library for library in libraries if library.name in (OURS, STDLIB)]
        yield with_patience(series, having("Event", here), counts, rounds, start_busy, progress)
    for kind, make in CROSSINGS.items():
        name = f"threads-at-{kind.lower()}"
        if wanted(name):
            here = having(kind, libraries)
            yield from idle_series(kind, make, here, counts, rounds, progress)
        if wanted(f"{name}-busy") and kind in BUSY_KINDS:
            title = f"{kind}: let all through, who work until all are"
            series = Series(f"{name}-busy", title, "threads", "ns")
            through = partial(busy_crossing, make)
            yield with_patience(series, having(kind, libraries), counts, rounds, through, progress)


def idle_series(
    kind: str,
    make: Callable[[Library, int], Crossing],
    libraries: Sequence[Library],
    counts: Sequence[int],
    rounds: int,
    progress: Callable[[str], None],
) -> tuple[Series, Series]:
    name = f"threads-at-{kind.lower()}"
    start = Series(f"{name}-start", f"{kind}: start threads that wait", "threads", "ns")
    through = Series(f"{name}-release", f"{kind}: let all of them through", "threads", "ns")
    for count in counts:
        for _ in range(rounds):
            for library in libraries:
                progress(f"{name}: {count} threads, {library.name}")
                try:
                    ns = cross(make(library, count), count)
                except Exception as error:
                    through.notes.append(f"{library.name} at {count}: {error}")
                    continue
                start.add(library.name, count, ns[0])
                through.add(library.name, count, ns[1])
    return start, through


def busy_crossing(make: Callable[[Library, int], Crossing], library: Library, count: int) -> float:
    return cross(make(library, count), count, busy=True)[1]


def with_patience(
    series: Series,
    libraries: Sequence[Library],
    counts: Sequence[int],
    rounds: int,
    measure: Callable[[Library, int], float],
    progress: Callable[[str], None],
) -> Series:
    """Add samples up to the count that would take too long, as squares do on a busy machine."""
    patience = Patience(series)
    for count in counts:
        active = [library for library in libraries if patience.lasts(library.name, count)]
        for turn in range(rounds):
            for library in active:
                if turn == 0 or patience.seconds(library.name, count) < LONGEST_SECONDS / 10:
                    progress(f"{series.name}: {count} threads, {library.name}")
                    series.attempt(library.name, count, partial(measure, library, count))
    return series


class Patience:
    """Predicts from a series so far how long a sample would take, if it grows as a square."""

    def __init__(self, series: Series) -> None:
        self.series = series

    def seconds(self, column: str, count: int) -> float:
        known = self.series.medians(column)
        if not known:
            return 0.0
        before = max(known)
        return known[before] * before / 1e9 * (count / before) ** 2

    def lasts(self, column: str, count: int) -> bool:
        expected = self.seconds(column, count)
        if expected > LONGEST_SECONDS:
            self.series.notes.append(f"{column} at {count}: would take {expected:.0f} s")
        return expected <= LONGEST_SECONDS


def having(kind: str, libraries: Sequence[Library]) -> list[Library]:
    return [library for library in libraries if kind in library.factories]
