"""`_core.Guard`: the lock of the package's own Python code."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import AbstractContextManager

import pytest

from counterpoint._core import Guard, held
from tests.support import DEADLINE, result, spawn
from tests.unit.sockets import FORKS, children


def is_free(guard: Guard) -> bool:
    """Whether another thread can have it: one that cannot waits for ever, and the test with it."""

    def take() -> bool:
        with guard.held():
            return True

    return bool(result(spawn(take)))


def test_one_thread_at_a_time() -> None:
    guard, inside = Guard(), []

    def take(_: object) -> None:
        for _ in range(1000):
            with guard.held():
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    for each in [spawn(take, number) for number in range(3)]:
        result(each)


def test_it_is_reentrant() -> None:
    guard = Guard()
    with guard.held(), guard.held():
        pass
    assert is_free(guard)


def test_an_error_comes_through() -> None:
    guard = Guard()
    with pytest.raises(ValueError, match="inside"), guard.held():
        raise ValueError("inside")
    assert is_free(guard)


def entered(guard: Guard) -> AbstractContextManager[bool]:
    holder = guard.held()
    assert holder.__enter__()
    return holder


def test_a_holder_that_is_let_go_of_unlocks() -> None:
    guard = Guard()
    holder = entered(guard)
    del holder
    assert is_free(guard)


def test_a_holder_that_an_error_lets_go_of_keeps_the_error() -> None:
    guard = Guard()
    with pytest.raises(ZeroDivisionError):
        # The interpreter drops the first while the error of the second is set.
        print(entered(guard), 1 / 0)
    assert is_free(guard)


def test_a_holder_is_for_one_statement() -> None:
    guard = Guard()
    with guard.held() as _, guard.held() as _:
        holder = guard.held()
        with holder, pytest.raises(RuntimeError, match="one with statement"):
            holder.__enter__()
    assert is_free(guard)


class Interruption(BaseException):
    pass


def test_what_a_handler_raises_never_leaves_it_locked() -> None:
    def interrupt(*_: object) -> None:
        raise Interruption

    guard = Guard()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(500):
            with pytest.raises(Interruption):
                interrupted(guard)
            assert is_free(guard)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupted(guard: Guard) -> None:
    """Entered and left, until the handler raises."""
    signal.setitimer(signal.ITIMER_REAL, 0.0001)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for _ in range(100):
            with guard.held():
                pass
            with guard.held():
                pass


def test_one_that_is_not_reentrant_says_when_it_is_not_to_be_had() -> None:
    guard = Guard(reentrant=False)
    with guard.held(timeout=0) as outer, guard.held(timeout=0) as inner:
        assert (outer, inner) == (True, False)
    with guard.held(), guard.held(timeout=0.001) as inner:
        assert not inner
    assert is_free(guard)


def test_one_that_is_not_had_is_not_unlocked() -> None:
    guard = Guard(reentrant=False)
    with guard.held():
        with guard.held(timeout=0):
            pass
        assert not result(spawn(lambda: guard.held(timeout=0).__enter__()))


@pytest.mark.filterwarnings(FORKS)
def test_a_forked_child_has_another() -> None:
    guard, inside, go_on = Guard(), threading.Event(), threading.Event()
    reading, writing = os.pipe()

    def hold() -> None:
        with guard.held():
            inside.set()
            assert go_on.wait(DEADLINE)

    holding = spawn(hold)
    assert inside.wait(DEADLINE)
    with children() as forked:
        child = os.fork()
        if not child:
            with guard.held(), guard.held():
                os.write(writing, b"x")
            os._exit(0)
        forked.append(child)
        assert select.select([reading], [], [], DEADLINE)[0], "it waits for its parent's thread"
    os.close(reading), os.close(writing)
    go_on.set()
    result(holding)
    assert is_free(guard)


def test_the_lock_of_a_condition_of_others() -> None:
    condition = threading.Condition()
    with held(condition):
        assert not result(spawn(condition.acquire, False))
    assert result(spawn(condition.acquire, False))
