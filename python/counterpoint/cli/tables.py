"""The tables of the summary, drawn with rich.

One table each for executors, process pools, event loops, queues and contended locks: first what
somebody is stuck in at the end, a lock or a full queue, then the rows with the longest waits. A
table fits the terminal's width by headings of two lines and by leaving out columns: those of zeros
first, then the least telling. Paths are shortened from the left, because the end of a path is what
tells files apart; and no number and no heading is cut.
"""

from __future__ import annotations

import functools
import io
import os
import sysconfig
from collections.abc import Callable, Sequence
from typing import Generic, Literal, NamedTuple, TextIO, TypeAlias, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from counterpoint._loop.statistics import LoopStatistics, Stall
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
_MOST_STALLS = 5
_MOST_OF_A_SITE, _LEAST_OF_A_SITE = 44, 14
_LEAST_OF_A_LABEL = 24
_MOST_OF_A_CALLBACK = 80
_GAP = 2
# Above every rank: columns in which nothing but zeros stands.
_BLANK = 100
# How long a path may be; it is shortened further for columns of a rank below this.
_SHORTER = ((_MOST_OF_A_SITE, _BLANK), (30, 4), (20, 0), (_LEAST_OF_A_SITE, 0))
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
    """0 stays, unless it is all zeros; of the others the lowest are shown where there is room."""
    occasional: bool = False
    """Left out where it is all zeros, even if there is room."""


class _Strip(NamedTuple):
    """A column with its cells."""

    title: str
    cells: list[str]
    rank: int


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


def size(count: int) -> str:
    """Three digits and a unit.

    >>> size(0), size(1023), size(1024), size(5_300_000)
    ('0', '1023 B', '1.00 KiB', '5.05 MiB')
    """
    if count < 1024:
        return f"{count} B" if count else "0"
    value, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1024
        del units[0]
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {units[0]}"


def _percentiles(
    prefix: str, of: Callable[[_S], WaitStatistics], **ranks: int
) -> list[_Column[_S]]:
    """What is shown of a kind of wait: fields by their ranks, of which `waits` is the number."""

    def measure(field: str) -> Callable[[_S], str]:
        if field == "waits":
            return lambda s: str(of(s).count)
        return lambda s: duration(getattr(of(s), field)) if of(s).count else "-"

    return [_Column(prefix + field, measure(field), rank) for field, rank in ranks.items()]


def _delay(executor: _Tasks) -> WaitStatistics:
    return executor.queue_delay


def _run(executor: _Tasks) -> WaitStatistics:
    return executor.run_time


# What comes first in a table: what somebody is stuck in, then the longest waits.
_Weight: TypeAlias = tuple[bool, float]


def _time_of_tasks(executor: _Tasks) -> _Weight:
    return False, executor.queue_delay.total + executor.run_time.total


def _time_of_queues(queue: QueueStatistics) -> _Weight:
    # One who waits for an item is idle, as a rule.
    return queue.putters > 0, queue.put_waits.total + queue.get_waits.total


def _time_of_locks(lock: LockStatistics) -> _Weight:
    return lock.waiters > 0, lock.waits.total


def _time_of_loops(loop: LoopStatistics) -> _Weight:
    return loop.stalls > 0, loop.lag.total + loop.run_time.total


def _lag(loop: LoopStatistics) -> WaitStatistics:
    return loop.lag


def _callback(loop: LoopStatistics) -> WaitStatistics:
    return loop.run_time


def _put(queue: QueueStatistics) -> WaitStatistics:
    return queue.put_waits


def _get(queue: QueueStatistics) -> WaitStatistics:
    return queue.get_waits


def _wait(lock: LockStatistics) -> WaitStatistics:
    return lock.waits


_EXECUTORS: list[_Column[ExecutorStatistics]] = [
    _Column("workers", lambda s: str(s.max_workers), 6),
    _Column("done", lambda s: str(s.done)),
    _Column("failed", lambda s: str(s.failed)),
    _Column("cancelled", lambda s: str(s.cancelled), 1),
    _Column("left", lambda s: str(s.queued + s.running), 7),
    *_percentiles("delay ", _delay, p50=4, p99=3, max=9),
    *_percentiles("run ", _run, p50=5, p99=3, max=8),
    _Column("busy", lambda s: f"{s.utilisation:.0%}", 2),
]
_PROCESS_POOLS: list[_Column[ProcessPoolStatistics]] = [
    _Column("workers", lambda s: str(s.max_workers), 7),
    _Column("done", lambda s: str(s.done)),
    _Column("failed", lambda s: str(s.failed)),
    _Column("cancelled", lambda s: str(s.cancelled), 1),
    _Column("left", lambda s: str(s.queued + s.running), 8),
    _Column("crashes", lambda s: str(s.crashes)),
    _Column("restarts", lambda s: str(s.restarts), 3),
    *_percentiles("delay ", _delay, p50=5, p99=4, max=10),
    *_percentiles("run ", _run, p50=6, p99=4, max=9),
    _Column("busy", lambda s: f"{s.utilisation:.0%}", 2),
]
_LOOPS: list[_Column[LoopStatistics]] = [
    _Column("callbacks", lambda s: str(s.callbacks)),
    *_percentiles("run ", _callback, p50=9, p99=4, max=2),
    *_percentiles("lag ", _lag, p50=8, p99=3, max=2),
    _Column("depth", lambda s: str(s.depth.max), 6),
    _Column("connections", lambda s: str(s.connections), 5),
    _Column("received", lambda s: size(s.bytes_received), 7),
    _Column("sent", lambda s: size(s.bytes_sent), 7),
    _Column("stalls", lambda s: str(s.stalls), 1),
    _Column("busy", lambda s: f"{s.utilisation:.0%}", 1),
]
_QUEUES: list[_Column[QueueStatistics]] = [
    _Column("puts", lambda s: str(s.puts)),
    _Column("gets", lambda s: str(s.gets), 1),
    _Column("left", lambda s: str(s.size), 2),
    _Column("depth", lambda s: f"{s.max_size}/{s.maxsize}" if s.maxsize else str(s.max_size), 3),
    *_percentiles("put ", _put, waits=7, p50=6, p99=4, max=8),
    *_percentiles("get ", _get, waits=7, p50=5, p99=4, max=8),
    _Column("putters", lambda s: str(s.putters), occasional=True),
    _Column("getters", lambda s: str(s.getters), occasional=True),
]
_LOCKS: list[_Column[LockStatistics]] = [
    *_percentiles("", _wait, waits=0, p50=3, p99=1, max=2),
    _Column("total", lambda s: duration(s.waits.total)),
    _Column("waiters", lambda s: str(s.waiters), occasional=True),
]


class Page:
    """A summary being drawn for one stream."""

    def __init__(self, stream: TextIO | None) -> None:
        terminal = stream is not None and stream.isatty()
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._encoding = getattr(stream, "encoding", None) or "ascii"
        self._width = _width(stream if terminal else None)
        self._console = Console(
            file=io.StringIO(),
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

    def loops(self, rows: Sequence[tuple[Row, LoopStatistics]]) -> None:
        """The table of event loops."""
        self._table("event loop", _LOOPS, rows, _time_of_loops)

    def stalls(self, stalls: Sequence[Stall]) -> None:
        """The longest of the callbacks that blocked an event loop, and where."""
        for stall in sorted(stalls, key=lambda stall: -stall.seconds)[:_MOST_STALLS]:
            where = ""
            if stall.stack:
                file, line, function = stall.stack[-1]
                where = f" in {function} at {_short(f'{file}:{line}', _MOST_OF_A_SITE)}"
            callback = stall.callback or "a callback"
            if len(callback) > _MOST_OF_A_CALLBACK:
                callback = callback[:_MOST_OF_A_CALLBACK] + "…"
            self.line(f"stall of {duration(stall.seconds)}{where}: {callback}")

    def queues(self, rows: Sequence[tuple[Row, QueueStatistics]]) -> None:
        """The table of queues."""
        self._table("queue", _QUEUES, rows, _time_of_queues)

    def locks(self, rows: Sequence[tuple[Row, LockStatistics]]) -> None:
        """The table of locks that somebody waited or waits for."""
        self._table("contended lock", _LOCKS, rows, _time_of_locks)

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
        weight: Callable[[_S], _Weight],
    ) -> None:
        if not rows:
            return
        ordered = sorted(rows, key=lambda pair: weight(pair[1]), reverse=True)
        shown = [column for column in columns if not column.occasional or _tells(column, rows)]
        sheet = _lay_out(title, shown, ordered[:_MOST_ROWS], self._width)
        self._console.print()
        # As wide as it must be: what is cut tells nobody anything.
        self._console.width = _breadth(sheet)
        self._console.print(_draw(sheet))
        if len(ordered) > _MOST_ROWS:
            self.line(f"  … and {len(ordered) - _MOST_ROWS} more")


def _tells(column: _Column[_S], rows: Sequence[tuple[Row, _S]]) -> bool:
    return any(column.cell(statistics) != "0" for _, statistics in rows)


def _lay_out(
    title: str, columns: Sequence[_Column[_S]], rows: Sequence[tuple[Row, _S]], width: int
) -> list[_Strip]:
    """The strips that fit the width, in a form in which as little as possible is left out."""
    wide = [_strip(column, [statistics for _, statistics in rows]) for column in columns]
    narrow = [strip._replace(title=strip.title.replace(" ", "\n")) for strip in wide]
    forms = [(wide, _MOST_OF_A_SITE, _BLANK), *((narrow, *shorter) for shorter in _SHORTER)]
    for strips, most_of_a_site, worth in forms:
        heads = _heads(title, [row for row, _ in rows], most_of_a_site)
        sheet = [*heads, *_choose(strips, width - _breadth(heads) - _GAP)]
        missing = any(0 < strip.rank < worth for strip in strips if strip not in sheet)
        if _breadth(sheet) <= width and not missing:
            break
    return sheet


def _strip(column: _Column[_S], rows: Sequence[_S]) -> _Strip:
    cells = [column.cell(statistics) for statistics in rows]
    is_blank = all(cell in ("0", "-", "0%", "0 s") for cell in cells)
    return _Strip(column.title, cells, column.rank + _BLANK * is_blank)


def _heads(title: str, rows: Sequence[Row], most_of_a_site: int) -> list[_Strip]:
    """What a row is about."""
    labels = [f"{row.kind} {row.name}" if row.name else row.kind for row in rows]
    if most_of_a_site == _LEAST_OF_A_SITE:
        labels = [
            label if len(label) <= _LEAST_OF_A_LABEL else label[: _LEAST_OF_A_LABEL - 1] + "…"
            for label in labels
        ]
    times = [f" ×{row.objects}" if row.objects > 1 else "" for row in rows]
    sites = [_short(row.site, most_of_a_site) for row in rows]
    return [
        _Strip(title, labels, 0),
        _Strip("made at", [site + more for site, more in zip(sites, times, strict=True)], 0),
    ]


def _choose(strips: Sequence[_Strip], room: int) -> list[_Strip]:
    """Those of rank 0, and of the others the most telling for which there is room."""
    chosen = [strip for strip in strips if not strip.rank]
    for strip in sorted(strips, key=lambda strip: strip.rank):
        if strip.rank and _breadth([*chosen, strip]) <= room:
            chosen.append(strip)
    return [strip for strip in strips if strip in chosen]


def _breadth(strips: Sequence[_Strip]) -> int:
    """How many columns of a terminal they take side by side."""
    widths = (
        max(map(cell_len, (*strip.title.split("\n"), *strip.cells))) + _GAP for strip in strips
    )
    return sum(widths) - _GAP


def _draw(sheet: Sequence[_Strip]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold cyan", padding=(0, _GAP, 0, 0))
    for at, strip in enumerate(sheet):
        justify: Literal["left", "right"] = "left" if at < 2 else "right"
        table.add_column(strip.title, justify=justify, no_wrap=True)
    for cells in zip(*(strip.cells for strip in sheet), strict=True):
        table.add_row(*map(Text, cells))
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


def _short(site: str, most: int) -> str:
    for root in _roots():
        if site.startswith(root):
            site = site[len(root) :]
            break
    return site if len(site) <= most else "…" + site[1 - most :]
