"""The summary at the end of `counterpoint run`, as text for people or JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple, TextIO, TypeVar

from counterpoint._loop.statistics import DepthStatistics, LoopStatistics
from counterpoint._observe.registry import Cost, Row
from counterpoint._observe.rows import Statistics
from counterpoint._process.statistics import ProcessPoolStatistics
from counterpoint._statistics import (
    ExecutorStatistics,
    LockStatistics,
    QueueStatistics,
    WaitStatistics,
)

__all__ = ["Report", "document", "render"]

_S = TypeVar(
    "_S",
    ExecutorStatistics,
    ProcessPoolStatistics,
    QueueStatistics,
    LockStatistics,
    LoopStatistics,
)
# What a row, which stands for many objects, cannot tell.
_OF_ONE = ("owner", "each_worker")
_MOST_OF_A_COMMAND = 1000  # characters; a line of text may be as long as the kernel takes


class Report(NamedTuple):
    """All that a summary tells."""

    program: str
    """The command as it was given."""
    wall: float
    """Seconds from before the program's first line to after its last."""
    rows: list[Row]
    """What the registry saw."""
    cost: Cost
    """What seeing it cost."""


class Totals(NamedTuple):
    """Everything added up."""

    objects: int
    tasks_done: int
    tasks_failed: int
    tasks_cancelled: int
    puts: int
    gets: int
    queue_waits: int
    queue_wait_seconds: float
    lock_waits: int
    lock_wait_seconds: float
    callbacks: int
    stalls: int


def render(report: Report, form: str, stream: TextIO | None) -> str:
    """The whole summary, ending in a newline.

    Args:
        form: `text` or `json`.
        stream: where it will be written; decides on width, colour and characters.
    """
    if form == "json":
        return json.dumps(document(report)) + "\n"
    return _text(report, stream)


def document(report: Report) -> dict[str, object]:
    """The JSON form: every row that was observed, waits in seconds, and the totals."""
    return {
        "version": 1,
        "program": report.program,
        "wall_seconds": report.wall,
        "rows": [{**row._asdict(), "statistics": _as_json(row.statistics)} for row in report.rows],
        "totals": totals(report.rows)._asdict(),
        "observation": report.cost._asdict(),
    }


def _as_json(statistics: Statistics) -> dict[str, object]:
    fields = {
        key: value._asdict() if isinstance(value, (WaitStatistics, DepthStatistics)) else value
        for key, value in statistics._asdict().items()
        if key not in _OF_ONE
    }
    if isinstance(statistics, LoopStatistics):
        fields["recent_stalls"] = [stall._asdict() for stall in statistics.recent_stalls]
    return fields


def totals(rows: Iterable[Row]) -> Totals:
    """Add up all rows."""
    rows = list(rows)
    tasks: list[ExecutorStatistics | ProcessPoolStatistics] = []
    tasks += [pool for _, pool in _of(rows, ExecutorStatistics)]
    tasks += [pool for _, pool in _of(rows, ProcessPoolStatistics)]
    queues = [queue for _, queue in _of(rows, QueueStatistics)]
    locks = [lock.waits for _, lock in _of(rows, LockStatistics)]
    loops = [loop for _, loop in _of(rows, LoopStatistics)]
    moves = [waits for queue in queues for waits in (queue.put_waits, queue.get_waits)]
    return Totals(
        objects=sum(row.objects for row in rows),
        tasks_done=sum(pool.done for pool in tasks),
        tasks_failed=sum(pool.failed for pool in tasks),
        tasks_cancelled=sum(pool.cancelled for pool in tasks),
        puts=sum(queue.puts for queue in queues),
        gets=sum(queue.gets for queue in queues),
        queue_waits=sum(waits.count for waits in moves),
        queue_wait_seconds=sum(waits.total for waits in moves),
        lock_waits=sum(waits.count for waits in locks),
        lock_wait_seconds=sum(waits.total for waits in locks),
        callbacks=sum(loop.callbacks for loop in loops),
        stalls=sum(loop.stalls for loop in loops),
    )


def _of(rows: Iterable[Row], record: type[_S]) -> list[tuple[Row, _S]]:
    return [(row, row.statistics) for row in rows if isinstance(row.statistics, record)]


def _text(report: Report, stream: TextIO | None) -> str:
    from counterpoint.cli import tables  # rich is imported when there is something to draw with it

    pools = _of(report.rows, ExecutorStatistics)
    processes = _of(report.rows, ProcessPoolStatistics)
    queues = [(row, queue) for row, queue in _of(report.rows, QueueStatistics) if _used(queue)]
    locks = [(row, lock) for row, lock in _of(report.rows, LockStatistics) if _contended(lock)]
    loops = [(row, loop) for row, loop in _of(report.rows, LoopStatistics) if loop.turns]
    head = f"counterpoint run {_short(report.program)}"
    if not (pools or processes or queues or locks or loops):
        nothing = "no executor, no event loop, no queue in use and no contended lock"
        return f"{head}: {nothing} in {tables.duration(report.wall)}\n"
    page = tables.Page(stream)
    page.line(f"{head}: {tables.duration(report.wall)}", style="bold")
    page.executors(pools)
    page.process_pools(processes)
    page.loops(loops)
    page.stalls([stall for _, loop in loops for stall in loop.recent_stalls])
    page.queues(queues)
    page.locks(locks)
    page.line(_foot(report))
    return page.text()


def _short(program: str) -> str:
    return program if len(program) <= _MOST_OF_A_COMMAND else program[:_MOST_OF_A_COMMAND] + " …"


def _used(queue: QueueStatistics) -> bool:
    waits = queue.put_waits.count + queue.get_waits.count
    return bool(queue.puts or waits or queue.putters or queue.getters)


def _contended(lock: LockStatistics) -> bool:
    return bool(lock.waits.count or lock.waiters)


def _foot(report: Report) -> str:
    from counterpoint.cli.tables import duration

    total = totals(report.rows)
    parts = [f"waited {duration(total.lock_wait_seconds)} for locks"]
    if total.puts:
        waited = f"waited {duration(total.queue_wait_seconds)} for queues"
        parts = [f"{total.puts} puts, {total.gets} gets", waited, *parts]
    if any(isinstance(row.statistics, LoopStatistics) for row in report.rows):
        stalls = f"{total.stalls} stall{'' if total.stalls == 1 else 's'}"
        parts.insert(0, f"{total.callbacks} callbacks, {stalls}")
    kinds = (ExecutorStatistics, ProcessPoolStatistics)
    if any(isinstance(row.statistics, kinds) for row in report.rows):
        parts.insert(0, f"{total.tasks_done} tasks done, {total.tasks_failed} failed")
    seen = f"{total.objects} objects observed, which took {duration(report.cost.seconds)}"
    if report.cost.unobserved:
        seen += f"; {report.cost.unobserved} more left out to keep that short"
    return f"\ntotal: {'; '.join(parts)}\n{seen}"
