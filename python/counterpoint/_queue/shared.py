"""What the queue classes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterpoint._statistics import QueueStatistics, WaitStatistics

if TYPE_CHECKING:
    from counterpoint import _core

__all__ = ["statistics_of"]


def statistics_of(
    queue: _core.Queue[Any] | _core.SimpleQueue[Any], maxsize: int
) -> QueueStatistics:
    """The record that `statistics()` returns."""
    size, unfinished, puts, gets, longest, putters, getters = queue._counters()
    put_waits, get_waits = (WaitStatistics(*waits) for waits in queue._waits())
    return QueueStatistics(
        name=None,
        size=size,
        maxsize=maxsize,
        unfinished=unfinished,
        puts=puts,
        gets=gets,
        max_size=longest,
        put_waits=put_waits,
        get_waits=get_waits,
        putters=putters,
        getters=getters,
    )
