"""CPython's `test.support` as the bound suites see it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from types import ModuleType

from tests.conformance.private import View

SUITES_VARIABLE = "COUNTERPOINT_CONFORMANCE_SUITES"

# Under this variable the suites stop waiting for stuck threads sooner, in seconds.
PATIENCE_VARIABLE = "COUNTERPOINT_CONFORMANCE_PATIENCE"

Test = Callable[..., object]


def lend_suites() -> None:
    """Let the directory in the environment supply the test modules that this interpreter lacks."""
    import test

    directory = os.environ.get(SUITES_VARIABLE)
    if directory and directory not in test.__path__:
        test.__path__.append(directory)


def _bigmemtest(size: int, memuse: int, dry_run: bool = True) -> Callable[[Test], Test]:
    """Run a "big memory" test always: what the queue's suite sizes so is a number of threads."""

    def decorate(test: Test) -> Test:
        return functools.wraps(test)(lambda self: test(self, size))

    return decorate


def _always(*_: object, **__: object) -> Callable[[Test], Test]:
    """A decorator that would skip a test on builds that are not meant here."""
    return lambda test: test


# What a suite lent by a newer release may use and an older `test.support` has not, or not so.
NEWER = {"Py_GIL_DISABLED": False, "requires_gil_enabled": _always, "skip_if_sanitizer": _always}


def _script_helper(prelude: str) -> ModuleType:
    """`test.support.script_helper`, with scripts that bind the target before they begin."""
    from test.support import script_helper

    lent = os.environ.get(SUITES_VARIABLE)
    if lent:
        prelude += f"import test; test.__path__.append({lent!r})\n"

    def assert_python_ok(flag: str, source: str, **environment: str) -> object:
        assert flag == "-c", f"the suite runs a script in a way not known here: {flag}"
        return script_helper.assert_python_ok(flag, prelude + source, **environment)

    return View(script_helper, assert_python_ok=assert_python_ok)


def support_views(prelude: str) -> dict[str, ModuleType]:
    """The views of `test.support`, its script helper and, for lent suites, what is newer."""
    import test
    from test import support

    replaced: dict[str, object] = {"bigmemtest": _bigmemtest}
    views: dict[str, ModuleType] = {"test.support.script_helper": _script_helper(prelude)}
    patience = os.environ.get(PATIENCE_VARIABLE)
    if patience:
        replaced |= dict.fromkeys(("SHORT_TIMEOUT", "LONG_TIMEOUT"), float(patience))
    if os.environ.get(SUITES_VARIABLE) and sys.version_info < (3, 13):
        replaced |= NEWER
        views["os"] = View(os, process_cpu_count=os.cpu_count)
    seen = View(support, **replaced)
    return views | {"test.support": seen, "test": View(test, support=seen)}
