"""What a loop has to be safe from: ours in everything, the others but for what is known."""

from __future__ import annotations

import logging
import sys

import pytest

from tests import loops
from tests.loop_checks import CHECKS
from tests.loop_checks.known import KNOWN, known, markdown
from tests.loop_checks.running import carry_out, verdict


def others() -> list[str]:
    """Other people's loops, on one version; asyncio's, which is another in each, on all."""
    compared = ("asyncio", "uvloop", "rloop") if sys.version_info[:2] == (3, 13) else ("asyncio",)
    return [name for name in compared if loops.is_installed(name) and name != loops.chosen()]


# Some give up the sooner, where it is known that they wait in vain.
IMPATIENCE = 3.0


@pytest.mark.parametrize("check", CHECKS)
def test_the_loop_under_test_is_safe(check: str) -> None:
    entry = known(loops.chosen(), check)
    if entry is not None:
        pytest.xfail(entry.what)
    carry_out(loops.chosen(), check)


# So that the table of what is known stays true: nothing here is about ours.
@pytest.mark.long
@pytest.mark.repeated
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("loop", others())
def test_other_loops_fail_in_what_is_known(loop: str, check: str) -> None:
    entry = known(loop, check)
    said = verdict(loop, check, IMPATIENCE) if entry else verdict(loop, check)
    if entry is None:
        assert said == "passed"
    elif not entry.sometimes:
        assert said != "passed", f"it is known to fail here: {entry.what}"


def test_everything_known_is_of_a_check_and_in_the_table() -> None:
    table = markdown()
    for entry in KNOWN:
        assert any(entry.is_about(entry.loop, check) for check in CHECKS) or entry.since > (3, 11)
        assert entry.what
    assert {line.count("|") for line in table.splitlines()} == {6}


def test_every_check_says_what_it_is_about() -> None:
    assert all(check.__doc__ for check in CHECKS.values())
    assert logging.getLogger("asyncio").disabled is False
