"""Names by which objects present themselves: those that users import."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoint import futures
from counterpoint.threading import CapacityLimiter, RWLock
from tests.support import DEADLINE


@pytest.mark.parametrize(
    "name",
    [
        "CancellationToken",
        "Future",
        "ProcessFuture",
        "ProcessOptions",
        "ProcessPoolExecutor",
        "ProcessPoolStatistics",
        "Shared",
        "SoftTimeout",
        "TaskKilled",
        "TaskOptions",
        "ThreadPoolExecutor",
        "WorkerCrashed",
        "WorkerStatistics",
        "as_completed",
        "share",
        "wait",
    ],
)
def test_the_names_of_futures_are_said_to_be_there(name: str) -> None:
    assert getattr(futures, name).__module__ == "counterpoint.futures"


def test_pools_and_options_show_the_public_name() -> None:
    with futures.ThreadPoolExecutor(1) as pool:
        assert repr(pool).startswith("<counterpoint.futures.ThreadPoolExecutor object at ")
        assert repr(pool) in repr(pool.options(name="named"))


def test_a_future_has_the_name_that_options_gave() -> None:
    with futures.ThreadPoolExecutor(1) as pool:
        named: Any = pool.options(name="named").submit(int)
        plain = pool.submit(int)
        assert named.name == "named"
        assert not hasattr(plain, "name")
        assert named.result(DEADLINE) == plain.result(DEADLINE) == 0


class Derived(RWLock):
    pass


def test_locks_that_the_stdlib_lacks_do_not_claim_to_be_its_own() -> None:
    assert repr(RWLock()).startswith("<counterpoint.threading.RWLock at ")
    assert repr(CapacityLimiter(1)).startswith("<counterpoint.threading.CapacityLimiter at ")
    assert repr(Derived()).startswith(f"<{__name__}.Derived at ")
