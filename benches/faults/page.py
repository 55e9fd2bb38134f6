"""The page with the table, made of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .cases import CASES

__all__ = ["PAGE", "RESULTS", "write"]

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "faults.md"

HEAD = """# Faults

What a pool does when something goes wrong, for each fault in the list that `counterpoint`'s own
tests go by. This page is made by `python -m benches.faults --keep`, which lets each fault happen to
each pool in a program of its own, among tasks that have no part in it, with a time limit.

- **correct**: exactly the right tasks failed, and the pool went on and came to its end;
- *task lost*: a task without fault failed, was never run, or gave a wrong answer;
- *pool lost*: afterwards the pool did no work any more;
- *hang*: the program did not come to its end within the limit (25 s; 120 s for 100,000 tasks, 60 s
  for the storm and the limit of descriptors; a pool without time limits hangs by definition when a
  task is stopped for ever);
- *left behind*: processes were left after the program's end;
- –: the pool has no such option, or the fault cannot be brought about on the machine of the run.

The storm is one of 3,000 tasks and a kill every 20 ms, for all alike. Most pools are lost or hang
at its first kills, so more tasks would tell no more of them, and the limit after which they count
as hanging would have to be many minutes. The one that `counterpoint` has to survive, 100,000 tasks
and a kill every few milliseconds, is a test: `tests/faults/test_pool_faults_storm.py`.
"""


def write(record: dict[str, Any]) -> None:
    """Writes the page."""
    PAGE.write_text(HEAD + "\n" + "\n".join(table(record)) + "\n\n" + foot(record))


def table(record: dict[str, Any]) -> list[str]:
    pools = list(record["versions"])
    lines = ["| | fault | " + " | ".join(pools) + " |", "|---|---|" + "---|" * len(pools)]
    for name, row in record["results"].items():
        cells = [cell(row[pool][0]) for pool in pools]
        lines.append(f"| {CASES[name].number} | {CASES[name].title} | " + " | ".join(cells) + " |")
    totals = [
        sum(row[pool][0] == "correct" for row in record["results"].values()) for pool in pools
    ]
    of = [sum(cell(row[pool][0]) != "–" for row in record["results"].values()) for pool in pools]
    counts = [f"{total} of {all_}" for total, all_ in zip(totals, of, strict=True)]
    lines.append("| | correct | " + " | ".join(counts) + " |")
    return lines


def cell(verdict: str) -> str:
    if verdict in ("no such option", "not run"):
        return "–"
    return f"**{verdict}**" if verdict == "correct" else verdict


def foot(record: dict[str, Any]) -> str:
    versions = [f"{name} {number}" for name, number in record["versions"].items() if number]
    return (
        f"CPython {record['python']}; {', '.join(versions)}. The stdlib's executor runs under "
        "forkserver, the default of Python 3.14; the others under their own defaults. Joblib takes "
        "all calls at once and gives all answers or one error. The raw data, with what each pool "
        "said, is `benches/faults/results.json`.\n"
    )
