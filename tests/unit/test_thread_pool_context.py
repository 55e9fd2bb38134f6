"""Tasks have their submitter's variables, as they were, and keep what they set to themselves."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint.futures import Future, ThreadPoolExecutor
from tests.support import DEADLINE
from tests.unit.pools import Busy

number: contextvars.ContextVar[Any] = contextvars.ContextVar("number", default=0)


def bump() -> tuple[Any, Any]:
    """What this task finds and what it leaves."""
    found = number.get()
    number.set(found + 1)
    return found, number.get()


def submitted_with(value: Any, submit: Callable[[], Any]) -> Any:
    def run() -> Any:
        number.set(value)
        return submit()

    return contextvars.copy_context().run(run)


def test_tasks_of_one_submitter_do_not_see_each_other() -> None:
    with ThreadPoolExecutor(1) as pool, Busy(pool):
        futures = submitted_with(7, lambda: [pool.submit(bump) for _ in range(10)])
        readers = submitted_with(7, lambda: [pool.submit(number.get) for _ in range(10)])
    assert [future.result() for future in futures] == [(7, 8)] * 10
    assert [future.result() for future in readers] == [7] * 10


def test_a_change_between_two_submissions() -> None:
    def submit() -> list[Future[Any]]:
        futures = []
        for value in (1, 1, 2, 3, 3, 1):
            number.set(value)
            futures.append(pool.submit(number.get))
        return futures

    with ThreadPoolExecutor(1) as pool, Busy(pool):
        futures = contextvars.copy_context().run(submit)
    assert [future.result() for future in futures] == [1, 1, 2, 3, 3, 1]


def test_what_was_set_and_reset() -> None:
    tokens: list[contextvars.Token[Any]] = []

    def set_same() -> Any:
        tokens.append(number.set(number.get()))
        return number.get()

    def reset_other_s() -> None:
        number.reset(tokens.pop())

    with ThreadPoolExecutor(1) as pool, Busy(pool):
        first = submitted_with(5, lambda: pool.submit(set_same))
        others = submitted_with(5, lambda: [pool.submit(reset_other_s), pool.submit(number.get)])
    assert first.result() == 5
    with pytest.raises(ValueError, match="different Context"):
        others[0].result()
    assert others[1].result() == 5


def test_tasks_at_once() -> None:
    meeting = threading.Barrier(4)

    def work() -> Any:
        meeting.wait(DEADLINE)
        answer = bump()
        meeting.wait(DEADLINE)
        return answer, number.get()

    with ThreadPoolExecutor(4) as pool:
        futures = submitted_with(3, lambda: [pool.submit(work) for _ in range(8)])
        assert [future.result(DEADLINE) for future in futures] == [((3, 4), 4)] * 8


def test_a_task_that_submits() -> None:
    def outer() -> Any:
        before = pool.submit(bump)
        number.set(20)
        after = pool.submit(bump)
        return before.result(DEADLINE), after.result(DEADLINE), number.get()

    with ThreadPoolExecutor(1) as pool:
        answer = submitted_with(10, lambda: pool.submit(outer).result(DEADLINE))
        assert answer == ((10, 11), (20, 21), 20)
        assert pool.submit(number.get).result(DEADLINE) == 0


def test_several_submitters() -> None:
    def submitter(value: int) -> list[Any]:
        return submitted_with(
            value, lambda: [pool.submit(bump).result(DEADLINE) for _ in range(200)]
        )

    with ThreadPoolExecutor(3) as pool, ThreadPoolExecutor(3) as submitters:
        answers = [submitters.submit(submitter, value) for value in range(6)]
        for value, answer in enumerate(answers):
            assert answer.result(DEADLINE) == [(value, value + 1)] * 200


def test_a_retry_goes_on_where_the_attempt_ended() -> None:
    def fail_once() -> Any:
        if number.get() == 1:
            number.set(2)
            raise OSError
        return number.get()

    with ThreadPoolExecutor(1) as pool:
        options = pool.options(retries=1, retry_on=OSError)
        future = submitted_with(1, lambda: options.submit(fail_once))
        assert future.result(DEADLINE) == 2


def test_values_are_let_go_with_the_last_task() -> None:
    class Thing:
        pass

    with ThreadPoolExecutor(1) as pool:
        with Busy(pool):
            thing = Thing()
            reference = weakref.ref(thing)
            submit = [lambda: [pool.submit(int) for _ in range(5)]]
            futures = submitted_with(thing, submit.pop())
            del thing
            assert reference() is not None
        assert [future.result(DEADLINE) for future in futures] == [0] * 5
        # The worker lets go of the last task after its result is there: the next one comes later.
        pool.submit(int).result(DEADLINE)
        gc.collect()
        assert reference() is None


def test_submissions_of_asyncio_tasks() -> None:
    async def submit(value: int) -> list[Any]:
        number.set(value)
        answers = []
        for _ in range(20):
            answers.append(await pool.submit(bump))
            await asyncio.sleep(0)
        return answers

    async def main() -> list[list[Any]]:
        return await asyncio.gather(*(submit(value) for value in range(5)))

    with ThreadPoolExecutor(2) as pool:
        answers = asyncio.run(main())
    assert answers == [[(value, value + 1)] * 20 for value in range(5)]
