"""Rows as cells of text, for the terminal and for the documentation alike."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Sequence

from benches.vs.case import Demand
from benches.vs.cases.processes import CASES
from benches.vs.libraries import BEST_OTHER, OURS, STDLIB
from benches.vs.loops.names import BARE
from benches.vs.measure import Column, Row
from benches.vs.process_libraries import UNCHUNKED
from benches.vs.series import Series

NONE = "–"
CHUNKED = tuple(case.name for case in CASES if case.kind == "ChunkedProcessPool")
HEAD = ("", OURS, STDLIB, "ratio", "by CPU", "wanted", "verdict", "others")
LOOP_HEAD = ("event loops", "", "", "by the wall", "of the bare server", "of the best other")


def quantity(value: float, unit: str) -> str:
    """Three digits and a unit: 48.2 ns, 1.35 µs, 2.1 KiB; rates from the nanoseconds of one."""
    if unit in ("MB/s", "/s"):
        return f"{1e9 / value:,.0f}{'' if unit == '/s' else ' '}{unit}"
    if unit == "×":
        return times(value)
    step, units = (
        (1024.0, ("B", "KiB", "MiB")) if unit == "B" else (1000.0, ("ns", "µs", "ms", "s"))
    )
    index = 0
    while value >= step and index < len(units) - 1:
        value /= step
        index += 1
    return f"{value:.3g} {units[index]}" if value < 1000 else f"{value:.0f} {units[index]}"


def times(ratio: float | None) -> str:
    if ratio is None:
        return NONE
    return f"{ratio:.1f}×" if ratio >= 9.95 else f"{ratio:.2f}×"


def cell(column: Column | None, unit: str) -> str:
    """Median and spread of a column; for an object also its own bytes without what it owns."""
    if column is None:
        return NONE
    if not column.samples:
        return f"failed: {column.error}"
    spread = f" ±{column.spread:.0%}" if len(column.samples) > 1 else ""
    shallow = f" ({column.shallow} shallow)" if column.shallow else ""
    return quantity(column.median, unit) + spread + shallow


def row_cells(row: Row) -> tuple[str, ...]:
    others = [
        f"{name} {quantity(column.median, row.unit)}"
        for name, column in row.measured().items()
        if name not in (OURS, STDLIB)
    ]
    verdicts = [verdict(row, demand) for demand in row.demands]
    return (
        row.title,
        cell(row.columns.get(OURS), row.unit),
        cell(row.columns.get(STDLIB), row.unit),
        times(row.ratio(STDLIB)),
        times(row.cpu_ratio(STDLIB)),
        wanted_of(row.demands),
        ", ".join(verdicts) or NONE,
        ", ".join(others) or NONE,
    )


def wanted_of(demands: Sequence[Demand]) -> str:
    """What is asked for; of the standard library where nothing else is named."""
    return ", ".join(f"≥ {compared(d.times, d.than)}" for d in demands) or NONE


def compared(ratio: float | None, than: str) -> str:
    return times(ratio) if than == STDLIB else f"{times(ratio)} {than}"


def reached(row: Row) -> str:
    """The ratio to the standard library and to whatever else a demand names; missed ones marked."""
    demands = {demand.than: demand for demand in row.demands}
    compares = [STDLIB, *(than for than in demands if than != STDLIB)]
    found = []
    for than in compares:
        ratio = row.ratio(than)
        if ratio is None and than not in demands and len(compares) > 1:
            continue
        text = compared(ratio, than)
        judged = row.verdict(demands[than]) if than in demands else "pass"
        missed = {"FAIL": f"**{text} (missed)**", "close": f"**{text} (close)**"}
        found.append(missed.get(judged, text))
    return ", ".join(found)


def verdict(row: Row, demand: Demand) -> str:
    """With the ratio, where it is not the one to the standard library that stands beside it."""
    ratio = None if demand.than == STDLIB else row.ratio(demand.than)
    return row.verdict(demand) + ("" if ratio is None else f" at {times(ratio)}")


def loop_cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """A line for each loop in each case of theirs, ours or not."""
    for row in rows:
        if not row.name.startswith("loop-"):
            continue
        title = row.title
        for name, column in row.columns.items():
            wall = statistics.median(column.wall_samples) if column.wall_samples else None
            yield (
                title,
                name,
                cell(column, row.unit),
                NONE if wall is None else quantity(wall, row.unit),
                NONE if name == BARE else times(row.ratio(BARE, name)),
                NONE if name in row.extra else times(row.ratio(BEST_OTHER, name)),
            )
            title = ""


def series_cells(series: Series) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines: a line for each number on the axis, a column for each library."""
    names = list(series.columns)
    medians = {name: series.medians(name) for name in names}
    lines = []
    for x in series.xs():
        values = [medians[name].get(x) for name in names]
        texts = [NONE if value is None else quantity(value, series.unit) for value in values]
        ours, theirs = medians.get(OURS, {}).get(x), medians.get(STDLIB, {}).get(x)
        ratio = theirs / ours if ours and theirs else None
        lines.append((f"{x:,}", *texts, times(ratio)))
    return (series.axis, *names, "ratio"), lines


def losses(rows: Sequence[Row]) -> list[str]:
    """A sentence for each case in which something is faster or smaller than ours."""
    sentences = []
    for row in rows:
        for name, factor in row.losses():
            word = "smaller" if row.unit == "B" else "faster"
            sentences.append(f"{row.title}: {name} is {factor:.2f}× {word}.")
    return sentences


def failures(rows: Sequence[Row], close: bool = False) -> list[str]:
    """The demands that are not met, or that nothing was measured for; with those that are close."""
    found = []
    for row in rows:
        ours = row.columns.get(OURS, Column(error="not measured"))
        if row.demands and not ours.samples:
            found.append(f"{row.name}: {ours.error}")
            continue
        for demand in row.demands:
            judged = row.verdict(demand)
            if judged == "FAIL" or (judged == "close" and close):
                found.append(f"{row.name}: {shortfall(row, demand)}")
    return found


def shortfall(row: Row, demand: Demand) -> str:
    """By how much a demand is missed."""
    ratio = row.ratio(demand.than) or 0.0
    text = f"{times(ratio)} of {demand.than}, wanted {times(demand.times)}: "
    text += f"{1 - ratio / demand.times:.1%} short"
    return f"{text} (close)" if row.verdict(demand) == "close" else text


def unmeasured(rows: Sequence[Row], libraries: Collection[str]) -> list[str]:
    """The columns of a case that failed, and those that some process pools have not at all."""
    found = []
    for row in rows:
        failed = {name: column for name, column in row.columns.items() if not column.samples}
        found += [f"{row.name}: {name}: {column.error}" for name, column in failed.items()]
        if row.name in CHUNKED:
            left_out = [name for name in UNCHUNKED if name in libraries and name not in row.columns]
            found += [f"{row.name}: {name}: its map has no chunks" for name in left_out]
    return found


def gaps(series: Series) -> list[str]:
    """Where a library has no value: what was noted then, or that it was not tried."""
    found = list(dict.fromkeys(series.notes))
    for name in series.columns:
        has = series.medians(name)
        missing = [x for x in series.xs() if x not in has]
        missing = [x for x in missing if not any(n.startswith(f"{name} at {x}:") for n in found)]
        if missing:
            found.append(f"{name} at {', '.join(f'{x:,}' for x in missing)}: not tried")
    return found
