"""Rows as cells of text, for the terminal and for the documentation alike."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benches.vs.case import Demand
from benches.vs.libraries import BEST_OTHER, OURS, STDLIB
from benches.vs.loops.names import BARE
from benches.vs.measure import Column, Row
from benches.vs.series import Series

NONE = "–"
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
    wanted = [f"≥ {times(d.times)}{'' if d.than == STDLIB else ' ' + d.than}" for d in row.demands]
    verdicts = [verdict(row, demand) for demand in row.demands]
    return (
        row.title,
        cell(row.columns.get(OURS), row.unit),
        cell(row.columns.get(STDLIB), row.unit),
        times(row.ratio(STDLIB)),
        times(row.cpu_ratio(STDLIB)),
        ", ".join(wanted) or NONE,
        ", ".join(verdicts) or NONE,
        ", ".join(others) or NONE,
    )


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


def failures(rows: Sequence[Row]) -> list[str]:
    """The demands that are not met, or that nothing was measured for."""
    found = []
    for row in rows:
        ours = row.columns.get(OURS, Column(error="not measured"))
        if row.demands and not ours.samples:
            found.append(f"{row.name}: {ours.error}")
            continue
        for demand in row.demands:
            if row.verdict(demand) == "FAIL":
                got, wanted = times(row.ratio(demand.than)), times(demand.times)
                found.append(f"{row.name}: {got} of {demand.than}, wanted {wanted}")
    return found
