"""Many connections: latency, memory, and how the cost of a request grows with their number."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

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
# Of two loops that add the same to what the kernel does for a connection, the slower one grows
# less: their growth is compared with the bare server's, and their cost with each other's.
FLAT = (Demand(1, BARE),)
WARM_CONNECTIONS = 100
# Of what scatters little.
MEMORY_ROUNDS = 3

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
FULL = Extent(1000, 2000, (10, 100, 1000, 10_000), 3, 10_000, 9)


@dataclass
class Taken:
    """What was measured of a loop, round by round: the same number of figures each time."""

    rounds: list[list[float]] = field(default_factory=list)
    error: str = ""

    def column(self) -> Column:
        """Of the first figure of each round."""
        return Column(n=1, samples=[figures[0] for figures in self.rounds], error=self.error)


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
    loops: dict[str, str],
    rounds: int,
    take: Callable[[str], list[float]],
    say: Callable[[str], None],
) -> dict[str, Taken]:
    """What is taken of each loop in turn, the first one another each time; or its error."""
    taken = {name: Taken() for name in loops}
    names = list(taken)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if taken[name].error:
                continue
            say(f"round {turn + 1} of {rounds}, {name}")
            try:
                taken[name].rounds.append(take(loops[name]))
            except Exception as error:
                taken[name] = Taken(error=f"{type(error).__name__}: {error}")
    return taken


def measure_latency(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Row]:
    """The slowest hundredth of the requests, where all connections always have one in flight."""
    if not wanted(name := "loop-latency"):
        return

    def take(loop: str) -> list[float]:
        with serving(loop, Setup("protocol", KIB, extent.crowd)) as served:
            served.run(extent.enough)
            return [float(served.ask(2 * extent.enough)[0]["p99_ns"])]

    taken = in_rounds(
        loops_of(libraries), extent.rounds, take, lambda said: progress(f"{name}: {said}")
    )
    columns = {loop: found.column() for loop, found in taken.items()}
    title = f"echo of 1 KiB on {extent.crowd:,} connections, p99 of the latency"
    yield Row(name, title, "wall", (Demand(1, "uvloop"),), columns, extra=(BARE,))


def measure_memory(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Row]:
    """Resident bytes of the server for each connection that has had a message and is idle."""
    if not wanted(name := "loop-memory"):
        return

    def take(loop: str) -> list[float]:
        with serving(loop, Setup("protocol", KIB, WARM_CONNECTIONS)) as served:
            before = resident_bytes(served.server.pid)
            served.hold(extent.idle)
            return [(resident_bytes(served.server.pid) - before) / extent.idle]

    taken = in_rounds(
        loops_of(libraries),
        min(extent.rounds, MEMORY_ROUNDS),
        take,
        lambda said: progress(f"{name}: {said}"),
    )
    columns = {loop: found.column() for loop, found in taken.items()}
    title = f"Protocol, memory of a server for each of {extent.idle:,} idle connections"
    yield Row(name, title, "memory", (Demand(1, "uvloop"),), columns, "B", (BARE,))


def measure_connections(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> Iterator[Series]:
    """The server's CPU time for a request, with one in flight on each of so many connections.

    Each loop has a server for each number, and they are asked one right after the other: a machine
    whose speed changes within minutes changes it for both ends of the axis.
    """
    name = "loop-connections"
    if not wanted(name):
        return
    title = "echo of 1 KiB on so many connections, the server's CPU time"
    series = Series(name, title, "connections", "ns")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    counts = [count for count in extent.connections if count + OTHER_FILES <= most]
    for count in extent.connections:
        if count not in counts:
            series.notes.append(f"{count:,} connections: a process may open {most:,} files only")
    loops = loops_of(libraries)
    with ExitStack() as closing:
        open_here: dict[str, list[tuple[Served, int]]] = {}

        def take(loop: str) -> list[float]:
            if loop not in open_here:
                open_here[loop] = list(open_all(loop, counts, extent, closing))
            return [served.run(n).cpu / n for served, n in open_here[loop]]

        taken = in_rounds(loops, extent.rounds, take, lambda said: progress(f"{name}: {said}"))
    for column, found in taken.items():
        for costs in found.rounds:
            for count, cost in zip(counts, costs, strict=True):
                series.add(column, count, cost)
        if found.error:
            series.notes.append(f"{column}: {found.error}")
    yield series


def open_all(
    loop: str, counts: Sequence[int], extent: Extent, closing: ExitStack
) -> Iterator[tuple[Served, int]]:
    """Servers that keep their connections over the rounds, and how much each is asked for."""
    for count in counts:
        served = Served(Setup("protocol", KIB, count), loop)
        closing.callback(served.end)
        n = max(count * extent.requests, extent.enough)
        served.run(n)
        yield served, n


def growth_rows(series: Series) -> Iterator[Row]:
    """What a request costs on the most connections, and how many times as much as on the fewest."""
    xs = series.xs()
    if len(xs) < 2:
        return
    few, many = xs[0], xs[-1]
    crowded, growth = {}, {}
    for name, samples in series.columns.items():
        if not samples.keys() >= {few, many}:
            continue
        crowded[name] = Column(n=1, samples=samples[many])
        growth[name] = Column(n=1, samples=measure.quotients(samples[many], samples[few]))
    title = f"echo of 1 KiB on {many:,} connections, Protocol"
    yield Row("loop-crowded", title, "host", (NEVER_BELOW,), crowded, "/s", (BARE,))
    title = f"growth of a request's cost from {few:,} to {many:,} connections"
    yield Row("loop-growth", title, "host", FLAT, growth, "×", (BARE,))


def measure_all(
    libraries: Sequence[Library], extent: Extent, wanted: Wanted, progress: Progress
) -> tuple[list[Row], list[Series]]:
    """Rows, and the series that they were partly made from."""
    rows = list(measure_latency(libraries, extent, wanted, progress))
    rows += measure_memory(libraries, extent, wanted, progress)
    series = list(measure_connections(libraries, extent, wanted, progress))
    for found in series:
        rows += growth_rows(found)
    return rows, series
