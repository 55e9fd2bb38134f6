"""CPython's suites, bound by suites.py: the group "futures"."""

from __future__ import annotations

import unittest
from collections.abc import Iterator

import pytest

from tests.conformance.binding import cases

globals().update(cases("futures", __name__))


@pytest.fixture(scope="module", autouse=True)
def _processes_reaped() -> Iterator[None]:
    """One test starts process pools: end what multiprocessing keeps running for them."""
    import multiprocessing.util

    unittest.addModuleCleanup(multiprocessing.util._cleanup_tests)
    yield
    unittest.doModuleCleanups()
