"""Options, and what CPython's own runner would have arranged around each test."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest

from tests.conformance import deviations
from tests.conformance.binding import TARGET_VARIABLE
from tests.conformance.suites import Suite
from tests.conformance.support import SUITES_VARIABLE


def pytest_addoption(parser: pytest.Parser) -> None:
    """Each option sets the variable of the same meaning, for workers and scripts to inherit."""
    group = parser.getgroup("conformance")
    group.addoption(
        "--conformance-target",
        choices=("counterpoint", "stdlib"),
        help="whose classes are bound to CPython's suites",
    )
    group.addoption(
        "--conformance-suites",
        metavar="DIR",
        help="directory with the test modules that this interpreter was installed without",
    )
    group.addoption(
        "--conformance-free-threaded",
        action="store_const",
        const="1",
        help="run CPython's suites on a free-threaded build too",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hand the options on through the environment."""
    for option, variable in (
        ("conformance_target", TARGET_VARIABLE),
        ("conformance_suites", SUITES_VARIABLE),
        ("conformance_free_threaded", deviations.FREE_THREADED_VARIABLE),
    ):
        value = config.getoption(option, None)
        if value:
            os.environ[variable] = value


def suite_of(item: pytest.Item) -> Suite | None:
    """The suite that a collected test belongs to, if it is one of CPython's."""
    return getattr(getattr(item, "cls", None), "suite", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what another start method has run already, and skip deviations."""
    for item in items:
        suite = suite_of(item)
        if suite and item.cls.is_repeated and fnmatch(item.name, suite.repeated):
            item.add_marker(pytest.mark.repeated)
    _skip_deviations(items)


def _skip_deviations(items: list[pytest.Item]) -> None:
    """Skip what the table of deviations names, unless the stdlib itself is being tested."""
    if os.environ.get(TARGET_VARIABLE) == "stdlib":
        return
    for item in items:
        suite = suite_of(item)
        entry = suite and deviations.deviation(suite.name, item.name)
        if entry:
            item.add_marker(pytest.mark.skip(reason=entry.reason))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run CPython's tests without pytest's log handlers: some expect logging's last resort."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    if suite_of(item):
        root.handlers.clear()
    try:
        return (yield)
    finally:
        root.handlers[:] = handlers


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[pytest.TestReport]:
    """Fail a test that skips itself for a reason that the table does not hold."""
    report = yield
    suite = suite_of(item)
    if suite and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        known = deviations.deviation(suite.name, item.name) is not None
        if not known and not deviations.own_skip(suite.name, item.name, reason):
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that deviations.py does not hold: {reason}"
    return report


@pytest.fixture(autouse=True)
def _environment_unaltered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads or processes behind, as CPython's runner does."""
    if not suite_of(request.node):
        yield
        return
    from test import support

    support.environment_altered = False
    yield
    assert not support.environment_altered, "the test left threads or processes behind"
