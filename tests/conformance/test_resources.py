"""What CPython's suites check about a whole test case: that nothing of it is left behind."""

from __future__ import annotations

import unittest

import pytest

from tests.conformance.binding import absence, chosen_target, loaded
from tests.conformance.suites import SUITES

SUITE = next(suite for suite in SUITES if suite.name == "ExecutorFailingInitializer")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_failing_initializers_leave_nothing_to_the_resource_tracker(method: str) -> None:
    why_not = absence(SUITE)
    if why_not is not None:
        pytest.skip(why_not)
    case = getattr(loaded(SUITE, chosen_target()), "FailingInitializerResourcesTest", None)
    if case is None:
        pytest.skip("this version of CPython has no FailingInitializerResourcesTest")
    outcome = unittest.TestResult()
    case(f"test_{method}").run(outcome)
    assert outcome.testsRun == 1
    assert outcome.wasSuccessful(), outcome.errors + outcome.failures
