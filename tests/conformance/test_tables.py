"""The tables are true: every suite bound, its tests counted, every deviation still one."""

from __future__ import annotations

import importlib.util
import platform

import pytest

from tests.conformance import counts, deviations, loop_modules
from tests.conformance.binding import absence, bind, chosen_target, is_lent
from tests.conformance.suites import BY_NAME, SUITES, Suite, names_in
from tests.conformance.targets import CLASSES, EXCEPTIONS, STDLIB

needs_gil = pytest.mark.skipif(
    deviations.interpreter_excluded() is not None,
    reason=str(deviations.interpreter_excluded()),
)
# test_futures.py reports, once, that its suites are absent.
present = [suite for suite in SUITES if absence(suite) is None]


@needs_gil
@pytest.mark.parametrize("suite", present, ids=lambda suite: suite.name)
def test_suite_has_the_counted_tests(suite: Suite) -> None:
    found = len(names_in(bind(suite, chosen_target())))
    count, exact = counts.expected(suite.name)
    if exact and not is_lent(suite):
        assert found == count
    else:
        assert found >= count


def test_every_suite_is_counted_on_every_release() -> None:
    assert set(counts.COUNTS) == set(BY_NAME)
    assert {len(row) for row in counts.COUNTS.values()} == {len(counts.RELEASES)}


@needs_gil
@pytest.mark.parametrize("entry", deviations.DEVIATIONS, ids=lambda entry: entry.test)
def test_deviation_names_a_test(entry: deviations.Deviation) -> None:
    if entry.suite in loop_modules.BY_NAME:
        return  # test_loop_modules.py, which runs the module, sees to it
    suite = BY_NAME[entry.suite]
    if absence(suite) is None and deviations.deviation(entry.suite, entry.test):
        assert entry.test in names_in(bind(suite, chosen_target()))


def test_every_deviation_is_in_the_documentation_with_its_reason() -> None:
    table = deviations.deviations_markdown()
    for entry in (*deviations.DEVIATIONS, *deviations.OWN_SKIPS):
        assert entry.reason
        assert entry.test in table
        assert entry.reason in table
    for package in deviations.ABSENT:
        assert f"| `{package.module}` | all | {package.releases} | {package.reason} |" in table
    assert {line.count("|") for line in table.splitlines()} == {5}


@pytest.mark.skipif(
    importlib.util.find_spec("test.lock_tests") is None,
    reason="this Python is installed without any of CPython's tests",
)
def test_every_absent_suite_is_in_the_documentation() -> None:
    absent = {
        ".".join(suite.module.split(".")[:2]) for suite in SUITES if absence(suite) is not None
    }
    known = {
        package.module
        for package in deviations.ABSENT
        if platform.python_version() in package.releases.split(", ")
    }
    assert absent <= known


@pytest.mark.parametrize("part", CLASSES)
def test_classes_under_test_are_not_the_standard_library_s(part: str) -> None:
    chosen = chosen_target()
    if chosen.name == "stdlib":
        pytest.skip("the standard library's classes are bound, to check the harness itself")
    ours, real = getattr(chosen, part), STDLIB[part]
    same = [name for name in CLASSES[part] if getattr(ours, name) is getattr(real, name)]
    assert same == []


@pytest.mark.parametrize("part", EXCEPTIONS)
def test_exceptions_are_the_standard_library_s(part: str) -> None:
    ours, real = getattr(chosen_target(), part), STDLIB[part]
    other = [name for name in EXCEPTIONS[part] if getattr(ours, name) is not getattr(real, name)]
    assert other == []
