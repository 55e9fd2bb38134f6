"""Takes the samples: round by round, each library in turn, the first one another each time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benches.vs.case import Case, Demand, empty_loop_ns
from benches.vs.libraries import BEST_OTHER, BEST_PEER, OURS, STDLIB, Factory, Library

COLUMN_LIMIT = 20_000_000
SLACK_LEAST, SLACK_MOST = 0.02, 0.1


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and the milliseconds that one sample should last."""

    rounds: int
    cpu_ms: float
    wall_ms: float


QUICK = Effort(rounds=3, cpu_ms=8, wall_ms=25)
FULL = Effort(rounds=15, cpu_ms=20, wall_ms=60)
# There are more libraries, and starting them takes its time.
QUICK_PROCESSES = Effort(rounds=2, cpu_ms=5, wall_ms=20)
FULL_PROCESSES = Effort(rounds=9, cpu_ms=20, wall_ms=60)
QUICK_SERVERS = Effort(rounds=2, cpu_ms=40, wall_ms=40)
FULL_SERVERS = Effort(rounds=15, cpu_ms=120, wall_ms=120)
QUICK_LOOPS = Effort(rounds=2, cpu_ms=10, wall_ms=10)
FULL_LOOPS = Effort(rounds=9, cpu_ms=60, wall_ms=60)


@dataclass
class Column:
    """The samples of one library in one case: nanoseconds for one operation, or bytes.

    cpu_samples: CPU time of the process beside it. wall_samples: the wall clock, where a host's CPU
    time decides. shallow: what sys.getsizeof says of an object.
    """

    n: int = 0
    shallow: int = 0
    samples: list[float] = field(default_factory=list)
    cpu_samples: list[float] = field(default_factory=list)
    wall_samples: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        return spread_of(self.samples)


@dataclass
class Row:
    """What came out of one case.

    extra: the columns that are no libraries.
    """

    name: str
    title: str
    clock: str
    demands: tuple[Demand, ...]
    columns: dict[str, Column]
    unit: str = "ns"
    extra: tuple[str, ...] = ()

    def measured(self) -> dict[str, Column]:
        return {name: column for name, column in self.columns.items() if column.samples}

    def ratios(self, than: str, of: str = OURS) -> list[float]:
        """How many times as fast as another column ours is, round by round."""
        known = self.measured()
        if than == BEST_PEER:
            than = self.best_peer()
        elif than == BEST_OTHER:
            than = self.best_but(of)
        if than not in known or of not in known:
            return []
        return quotients(known[than].samples, known[of].samples)

    def best_peer(self) -> str:
        """The fastest of the other packages, or of what the standard library has beside its own."""
        return self.best_but(OURS, STDLIB)

    def best_but(self, *names: str) -> str:
        """The fastest of all columns but these and the extra ones."""
        others = {
            name: column.median
            for name, column in self.measured().items()
            if name not in (*names, *self.extra)
        }
        return min(others, key=others.__getitem__, default="")

    def cpu_ratio(self, than: str) -> float | None:
        """The same by CPU time of the process, where the wall clock decides."""
        known = self.measured()
        if self.clock != "wall" or than not in known or OURS not in known:
            return None
        ratios = quotients(known[than].cpu_samples, known[OURS].cpu_samples)
        return statistics.median(ratios) if ratios else None

    def ratio(self, than: str, of: str = OURS) -> float | None:
        ratios = self.ratios(than, of)
        return statistics.median(ratios) if ratios else None

    def verdict(self, demand: Demand) -> str:
        """pass, FAIL, or close: missed by less than the ratios scatter, and by a tenth at most."""
        ratios = self.ratios(demand.than)
        if not ratios:
            return "absent"
        ratio = statistics.median(ratios)
        if ratio >= demand.times:
            return "pass"
        slack = min(max(spread_of(ratios), SLACK_LEAST), SLACK_MOST)
        return "close" if ratio * (1 + slack) >= demand.times else "FAIL"

    def losses(self) -> list[tuple[str, float]]:
        """The columns that are faster than ours, and how many times."""
        found = [(name, self.ratio(name)) for name in self.measured() if name != OURS]
        return [
            (name, 1 / ratio)
            for name, ratio in found
            if ratio is not None and ratio < 0.995 and name not in self.extra
        ]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def quotients(others: Sequence[float], ours: Sequence[float]) -> list[float]:
    return [other / max(mine, 1e-9) for other, mine in zip(others, ours, strict=True)]


def spread_of(samples: Sequence[float]) -> float:
    if len(samples) < 2:
        return 0.0
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / 2 / max(statistics.median(samples), 1e-9)


def row_from_json(data: dict[str, Any]) -> Row:
    columns = {name: Column(**column) for name, column in data["columns"].items()}
    demands = tuple(Demand(**demand) for demand in data["demands"])
    extra = tuple(data.get("extra", ()))
    return Row(**(data | {"columns": columns, "demands": demands, "extra": extra}))


def contenders(case: Case, libraries: Sequence[Library]) -> dict[str, Factory]:
    """The columns of a case and what makes their subjects."""
    by_name = {library.name: library for library in libraries}
    found = {
        library.name: library.factories[case.kind]
        for library in libraries
        if case.kind in library.factories
    }
    for column, (library, kind) in case.also.items():
        if library in by_name:
            found[column] = by_name[library].factories[kind]
    return found


def measure(
    case: Case,
    libraries: Sequence[Library],
    effort: Effort,
    progress: Callable[[str], None] = lambda text: None,
) -> Row:
    """All rounds of a case. A library that fails keeps its error as its result."""
    factories = contenders(case, libraries)
    columns = {name: Column() for name in factories}
    empty = empty_loop_ns() if case.clock == "cpu" else 0.0

    def attempt(name: str, action: Callable[[], None]) -> None:
        if not columns[name].error:
            try:
                action()
            except Exception as error:
                columns[name].error = f"{type(error).__name__}: {error}"
                columns[name].samples.clear()

    def calibrate(name: str) -> None:
        columns[name].n = enough_operations(case, factories[name], effort)

    def take(name: str) -> None:
        column = columns[name]
        sample = case.run(factories[name], column.n)
        primary = sample.wall if case.clock == "wall" else sample.cpu
        column.samples.append(max(primary / column.n - empty, 0.01))
        column.cpu_samples.append(sample.cpu / column.n)
        if case.clock == "host":
            column.wall_samples.append(sample.wall / column.n)

    for name in columns:
        progress(f"{case.name}: {name}")
        attempt(name, lambda name=name: calibrate(name))  # type: ignore[misc]
    names = list(columns)
    for turn in range(effort.rounds):
        progress(f"{case.name}: round {turn + 1} of {effort.rounds}")
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            attempt(name, lambda name=name: take(name))  # type: ignore[misc]
    extra = tuple(case.also)
    return Row(case.name, case.title, case.clock, case.demands, columns, case.unit, extra)


def enough_operations(case: Case, factory: Factory, effort: Effort) -> int:
    """A number of operations that lasts about as long as the effort asks."""
    by_wall = case.clock == "wall"
    wanted = (effort.wall_ms if by_wall else effort.cpu_ms) * 1e6
    n = rounded(case.base, case.step)
    # The first run imports what it needs and fills what is to be warm: nothing to go by.
    case.run(factory, n)
    while True:
        sample = case.run(factory, n)
        took = max(sample.wall if by_wall else sample.cpu, 1)
        if took * 2 >= wanted or n >= COLUMN_LIMIT:
            return rounded(n * wanted / took, case.step)
        n = rounded(n * min(10.0, max(2.0, wanted / took)), case.step)


def rounded(n: float, step: int) -> int:
    """To a multiple of step, at least one."""
    return max(round(n / step), 1) * step
