"""Calls that do the same on the stdlib's locks and on ours, and conditions over either lock."""

from __future__ import annotations

import asyncio
import pickle
import re
import threading as stdlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from counterpoint import threading
from counterpoint.threading import DeadlockError
from tests.support import run_async

Call = Callable[[ModuleType, float], object]


def outcome(call: Call, module: ModuleType, timeout: float) -> object:
    try:
        return call(module, timeout)
    except Exception as error:
        return type(error).__name__


def _wait(module: ModuleType, timeout: float) -> bool:
    condition = module.Condition()
    with condition:
        waited: bool = condition.wait(timeout)
        return waited


def _wait_over_a_lock(module: ModuleType, timeout: float) -> bool:
    condition = module.Condition(module.Lock())
    with condition:
        waited: bool = condition.wait(timeout)
        return waited


def _wait_for(module: ModuleType, timeout: float) -> tuple[bool, int]:
    condition, asked = module.Condition(), []
    with condition:
        waited = condition.wait_for(lambda: asked.append(1), timeout)
    return waited, len(asked)


def _held(lock: Any) -> Any:
    assert lock.acquire()
    return lock


CALLS: dict[str, Call] = {
    "Condition.wait": _wait,
    "Condition.wait, over a Lock": _wait_over_a_lock,
    "Condition.wait_for": _wait_for,
    "Condition.acquire": lambda module, timeout: module.Condition().acquire(timeout=timeout),
    "Event.wait": lambda module, timeout: module.Event().wait(timeout),
    "Semaphore.acquire": lambda module, timeout: module.Semaphore(0).acquire(timeout=timeout),
    "Semaphore.acquire, free": lambda module, timeout: module.Semaphore(1).acquire(timeout=timeout),
    "Semaphore.acquire, not blocking": (
        lambda module, timeout: module.Semaphore(0).acquire(False, timeout)
    ),
    "BoundedSemaphore.acquire": (
        lambda module, timeout: _held(module.BoundedSemaphore(1)).acquire(timeout=timeout)
    ),
    "Barrier.wait": lambda module, timeout: module.Barrier(2).wait(timeout),
    "Barrier.wait, alone": lambda module, timeout: module.Barrier(1).wait(timeout),
    "Barrier(timeout)": lambda module, timeout: module.Barrier(2, timeout=timeout).wait(),
    "Lock.acquire": lambda module, timeout: module.Lock().acquire(timeout=timeout),
    "RLock.acquire": lambda module, timeout: module.RLock().acquire(timeout=timeout),
}


@pytest.mark.parametrize("timeout", [-1, -0.001, -5.5, float("-inf"), 0, 0.0])
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_a_timeout_of_less_than_nothing_is_the_stdlib_s(call: Call, timeout: float) -> None:
    assert outcome(call, threading, timeout) == outcome(call, stdlib, timeout)


MAKERS: dict[str, Callable[[ModuleType], object]] = {
    "Lock": lambda module: module.Lock(),
    "RLock": lambda module: module.RLock(),
    "Condition": lambda module: module.Condition(),
    "Condition-Lock": lambda module: module.Condition(module.Lock()),
    "Semaphore": lambda module: module.Semaphore(),
    "BoundedSemaphore": lambda module: module.BoundedSemaphore(),
    "Event": lambda module: module.Event(),
    "Barrier": lambda module: module.Barrier(2),
}


# Protocols 0 and 1, of Python 2, name the class without its module.
@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused_in_the_stdlib_s_words(
    make: Callable[[ModuleType], object], protocol: int
) -> None:
    with pytest.raises(TypeError) as theirs:
        pickle.dumps(make(stdlib), protocol)
    with pytest.raises(TypeError, match=f"^{re.escape(str(theirs.value))}$"):
        pickle.dumps(make(threading), protocol)


def test_an_asynchronous_wait_for_without_time_asks_as_often() -> None:
    async def main() -> int:
        condition, asked = threading.Condition(), []
        async with condition:
            assert not await condition.async_wait_for(lambda: asked.append(1), -1)
        return len(asked)

    assert run_async(main()) == _wait_for(stdlib, -1)[1]


@pytest.mark.parametrize("over", [lambda: (), lambda: (threading.Lock(),)], ids=["RLock", "Lock"])
@pytest.mark.parametrize("how", ["with", "acquire"])
def test_a_condition_that_a_task_of_this_loop_holds_names_it(
    over: Callable[[], tuple[Any, ...]], how: str
) -> None:
    async def main() -> None:
        condition = threading.Condition(*over())
        held, end = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with condition:
                held.set()
                await end.wait()

        holder = asyncio.create_task(hold(), name="the-holder")
        await held.wait()
        with pytest.raises(DeadlockError, match="the-holder"):
            condition.__enter__() if how == "with" else condition.acquire()
        assert condition.acquire(timeout=0.01) is False
        end.set()
        await holder
        with condition:
            pass

    run_async(main())
