"""`OwnerDied` through a Condition and the locks of Value and Array, under each start method."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import multiprocessing
from tests.support import DEADLINE, eventually, result, spawn
from tests.unit import dying, processes

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

_ended = pytest.fixture(scope="module", autouse=True)(processes.ended)


@pytest.fixture(params=processes.METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    """Each start method."""
    return multiprocessing.get_context(request.param)


def start(context: Any, target: Callable[..., None], shared: Any) -> Any:
    """A process that does this, and holds a lock then."""
    held = context.Event()
    process = context.Process(target=target, args=(shared, held))
    process.start()
    assert held.wait(DEADLINE)
    return process


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(DEADLINE)


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_who_enters_a_condition_is_told(context: Any, name: str) -> None:
    condition = context.Condition(getattr(context, name)())
    process = start(context, processes.hold_for_ever, condition)
    assert condition.acquire(False) is False
    kill(process)
    with condition as acquired:
        assert isinstance(acquired, multiprocessing.OwnerDied)
        assert acquired.pid == process.pid
    assert condition.owner_deaths == 1
    with condition as acquired:
        assert acquired is True


def test_who_was_waiting_is_told(context: Any) -> None:
    condition = context.Condition()

    def wait() -> Any:
        with condition:
            return condition.wait(DEADLINE)

    waiting = spawn(wait)
    eventually(lambda: condition._sleeping_count.get_value() == 1)
    process = start(context, dying.notify_and_hold, condition)
    kill(process)
    died = result(waiting)
    assert isinstance(died, multiprocessing.OwnerDied)
    assert (died, died.pid) == (True, process.pid)
    assert condition.owner_deaths == 1


def test_who_waited_in_vain_sees_it_in_the_count() -> None:
    context = multiprocessing.get_context("fork")
    condition = context.Condition()
    with condition:
        assert condition.wait(0.001) is False
        assert condition.owner_deaths == 0
    kill(start(context, processes.hold_for_ever, condition))
    waiting = spawn(lambda: condition.acquire(timeout=DEADLINE))
    assert isinstance(result(waiting), multiprocessing.OwnerDied)
    assert condition.owner_deaths == 1


@pytest.mark.parametrize("kind", ["Value", "Array"])
def test_who_uses_a_value_is_told(context: Any, kind: str) -> None:
    pytest.importorskip("ctypes", reason="this build has no ctypes, which Value needs")
    shared = context.Array("i", 3)
    change: Any = dying.hold_and_change
    if kind == "Value":
        shared, change = context.Value("i", 0), processes.hold_for_ever
    process = start(context, change, shared)
    assert shared.get_lock().acquire(False) is False
    kill(process)
    with shared.get_lock() as acquired:
        assert isinstance(acquired, multiprocessing.OwnerDied)
        assert acquired.pid == process.pid
        # Half changed, as it says.
        if kind == "Array":
            assert shared[:] == [1, 0, 0]
    assert shared.get_lock().owner_deaths == 1


@pytest.mark.parametrize("kind", ["Value", "Array"])
def test_who_does_not_ask_is_not_held_up(context: Any, kind: str) -> None:
    pytest.importorskip("ctypes", reason="this build has no ctypes, which Value needs")
    shared = context.Value("i", 7) if kind == "Value" else context.Array("i", [7])
    kill(start(context, processes.hold_for_ever, shared))
    # Each of these takes the lock by itself.
    assert (shared.value if kind == "Value" else shared[0]) == 7
    with shared.get_lock() as acquired:
        assert acquired is True
