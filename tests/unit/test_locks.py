"""What holds for every lock of `counterpoint.threading`, in threads and in event loops."""

from __future__ import annotations

import asyncio
import copy
import gc
import math
import pickle
import sys
import threading as stdlib
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import threading
from tests.support import (
    DEADLINE,
    FREE_THREADED,
    eventually,
    interrupted,
    is_collected,
    loops,
    result,
    run_async,
    spawn,
)
from tests.waits import WAITS, Elsewhere, Wait, every_wait, exclusive_waits

MAKERS: dict[str, Callable[[], Any]] = {
    "Lock": threading.Lock,
    "RLock": threading.RLock,
    "Condition": threading.Condition,
    "Semaphore": threading.Semaphore,
    "BoundedSemaphore": threading.BoundedSemaphore,
    "Event": threading.Event,
    "Barrier": lambda: threading.Barrier(2),
    "RWLock": threading.RWLock,
    "CapacityLimiter": lambda: threading.CapacityLimiter(1),
}
every_class = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


@every_wait
def test_a_thread_waits_until_it_is_let_in(wait: Wait) -> None:
    subject = wait.make()
    taken = spawn(wait.take, subject, None)
    eventually(lambda: wait.waiters(subject) == 1)
    assert not taken.done()
    wait.free(subject)
    assert result(taken)
    assert wait.waiters(subject) == 0


@every_wait
def test_a_task_waits_until_it_is_let_in(wait: Wait) -> None:
    subject = wait.make()
    with loops() as [loop]:
        taken = loop.start(wait.async_take(subject, None))
        eventually(lambda: wait.waiters(subject) == 1)
        assert not taken.done()
        wait.free(subject)
        assert result(taken)


@exclusive_waits
def test_threads_and_tasks_of_several_loops_are_let_in_in_order(wait: Wait) -> None:
    subject = wait.make()
    order: list[int] = []
    went_on = threading.Semaphore(0)
    giving = [threading.Event() for _ in range(6)]

    def in_thread(number: int) -> None:
        assert wait.take(subject, None)
        order.append(number)
        went_on.release()
        assert giving[number].wait(DEADLINE)
        wait.give(subject)

    async def in_task(number: int) -> None:
        assert await wait.async_take(subject, None)
        order.append(number)
        went_on.release()
        assert await giving[number].async_wait(DEADLINE)
        wait.give(subject)

    with loops(2) as running:
        futures = []
        for number in range(6):
            if number % 3 == 0:
                futures.append(spawn(in_thread, number))
            else:
                futures.append(running[number % 3 - 1].start(in_task(number)))
            eventually(lambda number=number: wait.waiters(subject) == number + 1)
        wait.free(subject)
        for number in range(6):
            assert went_on.acquire(timeout=DEADLINE)
            if wait.name.startswith("Condition") and number < 5:
                wait.free(subject)
            giving[number].set()
        for future in futures:
            result(future)
    assert order == list(range(6))


@every_wait
def test_a_timeout_ends_a_wait_and_leaves_nothing_behind(wait: Wait) -> None:
    subject = wait.make()
    assert result(spawn(wait.take, subject, 0.01)) is False
    assert run_async(wait.async_take(wait.make(), 0.01)) is False
    assert wait.waiters(subject) == 0
    if wait.name == "Barrier":
        subject.reset()
    taken = spawn(wait.take, subject, DEADLINE)
    eventually(lambda: wait.waiters(subject) == 1)
    wait.free(subject)
    assert result(taken)


@every_wait
@pytest.mark.parametrize("timeout", [0, 0.0, -1.5])
def test_no_time_is_one_try(wait: Wait, timeout: float) -> None:
    assert run_async(wait.async_take(wait.make(), timeout)) is False
    if timeout >= 0:
        subject = wait.make()
        assert result(spawn(wait.take, subject, timeout)) is False


@every_wait
def test_a_cancelled_task_leaves_the_line(wait: Wait) -> None:
    subject = wait.make()
    with loops() as [loop]:
        cancelled = loop.start(wait.async_take(subject, None))
        eventually(lambda: wait.waiters(subject) == 1)
        cancelled.cancel()
        eventually(lambda: wait.waiters(subject) == 0)
        taken = loop.start(wait.async_take(subject, None))
        eventually(lambda: wait.waiters(subject) == 1)
        wait.free(subject)
        assert result(taken)


@exclusive_waits
def test_what_a_cancelled_task_was_given_goes_to_the_next(wait: Wait) -> None:
    if wait.name.startswith("Condition"):
        pytest.skip("a told task has to take the lock again before its cancellation shows")

    async def main() -> None:
        subject = wait.make()
        tasks = [asyncio.create_task(wait.async_take(subject, None)) for _ in range(3)]
        while wait.waiters(subject) != 3:
            await asyncio.sleep(0)
        # Given and taken away before the task could run.
        wait.free(subject)
        tasks[0].cancel()
        assert await tasks[1]
        assert tasks[0].cancelled()
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_async(main())


@every_wait
def test_a_closed_loop_passes_on_what_its_tasks_are_given(wait: Wait) -> None:
    subject = wait.make()
    with loops() as [alive]:
        with loops() as [dead]:
            dead.start(wait.async_take(subject, None))
            eventually(lambda: wait.waiters(subject) == 1)
        if wait.name == "Barrier":
            # The dead task has arrived, and is as good as any other.
            wait.free(subject)
            return
        taken = alive.start(wait.async_take(subject, None))
        eventually(lambda: wait.waiters(subject) == 2)
        wait.free(subject)
        assert result(taken)


@every_wait
def test_not_a_number_is_refused(wait: Wait) -> None:
    subject = wait.make()
    with pytest.raises(ValueError, match="NaN"):
        wait.take(subject, math.nan)
    with pytest.raises(ValueError, match="NaN"):
        run_async(wait.async_take(subject, math.nan))
    assert wait.waiters(subject) == 0


@every_wait
def test_a_timeout_that_is_no_number_is_refused(wait: Wait) -> None:
    subject = wait.make()
    with pytest.raises(TypeError):
        wait.take(subject, "soon")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^timeout must be a number or None, not 'soon'$"):
        run_async(wait.async_take(subject, "soon"))  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        wait.take(subject, 1e30)
    assert wait.waiters(subject) == 0


@every_wait
def test_waits_are_measured(wait: Wait) -> None:
    subject = wait.make()
    assert subject.statistics().waits.count == 0
    taken = spawn(wait.take, subject, None)
    eventually(lambda: wait.waiters(subject) == 1)
    assert subject.statistics().waiters == 1
    wait.free(subject)
    assert result(taken)
    waits = subject.statistics().waits
    assert waits.count == 1
    assert 0 < waits.p50 <= waits.p99
    assert waits.max <= waits.total * 1.01


@every_wait
def test_an_interrupted_wait_is_measured(wait: Wait) -> None:
    elsewhere = Elsewhere(wait)
    subject = elsewhere.subject
    with interrupted(lambda: wait.waiters(subject) == 1):
        wait.take(subject, None)
    elsewhere.end()
    assert subject.statistics().waits.count == 1
    assert subject.statistics().waits.max > 0


@every_wait
def test_a_cancelled_wait_is_measured(wait: Wait) -> None:
    async def main(subject: Any) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait.async_take(subject, None), 0.01)

    elsewhere = Elsewhere(wait)
    subject = elsewhere.subject
    run_async(main(subject))
    elsewhere.end()
    assert subject.statistics().waits.count == 1
    assert subject.statistics().waits.max > 0


@every_class
def test_is_weakly_referenced(make: Callable[[], Any]) -> None:
    subject, gone = make(), []
    reference = weakref.ref(subject, gone.append)
    assert reference() is subject
    del subject
    assert is_collected(reference)
    assert gone == [reference]


@every_class
def test_refuses_to_be_pickled_or_copied_like_the_stdlib_s(make: Callable[[], Any]) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"^cannot pickle '_thread\.R?[lL]ock' object$"):
            pickle.dumps(make(), protocol)
    for copier in copy.copy, copy.deepcopy:
        with pytest.raises(TypeError, match="cannot pickle"):
            copier(make())


@every_class
def test_is_called_what_users_import(make: Callable[[], Any]) -> None:
    cls = type(make())
    assert cls.__module__ == "counterpoint.threading"
    assert getattr(threading, cls.__name__) is cls
    assert cls.__name__ in threading.__all__
    assert cls.__doc__


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "Lock"])
def test_can_be_subclassed(name: str) -> None:
    base = getattr(threading, name)

    class Sub(base):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object, label: str) -> None:
            super().__init__(*args)
            self.label = label

    arguments = {"Barrier": (2,), "CapacityLimiter": (1,)}.get(name, ())
    subject = Sub(*arguments, label="mine")
    assert subject.label == "mine"
    assert isinstance(subject, base)
    assert subject.waiters == 0
    assert weakref.ref(subject)() is subject


def test_lock_is_as_final_as_the_stdlib_s() -> None:
    with pytest.raises(TypeError, match="is not an acceptable base type"):
        type("Sub", (threading.Lock,), {})
    with pytest.raises(TypeError, match="is not an acceptable base type"):
        type("Sub", (type(stdlib.Lock()),), {})


def _size(subject: object, seen: set[int]) -> int:
    """What an object owns, as `sys.getsizeof` counts it."""
    if id(subject) in seen or isinstance(subject, (type, int, str, bytes)) or callable(subject):
        return 0
    seen.add(id(subject))
    parts = gc.get_referents(subject)
    return sys.getsizeof(subject) + sum(_size(part, seen) for part in parts)


@pytest.mark.parametrize("name", [n for n in MAKERS if hasattr(stdlib, n)])
def test_is_no_larger_than_the_stdlib_s(name: str) -> None:
    arguments = (2,) if name == "Barrier" else ()
    ours, theirs = (getattr(module, name)(*arguments) for module in (threading, stdlib))
    # A build without a GIL needs a lock for the lock's own state: one word, with its padding.
    word = 8 if FREE_THREADED and name == "Lock" else 0
    assert _size(ours, set()) <= _size(theirs, set()) + word


@every_wait
def test_references_do_not_leak(wait: Wait) -> None:
    subject = wait.make()

    def use(subject: Any) -> None:
        result(spawn(wait.take, subject, 0.0001))
        if wait.name == "Barrier":
            subject.reset()
        run_async(wait.async_take(subject, 0.0001))

    use(subject)
    gc.collect()
    count = sys.getrefcount(subject)
    for _ in range(5):
        use(subject)
    gc.collect()
    assert sys.getrefcount(subject) <= count
    reference = weakref.ref(subject)
    del subject
    assert is_collected(reference)


@every_wait
def test_a_cycle_of_a_lock_and_the_task_that_waits_for_it_is_collected(wait: Wait) -> None:
    class Witness:
        pass

    async def wait_for_ever(subject: Any, witness: Witness) -> None:
        await wait.async_take(subject, None)

    def leave_behind() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        loop = asyncio.new_event_loop()
        subject, witness = wait.make(), Witness()
        task = loop.create_task(wait_for_ever(subject, witness))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        while wait.waiters(subject) == 0:
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()
        return weakref.ref(subject), weakref.ref(witness)

    references = leave_behind()
    assert [is_collected(reference) for reference in references] == [True, True]


@every_wait
def test_a_task_that_was_given_something_and_never_ran_is_collected(wait: Wait) -> None:
    async def wait_for_ever(subject: Any) -> None:
        await wait.async_take(subject, None)

    def leave_behind() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        loop = asyncio.new_event_loop()
        subject = wait.make()
        task = loop.create_task(wait_for_ever(subject))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        while wait.waiters(subject) == 0:
            loop.call_soon(loop.stop)
            loop.run_forever()
        wait.free(subject)
        loop.close()
        return weakref.ref(subject), weakref.ref(task)

    references = leave_behind()
    assert [is_collected(reference) for reference in references] == [True, True]


def test_every_class_is_covered() -> None:
    ours = set(threading.__all__) - set(stdlib.__all__)
    replaced = {
        name for name in stdlib.__all__ if getattr(threading, name) is not getattr(stdlib, name)
    }
    assert ours | replaced == {*MAKERS, "DeadlockError", "ReadLock", "WriteLock"}
    assert {name.split("-")[0] for name in WAITS} == (set(MAKERS) - {"RWLock"}) | {
        "ReadLock",
        "WriteLock",
    }
