"""What other loops are known to fail; the docs' table comes from it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatch

from tests.loop_checks import CHECKS


@dataclass(frozen=True)
class Known:
    """Checks, as a pattern, that a loop does not pass, and what happens instead."""

    loop: str
    check: str
    what: str
    since: tuple[int, int] = (3, 11)
    until: tuple[int, int] = (3, 99)
    # It depends on the moment.
    sometimes: bool = False

    def is_about(self, loop: str, check: str) -> bool:
        """Whether it says something of this check on this loop, on this version of Python."""
        version = sys.version_info[:2]
        here = self.since <= version <= self.until
        return here and self.loop == loop and fnmatch(check, self.check)


KNOWN: tuple[Known, ...] = ()


def known(loop: str, check: str) -> Known | None:
    """The entry for a check, or None."""
    return next((each for each in KNOWN if each.is_about(loop, check)), None)


def markdown(names: tuple[str, ...] = ("asyncio", "uvloop", "rloop")) -> str:
    """The table: a line for each check, a column for each loop."""
    rows = [("check", "Counterpoint", *names), ("---",) * (2 + len(names))]
    for name, check in CHECKS.items():
        title = (check.__doc__ or name).splitlines()[0]
        found = [known(loop, name) for loop in names]
        cells = [f"no: {each.what}" if each else "yes" for each in found]
        rows.append((title, "yes", *cells))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
