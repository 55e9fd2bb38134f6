"""CPython's suites, bound by suites.py: the group "executors", by the start method spawn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.binding import cases
from tests.conformance.processes import start_method

globals().update(cases("executors", __name__, "spawn"))


@pytest.fixture(scope="module", autouse=True)
def _start_method() -> Iterator[None]:
    yield from start_method("spawn")
