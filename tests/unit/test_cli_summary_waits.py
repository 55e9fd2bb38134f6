"""The summary of programs that somebody waits in: at the end, or to enter a condition."""

from __future__ import annotations

import json
from pathlib import Path

from counterpoint._observe.registry import Cost, Row
from counterpoint._statistics import LockStatistics, QueueStatistics, WaitStatistics
from counterpoint.cli.summary import Report, render
from tests.unit import programs

NONE = WaitStatistics(0, 0.0, 0.0, 0.0, 0.0)
SOME = WaitStatistics(7, 1.5, 0.0125, 0.9, 1.0)


def lock_row(site: str, waits: WaitStatistics, waiters: int) -> Row:
    return Row("Lock", None, site, 1, LockStatistics(None, None, waiters, waits))


def queue_row(site: str, waits: WaitStatistics, putters: int, getters: int) -> Row:
    statistics = QueueStatistics(None, 0, 1, 0, 0, 0, 0, waits, NONE, putters, getters)
    return Row("Queue", None, site, 1, statistics)


def table_of(*rows: Row) -> list[list[str]]:
    text = render(Report("prog.py", 2.5, list(rows), Cost(0.0, 0)), "text", None)
    _, table, _ = text.split("\n\n")
    return [line.split() for line in table.splitlines()]


def test_locks_that_somebody_still_waits_for_come_first() -> None:
    head, *rows = table_of(lock_row("/free.py:1", SOME, 0), lock_row("/stuck.py:1", NONE, 2))
    assert head[-1] == "waiters"
    assert [(row[1], row[-1]) for row in rows] == [("/stuck.py:1", "2"), ("/free.py:1", "0")]


def test_queues_in_which_a_put_is_stuck_come_first() -> None:
    head, *rows = table_of(
        queue_row("/idle.py:1", NONE, 0, 3),
        queue_row("/busy.py:1", SOME, 0, 0),
        queue_row("/full.py:1", NONE, 4, 0),
    )
    assert head[-2:] == ["putters", "getters"]
    seen = [(row[1], *row[-2:]) for row in rows]
    assert seen == [("/full.py:1", "4", "0"), ("/busy.py:1", "0", "0"), ("/idle.py:1", "0", "3")]


def test_waiters_have_no_column_where_nobody_waits() -> None:
    assert "waiters" not in table_of(lock_row("/free.py:1", SOME, 0))[0]
    head = table_of(queue_row("/busy.py:1", SOME, 0, 0))[0]
    assert not {"putters", "getters"} & set(head)


def run(tmp_path: Path, source: str, *options: str) -> programs.Ended:
    (tmp_path / "prog.py").write_text(source)
    return programs.run([*programs.RUN, *options, "prog.py"], tmp_path)


STUCK = """
import queue, threading
one, other = threading.Lock(), threading.Lock()
both = threading.Barrier(2)
jobs = queue.Queue(1)

def take(first, second):
    with first:
        both.wait()
        with second:
            pass

def put():
    jobs.put(1)
    jobs.put(2)

for target, args in [(take, (one, other)), (take, (other, one)), (put, ())]:
    threading.Thread(target=target, args=args, daemon=True).start()
while not (one.waiters and other.waiters and jobs.statistics().putters):
    pass
"""


def test_who_still_waits_at_the_end_is_in_the_summary(tmp_path: Path) -> None:
    ended = run(tmp_path, STUCK, "--summary=json")
    assert ended.code == 0
    rows = {
        (row["kind"], row["site"].rpartition("/")[2]): row["statistics"]
        for row in json.loads(ended.err)["rows"]
    }
    lock = rows["Lock", "prog.py:3"]
    assert (lock["waiters"], lock["waits"]["count"]) == (2, 0)
    jobs = rows["Queue", "prog.py:5"]
    assert (jobs["putters"], jobs["put_waits"]["count"]) == (1, 0)
    ended = run(tmp_path, STUCK)
    (row,) = [line for line in ended.err.splitlines() if line.startswith("Lock ")]
    assert row.split()[-1] == "2"


CONDITION = """
import threading
ready = threading.Condition()

def enter():
    with ready:
        pass

def leave():
    ready.acquire()
    threading.Thread(target=enter).start()
    while not ready._lock.waiters:
        pass
    ready.release()

leave()
"""


def test_those_who_wait_to_enter_a_condition_wait_for_its_lock(tmp_path: Path) -> None:
    rows = json.loads(run(tmp_path, CONDITION, "--summary=json").err)["rows"]
    seen = {row["kind"]: row for row in rows if row["site"].endswith("prog.py:3")}
    assert seen["RLock"]["statistics"]["waits"]["count"] == 1
    assert seen["Condition"]["statistics"]["waits"]["count"] == 0
