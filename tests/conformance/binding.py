"""Makes test cases: one subclass of CPython's class for each suite."""

from __future__ import annotations

import functools
import importlib.util
import os
import unittest
from types import ModuleType

import pytest

from tests.conformance import deviations
from tests.conformance.private import Private
from tests.conformance.suites import FIRST_METHOD, SUITES, Suite, Views, names_in
from tests.conformance.support import SUITES_VARIABLE, lend_suites, support_views
from tests.conformance.targets import Target, target

TARGET_VARIABLE = "COUNTERPOINT_CONFORMANCE_TARGET"

# A suite whose functions run in other processes, and the module by which it is found there.
IMPORTABLE = {
    "test._test_multiprocessing": "tests.conformance.suite_of_processes",
    "test.test_concurrent_futures": "tests.conformance.suite_of_futures",
}


def chosen_target() -> Target:
    """The target that the option or the environment names."""
    return target(os.environ.get(TARGET_VARIABLE, "counterpoint"))


def module_of(suite: Suite) -> str | None:
    """The module that holds the suite here, or None: before the split it was one file."""
    for name in (suite.module, suite.module.rpartition(".")[0]):
        try:
            if name != "test" and importlib.util.find_spec(name):
                return name
        except ModuleNotFoundError:
            pass
    return None


def absence(suite: Suite) -> str | None:
    """Why the suite cannot be bound on this interpreter, or None."""
    lend_suites()
    if module_of(suite) is not None:
        return None
    return deviations.absent(suite.module)


@functools.lru_cache
def _private(suite_views: Views, chosen: Target) -> Private:
    return Private({**support_views(chosen.prelude), **suite_views(chosen)}, IMPORTABLE)


def loaded(suite: Suite, chosen: Target) -> ModuleType:
    """The private copy of the suite's module, for this target."""
    lend_suites()
    name = module_of(suite)
    if name is None:
        raise LookupError(deviations.absent(suite.module))
    return _private(suite.views, chosen).load(name)


def bind(suite: Suite, chosen: Target, method: str | None = None) -> type[unittest.TestCase]:
    """A test case that runs the suite against the target's classes."""
    module = loaded(suite, chosen)
    base = getattr(module, suite.case_for(method))
    mixins = (getattr(module, suite.mixin),) if suite.mixin else ()
    # In this order: the mixin's own set-up comes before that of the case, as CPython has it.
    bases = (base, *mixins)
    if not issubclass(base, unittest.TestCase):
        bases = (*bases, unittest.TestCase)
    left_out = set(suite.without)
    if suite.only:
        left_out |= set(names_in(base)) - set(suite.only)
    # A name bound to None is no test, neither for unittest nor for pytest.
    body = dict.fromkeys(left_out & set(dir(base))) | dict(suite.attributes(chosen))
    return type(f"{suite.name}Conformance", bases, body)


def cases(group: str, module: str, method: str | None = None) -> dict[str, type]:
    """The bound cases of a group, by name, with their marks: the globals of a test module.

    `method` is the start method for suites that have a class for each.
    """
    found = {}
    reasons = []
    for suite in SUITES:
        if suite.group != group:
            continue
        reason = deviations.interpreter_excluded() or absence(suite)
        if reason is not None:
            reasons.append(reason)
            continue
        case = bind(suite, chosen_target(), method)
        case.__module__ = module
        case.suite = suite
        case.pytestmark = marks(suite)
        case.is_repeated = method not in (None, FIRST_METHOD)
        found[case.__name__] = case
    if not found:
        pytest.skip(f"{group}: {reasons[0]}", allow_module_level=True)
    return found


def marks(suite: Suite) -> list[pytest.MarkDecorator]:
    """The suite's marks. CPython's suites expect the default filters: warnings are no errors."""
    chosen = [pytest.mark.timeout(suite.timeout), pytest.mark.filterwarnings("default")]
    return [*chosen, pytest.mark.long] if suite.long else chosen


def is_lent(suite: Suite) -> bool:
    """Whether the suite's module is not this interpreter's own."""
    lent = os.environ.get(SUITES_VARIABLE)
    spec = importlib.util.find_spec(module_of(suite) or "")
    return bool(lent and spec and spec.origin and spec.origin.startswith(lent))
