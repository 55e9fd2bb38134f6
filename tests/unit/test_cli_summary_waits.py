"""The summary of programs that somebody waits in: at the end, or to enter a condition."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit import programs


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
