"""The records are frozen, named and complete."""

from __future__ import annotations

import pickle
import pydoc
from typing import Any

import pytest

from counterpoint._process.statistics import ProcessPoolStatistics, WorkerStatistics
from counterpoint._statistics import (
    ExecutorStatistics,
    LockStatistics,
    QueueStatistics,
    WaitStatistics,
)

NONE = WaitStatistics(0, 0.0, 0.0, 0.0, 0.0)
FIELDS = {
    WaitStatistics: "count total p50 p99 max",
    LockStatistics: "name owner waiters waits",
    QueueStatistics: (
        "name size maxsize unfinished puts gets max_size put_waits get_waits putters getters"
    ),
    ExecutorStatistics: (
        "name max_workers workers queued running done failed cancelled"
        " queue_delay run_time utilisation queue_histogram run_histogram"
    ),
    ProcessPoolStatistics: (
        "name max_workers workers queued running done failed cancelled"
        " queue_delay run_time utilisation queue_histogram run_histogram"
        " crashes restarts each_worker"
    ),
}


@pytest.mark.parametrize("record", FIELDS, ids=lambda record: record.__name__)
def test_fields_in_order(record: type[tuple[object, ...]]) -> None:
    assert " ".join(record._fields) == FIELDS[record]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "record",
    [*FIELDS, WorkerStatistics],
    ids=lambda record: record.__name__,
)
def test_every_field_says_what_it_counts(record: Any) -> None:
    assert record.__doc__
    for field in record._fields:
        text = getattr(record, field).__doc__
        assert text.endswith("."), field
        assert text in pydoc.render_doc(record, renderer=pydoc.plaintext)


def test_a_record_is_frozen_and_can_be_kept() -> None:
    record = LockStatistics("l", None, 1, NONE)
    with pytest.raises(AttributeError):
        record.waiters = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(record)) == record
    assert hash(record) == hash(LockStatistics("l", None, 1, NONE))
    assert repr(record).startswith("LockStatistics(name='l', owner=None, waiters=1, waits=")
