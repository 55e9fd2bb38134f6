"""CPython's suite of executors, by a name that other processes import its functions by.

The private copy is not made there: of the suite they run functions alone.
"""

from __future__ import annotations

import importlib
import sys

from tests.conformance.support import lend_suites

lend_suites()
_suite = importlib.import_module("test.test_concurrent_futures")
if hasattr(_suite, "__path__"):
    __path__ = _suite.__path__
else:  # before the split it was one file
    sys.modules[__name__] = _suite
