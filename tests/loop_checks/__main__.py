"""`python -m tests.loop_checks LOOP CHECK`: one check. Without a check, all, each in a process.

With several loops, a table of what came of each check on each of them.
"""

from __future__ import annotations

import argparse
import sys

from tests.loop_checks import CHECKS
from tests.loop_checks.arena import LESS, MORE, Effort
from tests.loop_checks.running import carry_out, verdict


def main() -> int:
    """The exit status: 1 if any check failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.loop_checks", description=__doc__)
    parser.add_argument("loops", help="names or module:function, with commas between")
    parser.add_argument("checks", nargs="*", help="those to carry out, in this process if one")
    parser.add_argument("--more", action="store_true", help="as much as in the stress suite")
    parser.add_argument("--less", action="store_true", help="as much as for a comparison")
    given = parser.parse_args()
    names = given.loops.split(",")
    if len(names) == len(given.checks) == 1:
        effort = MORE if given.more else LESS if given.less else Effort()
        carry_out(names[0], given.checks[0], effort)
        return 0
    return _all(names, given.checks or list(CHECKS))


def _all(names: list[str], checks: list[str]) -> int:
    failed = 0
    for check in checks:
        for name in names:
            said = verdict(name, check)
            failed += said != "passed"
            print(f"{check:34} {name:14} {said}", flush=True)
    print(f"{len(checks) * len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
