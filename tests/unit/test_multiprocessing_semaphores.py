"""Semaphores between processes that die with permits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from counterpoint import multiprocessing
from tests.support import DEADLINE, eventually
from tests.unit import processes

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

_ended = pytest.fixture(scope="module", autouse=True)(processes.ended)

NAMES = ("Semaphore", "BoundedSemaphore")


@pytest.fixture(params=processes.METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    """Each start method."""
    return multiprocessing.get_context(request.param)


@pytest.fixture
def fork() -> Any:
    """The fastest start method."""
    return multiprocessing.get_context("fork")


@contextmanager
def holding(context: Any, permits: Any, count: int = 1) -> Iterator[Any]:
    """A process that holds so many permits, and is killed in the end."""
    held = context.Event()
    process = context.Process(target=processes.hold_permits, args=(permits, count, held))
    process.start()
    try:
        assert held.wait(DEADLINE)
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("name", NAMES)
def test_the_next_gets_the_permit_of_a_killed_holder_and_is_told(context: Any, name: str) -> None:
    permits = getattr(context, name)(1)
    with holding(context, permits) as process:
        assert permits.acquire(False) is False
        process.kill()
        died = permits.acquire(timeout=DEADLINE)
        assert isinstance(died, multiprocessing.OwnerDied)
        assert (died, died.pid, bool(died)) == (True, process.pid, True)
    assert (permits.owner_deaths, permits.get_value()) == (1, 0)
    assert permits.acquire(False) is False
    permits.release()
    assert permits.acquire() is True
    permits.release()
    assert permits.get_value() == 1


def test_who_waits_already_is_woken_by_the_death(context: Any) -> None:
    permits, waiting, answers = context.BoundedSemaphore(1), context.Event(), context.Queue()
    with holding(context, permits) as holder:
        other = context.Process(
            target=processes.wait_for_a_permit, args=(permits, waiting, answers)
        )
        other.start()
        assert waiting.wait(DEADLINE)
        holder.kill()
        assert answers.get(timeout=DEADLINE) == ("OwnerDied", holder.pid)
    other.join()
    assert permits.get_value() == 1


def test_all_that_it_held_is_given_back_and_the_bound_is_kept(context: Any) -> None:
    permits = context.BoundedSemaphore(3)
    assert permits.acquire() is True
    with holding(context, permits, 2):
        assert permits.get_value() == 0
    with permits as acquired:
        assert isinstance(acquired, multiprocessing.OwnerDied)
        assert permits.acquire(False) is True
        assert permits.acquire(False) is False
        permits.release()
    permits.release()
    assert (permits.get_value(), permits.owner_deaths) == (3, 1)
    with pytest.raises(ValueError, match="released too many times"):
        permits.release()
    assert repr(permits) == "<BoundedSemaphore(value=3, maxvalue=3)>"


@pytest.mark.parametrize("name", NAMES)
def test_what_another_released_does_not_come_back_with_the_death(context: Any, name: str) -> None:
    permits = getattr(context, name)(1)
    with holding(context, permits):
        permits.release()
        assert permits.get_value() == 1
    assert permits.acquire() is True
    assert permits.acquire(timeout=0.3) is False
    assert permits.owner_deaths == 0
    permits.release()
    assert permits.get_value() == 1


def test_a_permit_that_was_handed_to_a_child_is_not_its_parents(fork: Any) -> None:
    permits = fork.BoundedSemaphore(2)
    permits.acquire()
    process = fork.Process(target=processes.release_permit, args=(permits,))
    process.start()
    process.join()
    assert (process.exitcode, permits.get_value()) == (0, 2)
    # It counts from now on; whoever dies with a permit has lost it, as in the standard library.
    with holding(fork, permits):
        pass
    assert permits.acquire(False) is True
    assert permits.acquire(timeout=0.3) is False


def test_a_semaphore_that_counts_signals_is_a_counter(fork: Any) -> None:
    items = fork.Semaphore(0)
    for _ in range(3):
        items.release()
    with holding(fork, items, 2):
        pass
    assert items.acquire(False) is True
    assert items.acquire(timeout=0.3) is False


def test_an_end_is_an_end(fork: Any) -> None:
    permits = fork.Semaphore(1)
    process = fork.Process(target=processes.end_with_a_permit, args=(permits,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert isinstance(permits.acquire(False), multiprocessing.OwnerDied)


def test_the_living_keep_theirs_when_others_die(fork: Any) -> None:
    permits = fork.BoundedSemaphore(4)
    assert permits.acquire() is True
    with holding(fork, permits):
        with holding(fork, permits, 2):
            assert permits.acquire(False) is False
        assert [permits.acquire(False) for _ in range(3)] == [True, True, False]
        assert permits.get_value() == 0
    eventually(lambda: permits.acquire(False))
    for _ in range(4):
        permits.release()
    assert (permits.get_value(), permits.owner_deaths) == (4, 2)
    with pytest.raises(ValueError, match="too many times"):
        permits.release()


def test_a_subclass_is_told_in_its_own_way(fork: Any) -> None:
    class Telling(multiprocessing.synchronize.Semaphore):
        told: list[int] = []

        def _inherited(self, pid: int) -> Any:
            self.told.append(pid)
            return super()._inherited(pid)

    permits = Telling(1)
    with holding(fork, permits) as process:
        pass
    assert permits.acquire() == 1
    assert Telling.told == [process.pid]
