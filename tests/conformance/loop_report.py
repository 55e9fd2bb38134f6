"""How far a loop passes CPython's asyncio tests: `python -m tests.conformance.loop_report LOOP`.

LOOP is a name or `module:function`; names of suites or modules after it narrow it down. Each
suite is run in processes of its own, so that a loop that hangs or crashes is told of, too.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator

from tests.conformance.loop_modules import MODULES, absence
from tests.conformance.loop_runs import Job, run
from tests.conformance.suites import LOOPS

# Modules about the insides of asyncio's own loop: for loops that are built on it.
INSIDES = ("test_base_events", "test_unix_events", "test_selector_events")


def jobs(loop: str, names: list[str], limit: float) -> Iterator[tuple[str, Job]]:
    """What is to be run, by name."""
    for suite in LOOPS:
        if suite.name in names or not names:
            yield suite.name, Job(loop, suite=suite.name, limit=limit)
    known = [module.name for module in MODULES if absence(module) is None]
    for name in (*known, *INSIDES):
        if name in names or (name in known and not names):
            yield name, Job(loop, module=name, limit=limit)


def main() -> int:
    """Prints a line for each suite, one for each test that is not passed, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop")
    parser.add_argument("names", nargs="*", help=f"suites or modules, of {', '.join(INSIDES)} too")
    parser.add_argument("--limit", type=float, default=25.0, help="seconds for one test")
    given = parser.parse_args()
    total: Counter[str] = Counter()
    for name, job in jobs(given.loop, given.names, given.limit):
        outcomes = run(job)
        states = Counter(outcome.state for outcome in outcomes.values())
        total += states
        said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        on_loop = sum(outcome.loops > 0 for outcome in outcomes.values())
        where = f" ({on_loop} on the loop)" if job.module else ""
        print(f"{name:26} {said}{where}", flush=True)
        for test, outcome in outcomes.items():
            if outcome.state not in ("passed", "skipped"):
                why = outcome.why.strip().splitlines()
                print(f"    {outcome.state} {test}: {why[-1] if why else ''}"[:200], flush=True)
    print(", ".join(f"{count} {state}" for state, count in sorted(total.items())))
    return 0 if set(total) <= {"passed", "skipped"} else 1


if __name__ == "__main__":
    sys.exit(main())
