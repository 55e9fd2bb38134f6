"""What is left out of a suite is a test of it, is not run, and is in the documentation's table."""

from __future__ import annotations

import sys

import pytest

from tests.conformance import deviations
from tests.conformance.binding import bind, chosen_target, loaded
from tests.conformance.suites import BY_NAME, names_in


@pytest.mark.parametrize("entry", deviations.LEFT_OUT, ids=lambda entry: entry.test)
def test_it_is_in_the_table_with_its_reason(entry: deviations.LeftOut) -> None:
    (row,) = [
        line
        for line in deviations.deviations_markdown().splitlines()
        if f"| {entry.suite} | `{entry.test}` |" in line
    ]
    assert entry.reason in row
    assert row.count("|") == 5


@pytest.mark.skipif(
    deviations.interpreter_excluded() is not None,
    reason=str(deviations.interpreter_excluded()),
)
@pytest.mark.parametrize("entry", deviations.LEFT_OUT, ids=lambda entry: entry.test)
def test_it_is_a_test_and_not_run(entry: deviations.LeftOut) -> None:
    suite = BY_NAME[entry.suite]
    whole = names_in(getattr(loaded(suite, chosen_target()), suite.case))
    assert (entry.test in whole) is (sys.version_info >= entry.since)
    assert entry.test in suite.without
    assert entry.test not in names_in(bind(suite, chosen_target()))
