"""The tables of the summary, drawn with rich.

One table each for executors, process pools, queues and contended locks, the rows with the longest
waits first. A table fits the terminal's width by leaving out columns, the least telling first;
paths are shortened from the left, because the end of a path is what tells files apart.
"""

from __future__ import annotations

import functools
import io
import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TextIO, TypeAlias, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from counterpoint._observe.registry import Row
from counterpoint._process.statistics import ProcessPoolStatistics
from counterpoint._statistics import (
    ExecutorStatistics,
    LockStatistics,
    QueueStatistics,
    WaitStatistics,
)

__all__ = ["Page", "duration"]

_MOST_ROWS = 20
_MOST_OF_A_SITE = 44
_WIDTH_OF_A_FILE = 120
_S = TypeVar("_S")
# What tells of any executor tells of each kind.
_R = TypeVar("_R", contravariant=True)
_Tasks: TypeAlias = ExecutorStatistics | ProcessPoolStatistics
# For streams that cannot carry the characters on the left.
_SIMPLER = str.maketrans({"µ": "u", "…": "~", "×": "x"})


class _Column(NamedTuple, Generic[_R]):
    title: str
    cell: Callable[[_R], str]
    rank: int = 0
    """0 stays; otherwise the highest is left out first where the terminal is narrow."""


def duration(seconds: float) -> str:
    """Three digits and a unit.

    >>> duration(0.0000123), duration(0.5), duration(75.0), duration(0.0)
    ('12.3 µs', '500 ms', '75.0 s', '0 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * size:
            value = seconds / size
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds > 0 else "0 s"


def _percentiles(
    prefix: str, of: Callable[[_S], WaitStatistics], rank: int, extras: int
) -> list[_Column[_S]]:
    """The median and p99 of a kind of wait, with that rank; number and maximum are `extras`."""

    def measure(field: str) -> Callable[[_S], str]:
        return lambda s: duration(getattr(of(s), field)) if of(s).count else "-"

    return [
        _Column(f"{prefix}waits", lambda s: str(of(s).count), extras),
        _Column(f"{prefix}p50", measure("p50"), rank),
        _Column(f"{prefix}p99", measure("p99"), rank),
        _Column(f"{prefix}max", measure("max"), extras),
    ]


def _delay(executor: _Tasks) -> WaitStatistics:
    return executor.queue_delay


def _run(executor: _Tasks) -> WaitStatistics:
    return executor.run_time


def _time_of_tasks(executor: _Tasks) -> float:
    return executor.queue_delay.total + executor.run_time.total


def _put(queue: QueueStatistics) -> WaitStatistics:
    return queue.put_waits


def _get(queue: QueueStatistics) -> WaitStatistics:
    return queue.get_waits


def _wait(lock: LockStatistics) -> WaitStatistics:
    return lock.waits


_EXECUTORS: list[_Column[ExecutorStatistics]] = [
    _Column("workers", lambda s: str(s.max_workers)),
    _Column("done", lambda s: str(s.done)),
    _Column("failed", lambda s: str(s.failed), 2),
    _Column("cancelled", lambda s: str(s.cancelled), 4),
    _Column("left", lambda s: str(s.queued + s.running), 5),
    *_percentiles("delay ", _delay, 0, 7)[1:],
    *_percentiles("run ", _run, 1, 6)[1:],
    _Column("busy", lambda s: f"{s.utilisation:.0%}"),
]
_PROCESS_POOLS: list[_Column[ProcessPoolStatistics]] = [
    _Column("workers", lambda s: str(s.max_workers)),
    _Column("done", lambda s: str(s.done)),
    _Column("failed", lambda s: str(s.failed), 3),
    _Column("cancelled", lambda s: str(s.cancelled), 5),
    _Column("left", lambda s: str(s.queued + s.running), 6),
    _Column("crashes", lambda s: str(s.crashes)),
    _Column("restarts", lambda s: str(s.restarts), 4),
    *_percentiles("delay ", _delay, 1, 8)[1:],
    *_percentiles("run ", _run, 2, 7)[1:],
    _Column("busy", lambda s: f"{s.utilisation:.0%}"),
]
_QUEUES: list[_Column[QueueStatistics]] = [
    _Column("puts", lambda s: str(s.puts)),
    _Column("gets", lambda s: str(s.gets), 2),
    _Column("left", lambda s: str(s.size), 3),
    _Column("depth", lambda s: f"{s.max_size}/{s.maxsize}" if s.maxsize else str(s.max_size)),
    *_percentiles("put ", _put, 1, 5),
    *_percentiles("get ", _get, 1, 4),
]
_LOCKS: list[_Column[LockStatistics]] = [
    *_percentiles("", _wait, 0, 0),
    _Column("total", lambda s: duration(s.waits.total)),
]


class Page:
    """A summary being drawn for one stream."""

    def __init__(self, stream: TextIO | None) -> None:
        terminal = stream is not None and stream.isatty()
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._encoding = getattr(stream, "encoding", None) or "ascii"
        self._console = Console(
            file=io.StringIO(),
            width=_width(stream if terminal else None),
            force_terminal=colour,
            color_system="standard" if colour else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def line(self, text: str, style: str = "") -> None:
        """Print text as it is, however long."""
        self._console.print(text, style=style, soft_wrap=True)

    def executors(self, rows: Sequence[tuple[Row, ExecutorStatistics]]) -> None:
        """The table of executors."""
        self._table("executor", _EXECUTORS, rows, _time_of_tasks)

    def process_pools(self, rows: Sequence[tuple[Row, ProcessPoolStatistics]]) -> None:
        """The table of process pools."""
        self._table("process pool", _PROCESS_POOLS, rows, _time_of_tasks)

    def queues(self, rows: Sequence[tuple[Row, QueueStatistics]]) -> None:
        """The table of queues."""
        self._table("queue", _QUEUES, rows, lambda s: s.put_waits.total + s.get_waits.total)

    def locks(self, rows: Sequence[tuple[Row, LockStatistics]]) -> None:
        """The table of locks that somebody waited for."""
        self._table("contended lock", _LOCKS, rows, lambda s: s.waits.total)

    def text(self) -> str:
        """What was drawn, in characters that the stream can carry."""
        assert isinstance(self._console.file, io.StringIO)
        text = self._console.file.getvalue()
        try:
            # Bytes of file names that no encoding knows are written in some way or other.
            text.encode(self._encoding, "surrogateescape")
        except UnicodeEncodeError:
            return text.translate(_SIMPLER)
        return text

    def _table(
        self,
        title: str,
        columns: Sequence[_Column[_S]],
        rows: Sequence[tuple[Row, _S]],
        weight: Callable[[_S], float],
    ) -> None:
        if not rows:
            return
        ordered = sorted(rows, key=lambda pair: weight(pair[1]), reverse=True)
        shown = list(columns)
        table = _draw(title, shown, ordered[:_MOST_ROWS])
        unbounded = self._console.options.update(max_width=sys.maxsize)
        while self._console.measure(table, options=unbounded).maximum > self._console.width:
            widest = max(shown, key=lambda column: column.rank)
            if not widest.rank:
                break
            shown = [column for column in shown if column.rank != widest.rank]
            table = _draw(title, shown, ordered[:_MOST_ROWS])
        self._console.print()
        self._console.print(table)
        if len(ordered) > _MOST_ROWS:
            self.line(f"  … and {len(ordered) - _MOST_ROWS} more with shorter waits")


def _draw(title: str, columns: Sequence[_Column[_S]], rows: Sequence[tuple[Row, _S]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold cyan", padding=(0, 2, 0, 0))
    table.add_column(title, no_wrap=True)
    table.add_column("made at", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for row, statistics in rows:
        label = f"{row.kind} {row.name}" if row.name else row.kind
        place = _short(row.site) + (f" ×{row.objects}" if row.objects > 1 else "")
        cells = [column.cell(statistics) for column in columns]
        table.add_row(*(Text(cell) for cell in (label, place, *cells)))
    return table


def _width(terminal: TextIO | None) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    if terminal is None:
        return _WIDTH_OF_A_FILE
    try:
        return os.get_terminal_size(terminal.fileno()).columns or _WIDTH_OF_A_FILE
    except OSError:
        return _WIDTH_OF_A_FILE


@functools.cache
def _roots() -> tuple[str, ...]:
    """Directories that go without saying, the innermost first."""
    paths = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    try:
        paths.insert(0, os.getcwd())
    except OSError:
        pass  # the program has removed its own directory
    return tuple(path.rstrip(os.sep) + os.sep for path in paths)


def _short(site: str) -> str:
    for root in _roots():
        if site.startswith(root):
            site = site[len(root) :]
            break
    return site if len(site) <= _MOST_OF_A_SITE else "…" + site[1 - _MOST_OF_A_SITE :]
