"""Names by which objects present themselves: those that users import."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoint import futures
from counterpoint.threading import CapacityLimiter, RWLock
from tests.support import DEADLINE, succeeds


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
        assert plain.name is None
        assert "name" not in repr(plain)
        assert named.result(DEADLINE) == plain.result(DEADLINE) == 0
    assert futures.Future().name is None


def test_importing_the_three_modules_imports_no_more_than_it_must() -> None:
    program = (
        "import concurrent.futures, queue, sys, threading\n"
        "concurrent.futures.ThreadPoolExecutor\n"
        "before = set(sys.modules)\n"
        "from counterpoint import futures, queue, threading\n"
        "futures.ThreadPoolExecutor, queue.Queue, threading.Lock\n"
        "new = set(sys.modules) - before\n"
        "print({name for name in new if not name.startswith('counterpoint')} - {'__future__'})\n"
        "print('counterpoint._sync.rwlock' in new, 'RWLock' in dir(threading))\n"
        "print(threading.RWLock, threading.RWLock is threading.RWLock)\n"
    )
    lines = succeeds(program).splitlines()
    assert {name.partition(".")[0] for name in eval(lines[0])} <= {"importlib"}
    assert lines[1:] == ["False True", "<class 'counterpoint.threading.RWLock'> True"]


class Derived(RWLock):
    pass


def test_locks_that_the_stdlib_lacks_do_not_claim_to_be_its_own() -> None:
    assert repr(RWLock()).startswith("<counterpoint.threading.RWLock at ")
    assert repr(CapacityLimiter(1)).startswith("<counterpoint.threading.CapacityLimiter at ")
    assert repr(Derived()).startswith(f"<{__name__}.Derived at ")
