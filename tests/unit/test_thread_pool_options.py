"""`ThreadPoolExecutor.options`: priorities, time limits, attempts, names, and what is counted."""

from __future__ import annotations

import math
import re
import threading
import time
from typing import Any

import pytest

from counterpoint import futures
from counterpoint.futures import ProcessPoolExecutor, ThreadPoolExecutor, cancellation_token
from tests.support import DEADLINE, eventually
from tests.unit.pools import Busy, spin


def test_priority(one: ThreadPoolExecutor) -> None:
    order: list[str] = []
    with Busy(one):
        pending = [
            one.options(priority=priority).submit(order.append, f"{priority}{name}")
            for priority, name in [(0, "a"), (5, "a"), (-1, "a"), (5, "b"), (0, "b"), (9, "a")]
        ]
    futures.wait(pending)
    assert order == ["9a", "5a", "5b", "0a", "0b", "-1a"]


def test_timeout_fails_the_future_and_tells_the_task(one: ThreadPoolExecutor) -> None:
    told: list[Any] = []

    def task() -> str:
        token = cancellation_token()
        assert token is cancellation_token()
        told.append(token.wait(DEADLINE))
        told.append(token.reason)
        with pytest.raises(futures.CancelledError, match="did not end within"):
            token.raise_if_cancelled()
        return "too late"

    future = one.options(timeout=0.02).submit(task)
    with pytest.raises(TimeoutError, match=r"^the task did not end within 0.02 s$"):
        future.result(DEADLINE)
    one.submit(int).result(DEADLINE)
    assert told == [True, "the task did not end within 0.02 s"]


def test_timeouts_in_time_leave_no_thread() -> None:
    with ThreadPoolExecutor(2) as pool:
        quick = [pool.options(timeout=100).submit(abs, n) for n in range(50)]
        assert [each.result(DEADLINE) for each in quick] == list(range(50))
    eventually(
        lambda: all(thread.name != "counterpoint-timers" for thread in threading.enumerate())
    )


def test_a_token_of_a_task_without_a_limit(one: ThreadPoolExecutor) -> None:
    def task() -> tuple[bool, bool, str | None, str]:
        token = cancellation_token()
        token.raise_if_cancelled()
        return token.is_cancelled, token.wait(0.001), token.reason, repr(token)

    expected = (False, False, None, "<CancellationToken active>")
    assert one.submit(task).result() == task() == expected


def test_retries(one: ThreadPoolExecutor) -> None:
    attempts: list[int] = []

    def flaky(succeed_at: int) -> int:
        attempts.append(1)
        if len(attempts) < succeed_at:
            raise OSError(len(attempts))
        return len(attempts)

    assert one.options(retries=2).submit(flaky, 3).result() == 3
    attempts.clear()
    with pytest.raises(OSError, match=r"^2$"):
        one.options(retries=1).submit(flaky, 3).result()
    attempts.clear()
    with pytest.raises(OSError, match=r"^1$"):
        one.options(retries=5, retry_on=(ValueError, KeyError)).submit(flaky, 3).result()
    assert one.statistics().failed == 2


def test_each_attempt_is_time_in_tasks() -> None:
    attempts: list[int] = []

    def flaky() -> None:
        attempts.append(1)
        spin(0.02)
        if len(attempts) < 4:
            raise OSError

    begun = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        pool.options(retries=5).submit(flaky).result(DEADLINE)
    elapsed = time.perf_counter() - begun
    seen = pool.statistics()
    assert (seen.done, seen.failed, seen.run_time.count, seen.queue_delay.count) == (1, 0, 4, 1)
    assert seen.run_time.total >= 0.08
    # What is not in tasks is the start of the thread, and the turns of others.
    assert 0 < seen.queue_delay.total <= elapsed - seen.run_time.total
    assert seen.utilisation >= 0.08 / elapsed


def test_the_delay_of_a_retried_task_is_that_of_its_first_attempt() -> None:
    def fail() -> None:
        raise OSError

    with ThreadPoolExecutor(1) as pool:
        with Busy(pool):
            future = pool.options(retries=3).submit(fail)
            spin(0.02)
        assert isinstance(future.exception(DEADLINE), OSError)
    seen = pool.statistics()
    assert seen.queue_delay.count == 2
    assert seen.queue_delay.max >= 0.02
    assert (seen.done, seen.failed, seen.run_time.count) == (1, 1, 5)


@pytest.mark.parametrize("then", ["return", "raise", "raise and retry"])
def test_a_task_that_is_late_has_failed_once(then: str) -> None:
    go_on = threading.Event()

    def late() -> None:
        assert go_on.wait(DEADLINE)
        if then != "return":
            raise OSError

    with ThreadPoolExecutor(1) as pool:
        limited = pool.options(timeout=0.01, retries=int("retry" in then))
        future = limited.submit(late)
        assert isinstance(future.exception(DEADLINE), TimeoutError)
        seen = pool.statistics()
        assert (seen.done, seen.failed, seen.running) == (0, 1, 1)
        go_on.set()
    seen = pool.statistics()
    assert (seen.done, seen.failed, seen.cancelled, seen.running) == (0, 1, 0, 0)
    assert pool._meter.counts()["failed"] == 1


def test_the_last_attempt_that_is_late_has_failed_once() -> None:
    attempts: list[int] = []

    def late() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError
        cancellation_token().wait(DEADLINE)

    with ThreadPoolExecutor(1) as pool:
        future = pool.options(timeout=0.05, retries=1).submit(late)
        assert isinstance(future.exception(DEADLINE), TimeoutError)
    seen = pool.statistics()
    # There is no second attempt if the first was held up for so long.
    assert len(attempts) == 2 or seen.run_time.max >= 0.05
    assert (seen.done, seen.failed, seen.run_time.count) == (0, 1, len(attempts))


def test_a_task_between_attempts_can_be_cancelled(one: ThreadPoolExecutor) -> None:
    attempts: list[int] = []

    def fail() -> None:
        attempts.append(1)
        raise OSError

    first = Busy(one)
    future = one.options(retries=10**6).submit(fail)
    # The first attempt comes before the second task, all others after it.
    with Busy(one, wait=False) as second:
        first.go_on.set()
        assert second.begun.wait(DEADLINE)
        assert future.cancel()
    assert future.cancelled()
    assert len(attempts) == 1


def test_names_show(one: ThreadPoolExecutor) -> None:
    future = one.options(name="parse").submit(abs, -1)
    assert future.name == "parse"
    assert re.fullmatch(r"<Future at \w+ name='parse' state=\w+( returned int)?>", repr(future))
    future.name = 3
    assert "name" not in repr(future)


def test_an_error_of_time_names_the_task(one: ThreadPoolExecutor) -> None:
    limited = one.options(timeout=0.01, name="it's")
    future = limited.submit(lambda: cancellation_token().wait(DEADLINE))
    with pytest.raises(TimeoutError) as late:
        future.result(DEADLINE)
    assert str(late.value) == 'the task "it\'s" did not end within 0.01 s'


def test_an_error_of_time_that_is_over_at_once_names_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start
    pool = ThreadPoolExecutor(1, thread_name_prefix="held")

    def started(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("held"):  # its time is over before `submit` is
            eventually(lambda: pool.statistics().failed)

    monkeypatch.setattr(threading.Thread, "start", started)
    with pool:
        limited = pool.options(timeout=0.01, name="first")
        future = limited.submit(lambda: cancellation_token().wait(DEADLINE))
        assert future.name == "first"
        with pytest.raises(TimeoutError, match="the task 'first' did not end"):
            future.result(DEADLINE)


def test_options_show(one: ThreadPoolExecutor) -> None:
    assert "priority=3" in repr(one.options(priority=3))


def test_keywords_of_the_call_stay_its_own(one: ThreadPoolExecutor) -> None:
    def call(*, timeout: int, name: str) -> tuple[int, str]:
        return timeout, name

    assert one.options(timeout=5).submit(call, timeout=1, name="n").result() == (1, "n")


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"timeout": 0}, ValueError, "timeout must be None or greater than 0, not 0"),
    ({"timeout": math.nan}, ValueError, "timeout must be None or greater than 0, not nan"),
    ({"timeout": "x"}, TypeError, "timeout must be a number of seconds or None, not 'x'"),
    ({"timeout": 10**400}, ValueError, "timeout is out of range: 1000"),
    ({"retries": -1}, ValueError, "retries must be at least 0, not -1"),
    ({"retries": 2**32}, ValueError, "retries must be at most 4294967295, not 4294967296"),
    ({"retries": 1.5}, TypeError, "retries must be an integer, not 1.5"),
    ({"retries": math.inf}, TypeError, "retries must be an integer, not inf"),
    ({"retries": "x"}, TypeError, "retries must be an integer, not 'x'"),
    ({"retry_on": 3}, TypeError, "retry_on must be an exception class or a tuple of them, not 3"),
    ({"retry_on": (OSError, int)}, TypeError, "retry_on must be an exception class"),
    ({"priority": "x"}, TypeError, "priority must be an integer, not 'x'"),
    ({"priority": 1.5}, TypeError, "priority must be an integer, not 1.5"),
    ({"priority": 10**30}, ValueError, "priority must be at most 9223372036854775807, not 1000"),
    ({"priority": -(10**30)}, ValueError, "priority must be at least -9223372036854775808, not"),
    ({"name": 5}, TypeError, "name must be a string or None, not 5"),
    ({"retrys": 3}, TypeError, "retrys"),
]


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
@pytest.mark.parametrize(("options", "error", "text"), BAD)
def test_bad_input(
    kind: type[ThreadPoolExecutor], options: Any, error: type[Exception], text: str
) -> None:
    with kind(1) as pool, pytest.raises(error, match=re.escape(text)):
        pool.options(**options)
