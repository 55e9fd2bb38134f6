"""Each suite goes red on a deliberately broken class."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conformance import counts, deviations
from tests.conformance.binding import absence, is_lent
from tests.conformance.mutants import MUTANTS, Mutant
from tests.conformance.suites import BY_NAME
from tests.conformance.support import PATIENCE_VARIABLE

pytestmark = pytest.mark.skipif(
    deviations.interpreter_excluded() is not None,
    reason=str(deviations.interpreter_excluded()),
)


def parameters() -> list[object]:
    """A parameter for each suite that has tests here, marked as the suite is."""
    chosen = []
    for mutant in MUTANTS:
        suite = BY_NAME[mutant.suite]
        if absence(suite) is not None:
            continue  # test_futures.py reports that, once
        if not counts.expected(mutant.suite)[0] and not is_lent(suite):
            continue
        marks = [pytest.mark.long] if suite.long else []
        chosen.append(pytest.param(mutant, id=mutant.suite, marks=marks))
    return chosen


def test_every_suite_has_a_mutant() -> None:
    assert {mutant.suite for mutant in MUTANTS} == set(BY_NAME)


@pytest.mark.parametrize("mutant", parameters())
def test_suite_goes_red(mutant: Mutant) -> None:
    command = [sys.executable, "-m", "tests.conformance.mutants", mutant.suite]
    environment = os.environ | {PATIENCE_VARIABLE: "2"}
    run = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=45, check=False
    )
    assert run.stdout.split()[-1:] == [mutant.noticed_by], run.stderr
