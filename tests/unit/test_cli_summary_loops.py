"""What the summary says of event loops."""

from __future__ import annotations

import json

from counterpoint._loop.statistics import DepthStatistics, LoopStatistics, Stall
from counterpoint._observe.registry import Row
from counterpoint.cli.summary import render
from tests.unit.test_cli_summary import DELAYS, RUNS, SOME, Utf8, report

STALL = Stall("<Task 'one'>", 3.0, 0.25, True, 0.1, (("/x/prog.py", 7, "main"),))
LOOP = Row(
    "EventLoop",
    None,
    "/x/prog.py:13",
    2,
    LoopStatistics(
        None, 90, 60, 700, 8, 5, 2048, 0, 0, 0, 0, SOME, SOME, DepthStatistics(90, 1, 4, 21),
        0.5, 0.25, DELAYS, RUNS, ((1, 90),), 1, (STALL,),
    ),
)  # fmt: skip


def test_text_has_a_row_for_each_event_loop_and_a_line_for_each_stall() -> None:
    text = render(report(LOOP), "text", Utf8())
    (loop,) = [line for line in text.splitlines() if line.startswith("EventLoop")]
    for part in ("/x/prog.py:13 ×2", " 700 ", "900 ms", "1.00 s", " 21 ", "2.00 KiB", "25%"):
        assert part in loop
    assert "stall of 250 ms in main at /x/prog.py:7: <Task 'one'>" in text
    assert "total: 700 callbacks, 1 stall; waited 0 s for locks" in text


def test_json_has_event_loops() -> None:
    document = json.loads(render(report(LOOP), "json", Utf8()))
    (row,) = document["rows"]
    assert row["statistics"]["depth"] == {"turns": 90, "p50": 1, "p99": 4, "max": 21}
    (stall,) = row["statistics"]["recent_stalls"]
    assert stall["callback"] == "<Task 'one'>"
    assert stall["stack"] == [["/x/prog.py", 7, "main"]]
    assert (document["totals"]["callbacks"], document["totals"]["stalls"]) == (700, 1)
