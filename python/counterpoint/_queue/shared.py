"""What the queue classes share."""

from __future__ import annotations

import sys

from counterpoint import _records

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    from typing import Any

    from counterpoint import _core
    from counterpoint._statistics import QueueStatistics

__all__ = ["statistics_of"]


def statistics_of(
    queue: _core.Queue[Any] | _core.SimpleQueue[Any], maxsize: float
) -> QueueStatistics:
    """The record that `statistics()` returns."""
    records = _records.records()
    size, unfinished, puts, gets, longest, putters, getters = queue._counters()
    put_waits, get_waits = (records.WaitStatistics(*waits) for waits in queue._waits())
    statistics: QueueStatistics = records.QueueStatistics(
        name=None,
        size=size,
        maxsize=maxsize.__ceil__() if 0 < maxsize < sys.maxsize else 0,
        unfinished=unfinished,
        puts=puts,
        gets=gets,
        max_size=longest,
        put_waits=put_waits,
        get_waits=get_waits,
        putters=putters,
        getters=getters,
    )
    return statistics
