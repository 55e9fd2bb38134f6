"""Many connections: latency, memory, and how the cost of a request grows with their number."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benches.vs import measure
from benches.vs.case import Demand
from benches.vs.cases.loops import NEVER_BELOW, SERVERS
from benches.vs.footprint import resident_bytes
from benches.vs.libraries import Library
from benches.vs.loops.names import BARE, Looped
from benches.vs.loops.sessions import Served, Setup
from benches.vs.measure import Column, Row
from benches.vs.series import Series

KIB = 1024
OTHER_FILES = 100
# Growing less than the bare server does is what a constant cost of its own makes of it.
FLAT = (Demand(1, BARE), NEVER_BELOW)
WARM_CONNECTIONS = 100
# Of what takes long to open and scatters little.
MOST_ROUNDS = 3

Progress = Callable[[str], None]
Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Extent:
    """How far to go, and how often.

    crowd: connections of the latencies. idle: those whose memory is measured.
    connections: along the axis. requests: on each connection in one sample, but enough in all.
    """

    crowd: int
    idle: int
    connections: tuple[int, ...]
    requests: int
    enough: int
    rounds: int


QUICK = Extent(100, 200, (10, 100), 3, 1000, 1)
FULL = Extent(1000, 2000, (10, 100, 1000, 10_000), 3, 10_000, 5)


def loops_of(libraries: Sequence[Library]) -> dict[str, str]:
    """The columns of an echo, each with the name of its loop."""
    found = measure.contenders(SERVERS[0], libraries)
    return {name: made.name for name, made in found.items() if isinstance(made, Looped)}


@contextmanager
def serving(loop: str, setup: Setup) -> Iterator[Served]:
    served = Served(setup, loop)
    try:
        yield served
    finally:
        served.end()


def in_rounds(
    loops: dict[str, str], rounds: int, take: Callable[[str], float], say: Callable[[str], None]
) -> dict[str, Column]:
    """Samples of each loop in turn, the first one another each time; one that fails has none."""
    columns = {name: Column(n=1) for name in loops}
    names = list(columns)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            column = columns[name]
            if column.error:
                continue
            say(f"round {turn + 1} of {rounds}, {name}")
            try:
                column.samples.append(take(loops[name]))
            except Exception as error:
                column.error = f"{type(error).__name__}: {error}"
                column.samples.clear()
    return columns


def measure_latency(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Row]:
    """The slowest hundredth of the requests, where all connections always have one in flight."""
    if not wanted(name := "loop-latency"):
        return

    def take(loop: str) -> float:
        with serving(loop, Setup("protocol", KIB, extent.crowd)) as served:
            served.run(extent.enough)
            return float(served.ask(2 * extent.enough)[0]["p99_ns"])

    columns = in_rounds(
        loops_of(libraries), extent.rounds, take, lambda said: progress(f"{name}: {said}")
    )
    title = f"echo of 1 KiB on {extent.crowd:,} connections, p99 of the latency"
    yield Row(name, title, "wall", (Demand(1, "uvloop"),), columns, extra=(BARE,))


def measure_memory(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Row]:
    """Resident bytes of the server for each connection that has had a message and is idle."""
    if not wanted(name := "loop-memory"):
        return

    def take(loop: str) -> float:
        with serving(loop, Setup("protocol", KIB, WARM_CONNECTIONS)) as served:
            before = resident_bytes(served.server.pid)
            served.hold(extent.idle)
            return (resident_bytes(served.server.pid) - before) / extent.idle

    columns = in_rounds(
        loops_of(libraries),
        min(extent.rounds, MOST_ROUNDS),
        take,
        lambda said: progress(f"{name}: {said}"),
    )
    title = f"Protocol, memory of a server for each of {extent.idle:,} idle connections"
    yield Row(name, title, "memory", (Demand(1, "uvloop"),), columns, "B", (BARE,))


def measure_connections(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Series]:
    """The server's CPU time for a request, with one in flight on each of so many connections."""
    name = "loop-connections"
    if not wanted(name):
        return
    title = "echo of 1 KiB on so many connections, the server's CPU time"
    series = Series(name, title, "connections", "ns")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for count in extent.connections:
        if count + OTHER_FILES > most:
            series.notes.append(f"{count:,} connections: a process may open {most:,} files only")
            continue
        columns = in_turns(libraries, extent, count, progress)
        for column, samples in columns.items():
            for sample in samples.samples:
                series.add(column, count, sample)
            if samples.error:
                series.notes.append(f"{column} at {count}: {samples.error}")
    yield series


def in_turns(
    libraries: Sequence[Library], extent: Extent, count: int, progress: Progress
) -> dict[str, Column]:
    """Servers that keep their connections over the rounds."""
    open_here: dict[str, Served] = {}
    n = max(count * extent.requests, extent.enough)

    def take(loop: str) -> float:
        if loop not in open_here:
            open_here[loop] = Served(Setup("protocol", KIB, count), loop)
            open_here[loop].run(n)
        return open_here[loop].run(n).cpu / n

    say = lambda said: progress(f"{count:,} connections: {said}")  # noqa: E731
    try:
        return in_rounds(loops_of(libraries), min(extent.rounds, MOST_ROUNDS), take, say)
    finally:
        for served in open_here.values():
            served.end()


def growth_row(series: Series) -> Iterator[Row]:
    """How many times the cost grows from the fewest to the most connections."""
    xs = series.xs()
    if len(xs) < 2:
        return
    few, many = xs[0], xs[-1]
    columns = {
        name: Column(n=1, samples=measure.quotients(samples[many], samples[few]))
        for name, samples in series.columns.items()
        if len(samples.get(few, ())) == len(samples.get(many, ()))
    }
    title = f"growth of that cost from {few:,} to {many:,} connections"
    yield Row("loop-growth", title, "host", FLAT, columns, "×", (BARE,))


def measure_all(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> tuple[list[Row], list[Series]]:
    """Rows, and the series that they were partly made from."""
    rows = list(measure_latency(libraries, extent, wanted, progress))
    rows += measure_memory(libraries, extent, wanted, progress)
    series = list(measure_connections(libraries, extent, wanted, progress))
    for found in series:
        rows += growth_row(found)
    return rows, series
