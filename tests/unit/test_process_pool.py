"""The process pool as everybody uses it."""

from __future__ import annotations

import asyncio
import concurrent.futures as stdlib
import itertools
import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterpoint._process.errors import TaskKilled
from counterpoint.futures import CancelledError, Future, as_completed, wait
from tests.processes import (
    METHODS,
    Meeting,
    ProcessPoolExecutor,
    clean,
    fail,
    identity,
    own_pid,
    square,
    stay,
)
from tests.support import DEADLINE, eventually, result, run_async, spawn
from tests.unit.pools import spin

pytestmark = pytest.mark.timeout(60)


def greet(name: str, /, greeting: str = "hello", *, mark: str = "") -> str:
    return f"{greeting} {name}{mark}"


class TestResults:
    def test_arguments_by_position_and_name(self, pool: ProcessPoolExecutor) -> None:
        assert pool.submit(greet, "you").result(DEADLINE) == "hello you"
        assert pool.submit(greet, "you", "bye", mark="!").result(DEADLINE) == "bye you!"
        assert pool.submit(greet, "you", greeting="bye").result() == "bye you"

    @pytest.mark.parametrize(
        "value",
        [None, True, 0, -(2**80), 1.5, "text", b"bytes", (1, [2, {"k": {3}}]), range(3), greet, 2j],
        ids=repr,
    )
    def test_values_survive(self, pool: ProcessPoolExecutor, value: Any) -> None:
        back = pool.submit(identity, value).result(DEADLINE)
        assert back == value
        assert type(back) is type(value)

    def test_in_another_process(self, pool: ProcessPoolExecutor) -> None:
        assert pool.submit(own_pid).result(DEADLINE) in pool._processes
        assert os.getpid() not in pool._processes

    def test_lambdas_and_closures(self, pool: ProcessPoolExecutor) -> None:
        pytest.importorskip("cloudpickle")
        base = 40
        assert pool.submit(lambda more: base + more, 2).result(DEADLINE) == 42

    def test_methods_and_partials(self, pool: ProcessPoolExecutor) -> None:
        import functools

        assert pool.submit("a,b".split, ",").result(DEADLINE) == ["a", "b"]
        assert pool.submit(functools.partial(greet, "x"), "y").result(DEADLINE) == "y x"

    def test_many_functions(self, pool: ProcessPoolExecutor) -> None:
        import math
        import operator

        functions = [getattr(operator, name) for name in ("add", "mul", "sub", "pow")]
        functions += [math.gcd, math.hypot, max, min]
        futures = [pool.submit(function, 6, 4) for _ in range(50) for function in functions]
        expected = [function(6, 4) for _ in range(50) for function in functions]
        assert [future.result(DEADLINE) for future in futures] == expected

    def test_a_result_is_decoded_once(self, pool: ProcessPoolExecutor) -> None:
        future = pool.submit(list, (1, 2))
        assert future.result(DEADLINE) is future.result()

    def test_a_result_is_there_when_its_future_is_done(self, pool: ProcessPoolExecutor) -> None:
        """However closely one asks: not the end first and the result a moment later."""
        for turn in range(3000):
            future = pool.submit(identity, turn)
            while True:
                try:
                    assert future.result(0) == turn
                    break
                except TimeoutError:
                    pass

    def test_a_timeout_of_waiting_leaves_the_task(
        self, pool: ProcessPoolExecutor, meeting: Meeting
    ) -> None:
        future = pool.submit(stay, meeting, "there")
        for wait_for in (future.result, future.exception):
            with pytest.raises(TimeoutError):
                wait_for(0.01)
        meeting.let_go()
        assert future.result(DEADLINE) == "there"
        assert future.exception() is None

    def test_many_threads_wait_for_one(self, pool: ProcessPoolExecutor, meeting: Meeting) -> None:
        future = pool.submit(stay, meeting, [1])
        waiting = [spawn(future.result, DEADLINE) for _ in range(8)]
        meeting.let_go()
        assert [result(one) for one in waiting] == [[1]] * 8

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    @pytest.mark.parametrize("method", METHODS)
    def test_start_methods(self, method: str) -> None:
        context = multiprocessing.get_context(method)
        with clean():
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                results = list(pool.map(square, range(30), chunksize=1))
            assert results == [n * n for n in range(30)]
            del pool


class TestExceptions:
    def test_with_the_traceback_of_the_worker(self, pool: ProcessPoolExecutor) -> None:
        future = pool.submit(fail, "not here")
        with pytest.raises(LookupError, match="not here") as raised:
            future.result(DEADLINE)
        assert raised.value is future.exception()
        assert raised.value.__notes__ == ["a note"]
        text = "".join(traceback.format_exception(raised.value))
        assert "in fail" in text
        assert "underneath" in text
        assert type(raised.value.__cause__).__name__ == "_RemoteTraceback"

    def test_an_exception_group(self, pool: ProcessPoolExecutor) -> None:
        group = ExceptionGroup("several", [KeyError("a"), ValueError("b")])
        with pytest.raises(ExceptionGroup, match="several") as raised:
            pool.submit(throw, group).result(DEADLINE)
        assert [type(error) for error in raised.value.exceptions] == [KeyError, ValueError]


def throw(error: BaseException) -> None:
    raise error


class TestCallbacksAndWaiting:
    def test_callbacks_run_in_order_and_once(
        self, pool: ProcessPoolExecutor, meeting: Meeting
    ) -> None:
        heard: list[Any] = []
        future = pool.submit(stay, meeting, 5)
        for number in range(3):
            future.add_done_callback(lambda done, number=number: heard.append((number, done)))
        meeting.let_go()
        eventually(lambda: len(heard) == 3)
        assert heard == [(number, future) for number in range(3)]
        future.add_done_callback(lambda done: heard.append(done.result()))
        assert heard[3:] == [5]

    def test_a_callback_that_raises_is_logged(
        self, pool: ProcessPoolExecutor, caplog: pytest.LogCaptureFixture, meeting: Meeting
    ) -> None:
        heard = threading.Event()
        future = pool.submit(stay, meeting)
        future.add_done_callback(lambda _: 1 / 0)
        future.add_done_callback(lambda _: heard.set())
        meeting.let_go()
        assert heard.wait(DEADLINE)
        assert "ZeroDivisionError" in caplog.text

    @pytest.mark.parametrize("wait_for", [wait, stdlib.wait], ids=["ours", "stdlib"])
    def test_wait(
        self, pool: ProcessPoolExecutor, meeting: Meeting, wait_for: Callable[..., Any]
    ) -> None:
        slow, quick = pool.submit(stay, meeting), pool.submit(square, 3)
        done, not_done = wait_for([slow, quick], DEADLINE, return_when="FIRST_COMPLETED")
        assert (done, not_done) == ({quick}, {slow})
        bad = pool.submit(fail, "bad")
        done, _ = wait_for([slow, bad], DEADLINE, return_when="FIRST_EXCEPTION")
        assert done == {bad}
        meeting.let_go()
        assert wait_for([slow, quick, bad], DEADLINE).not_done == set()

    @pytest.mark.parametrize("completed", [as_completed, stdlib.as_completed])
    def test_as_completed(
        self, pool: ProcessPoolExecutor, meeting: Meeting, completed: Callable[..., Any]
    ) -> None:
        slow = pool.submit(stay, meeting, "slow")
        futures = [slow, *(pool.submit(square, number) for number in range(50))]
        seen = []
        for future in completed(futures, DEADLINE):
            seen.append(future)
            if len(seen) == 50:
                meeting.let_go()
        assert seen[-1] is slow
        assert set(seen) == set(futures)

    def test_await(self, pool: ProcessPoolExecutor) -> None:
        async def main() -> list[int]:
            futures = [pool.submit(square, number) for number in range(100)]
            direct = [await future for future in futures]
            wrapped = [await asyncio.wrap_future(pool.submit(square, n)) for n in range(5)]
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(pool, square, 9) == 81
            with pytest.raises(LookupError):
                await pool.submit(fail, "awaited")
            return direct + wrapped

        assert run_async(main()) == [n * n for n in range(100)] + [n * n for n in range(5)]

    def test_await_together(self, pool: ProcessPoolExecutor) -> None:
        async def one(number: int) -> int:
            return await pool.submit(square, number)

        async def main() -> list[int]:
            return await asyncio.gather(*map(one, range(300)))

        assert run_async(main()) == [n * n for n in range(300)]


class TestStopping:
    def test_cancel_what_waits(self, pool: ProcessPoolExecutor, meeting: Meeting) -> None:
        running = [pool.submit(stay, meeting) for _ in range(2)]
        meeting.arrived(2)
        waiting = [pool.submit(square, number) for number in range(20)]
        assert all(future.cancel() for future in waiting)
        assert all(future.cancel() for future in waiting)
        assert all(future.cancelled() and future.done() for future in waiting)
        with pytest.raises(CancelledError):
            waiting[0].result()
        assert not any(future.cancel() for future in running)
        assert all(future.running() for future in running)
        meeting.let_go(2)
        assert pool.submit(square, 2).result(DEADLINE) == 4

    def test_a_cancelled_future_calls_back(
        self, pool: ProcessPoolExecutor, meeting: Meeting
    ) -> None:
        running = [pool.submit(stay, meeting) for _ in range(2)]
        meeting.arrived(2)
        heard: list[Any] = []
        future = pool.submit(square, 2)
        future.add_done_callback(heard.append)
        assert future.cancel()
        assert heard == [future]
        assert wait([future], DEADLINE).done == {future}
        meeting.let_go(2)
        assert wait(running, DEADLINE).not_done == set()

    def test_kill(self, pool: ProcessPoolExecutor, meeting: Meeting) -> None:
        future = pool.submit(stay, meeting)
        (pid,) = meeting.arrived()
        assert future.kill()
        with pytest.raises(TaskKilled):
            future.result(DEADLINE)
        assert not future.kill()
        eventually(lambda: pid not in pool._processes)
        assert pool.submit(square, 2).result(DEADLINE) == 4

    def test_kill_before_it_runs_is_a_cancel(
        self, pool: ProcessPoolExecutor, meeting: Meeting
    ) -> None:
        running = [pool.submit(stay, meeting) for _ in range(2)]
        meeting.arrived(2)
        future = pool.submit(square, 2)
        assert future.kill()
        assert future.cancelled()
        meeting.let_go(2)
        assert wait(running, DEADLINE).not_done == set()


class TestOptions:
    def test_a_limit(self, pool: ProcessPoolExecutor, meeting: Meeting) -> None:
        future = pool.options(timeout=0.1, name="stay").submit(stay, meeting)
        with pytest.raises(TimeoutError, match=r"^the task 'stay' ran longer than its limit"):
            future.result(DEADLINE)
        assert " name='stay' state=finished raised TimeoutError" in repr(future)
        assert pool.options(timeout=60).submit(square, 3).result(DEADLINE) == 9

    def test_short_tasks_never_reach_their_limit(self, pool: ProcessPoolExecutor) -> None:
        """However the end of the task and the message of its beginning meet."""
        futures = [pool.options(timeout=50).submit(square, number) for number in range(3000)]
        assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(3000)]

    def test_retries(self, pool: ProcessPoolExecutor, tmp_path: Path) -> None:
        path = tmp_path / "attempts"
        assert pool.options(retries=2).submit(flaky, str(path), 3).result(DEADLINE) == 3
        path.unlink()
        with pytest.raises(OSError, match=r"^2$"):
            pool.options(retries=1).submit(flaky, str(path), 3).result(DEADLINE)
        path.unlink()
        often = pool.options(retries=5, retry_on=(ValueError, KeyError))
        with pytest.raises(OSError, match=r"^1$"):
            often.submit(flaky, str(path), 3).result(DEADLINE)

    def test_each_attempt_is_time_in_tasks(self, tmp_path: Path) -> None:
        with ProcessPoolExecutor(1) as pool:
            call = pool.options(retries=5).submit(slow_and_flaky, str(tmp_path / "attempts"), 4)
            assert call.result(DEADLINE) == 4
        seen = pool.statistics()
        assert (seen.done, seen.failed, seen.run_time.count, seen.queue_delay.count) == (1, 0, 4, 1)
        assert seen.run_time.total >= 0.2

    def test_retries_are_judged_by_classes_that_misbehave(self, pool: ProcessPoolExecutor) -> None:
        class Meta(type):
            def __instancecheck__(cls, _: object) -> bool:
                raise ArithmeticError("no opinion")

        class Odd(Exception, metaclass=Meta):
            pass

        future = pool.options(retries=3, retry_on=Odd).submit(fail, "judged")
        assert isinstance(future.exception(DEADLINE), ArithmeticError)

    def test_priorities(self, meeting: Meeting, tmp_path: Path) -> None:
        path = tmp_path / "order"
        with ProcessPoolExecutor(1) as pool:
            first = pool.submit(stay, meeting)
            meeting.arrived()
            # What is at the worker already keeps its turn.
            early = [pool.submit(append, str(path), "early") for _ in range(10)]
            for number in (0, 5, -5, 9):
                pool.options(priority=number).submit(append, str(path), str(number))
            meeting.let_go()
            first.result(DEADLINE)
            assert wait(early, DEADLINE).not_done == set()
        order = [line for line in path.read_text().split() if line != "early"]
        assert order.index("9") < order.index("-5")
        assert order.index("5") < order.index("-5")

    def test_a_name(self, pool: ProcessPoolExecutor) -> None:
        future = pool.options(name="parse").submit(square, 2)
        assert future.name == "parse"
        assert future.result(DEADLINE) == 4
        assert pool.submit(square, 2).name is None
        assert pool.options(priority=1).submit(square, 2).name is None


def flaky(path: str, succeed_at: int) -> int:
    append(path, "x")
    attempts = len(Path(path).read_text().split())
    if attempts < succeed_at:
        raise OSError(attempts)
    return attempts


def slow_and_flaky(path: str, succeed_at: int) -> int:
    spin(0.05)
    return flaky(path, succeed_at)


def append(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(f"{text}\n")


class TestRoom:
    def test_full_raises(self, meeting: Meeting) -> None:
        with ProcessPoolExecutor(1, max_pending=3, on_full="raise") as pool:
            futures = [pool.submit(stay, meeting)]
            meeting.arrived()
            futures += [pool.submit(square, 2) for _ in range(3)]
            with pytest.raises(queue.Full, match="3 tasks are pending"):
                pool.submit(square, 2)
            meeting.let_go()

    def test_full_blocks(self, meeting: Meeting) -> None:
        with ProcessPoolExecutor(1, max_pending=2) as pool:
            first = pool.submit(stay, meeting)
            meeting.arrived()
            submitter = spawn(lambda: [pool.submit(square, number) for number in range(200)])
            eventually(lambda: pool.statistics().queued >= 2)
            assert not submitter.done()
            meeting.let_go()
            futures = result(submitter)
            assert [future.result(DEADLINE) for future in futures] == [n * n for n in range(200)]
            assert first.done()

    def test_a_cancel_makes_room(self, meeting: Meeting) -> None:
        with ProcessPoolExecutor(1, max_pending=2) as pool:
            pool.submit(stay, meeting)
            meeting.arrived()
            waiting = [pool.submit(square, 1) for _ in range(2)]
            blocked = spawn(pool.submit, square, 3)
            assert all(future.cancel() for future in waiting)
            assert isinstance(result(blocked), Future)
            meeting.let_go()

    def test_a_shutdown_refuses_who_waits(self, meeting: Meeting) -> None:
        pool = ProcessPoolExecutor(1, max_pending=1)
        pool.submit(stay, meeting)
        meeting.arrived()
        pool.submit(square, 1)
        blocked = spawn(pool.submit, square, 3)
        eventually(lambda: pool.statistics().queued >= 1)
        pool.shutdown(wait=False)
        meeting.let_go()
        error = blocked.exception(DEADLINE)
        assert error is None or isinstance(error, RuntimeError)
        pool.shutdown()


class TestMap:
    @pytest.mark.parametrize("chunksize", [1, 7, 1000, "auto"])
    def test_in_order(self, pool: ProcessPoolExecutor, chunksize: Any) -> None:
        expected = [n * n for n in range(500)]
        assert list(pool.map(square, range(500), chunksize=chunksize)) == expected

    def test_several_iterables(self, pool: ProcessPoolExecutor) -> None:
        assert list(pool.map(pow, [2, 3, 4], itertools.count(1))) == [2, 9, 64]

    def test_an_infinite_iterable(self, pool: ProcessPoolExecutor) -> None:
        results = pool.map(square, itertools.count(), buffersize=16, chunksize=1)
        assert list(itertools.islice(results, 100)) == [n * n for n in range(100)]
        results.close()  # type: ignore[attr-defined]

    def test_unordered(self, pool: ProcessPoolExecutor) -> None:
        results = pool.map(square, range(200), ordered=False, chunksize=1)
        assert sorted(results) == [n * n for n in range(200)]

    def test_an_error_at_its_place(self, pool: ProcessPoolExecutor) -> None:
        results = pool.map(reciprocal, [1, 2, 0, 4], chunksize=1)
        assert [next(results), next(results)] == [1.0, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(results)

    def test_nonsense(self, pool: ProcessPoolExecutor) -> None:
        with pytest.raises(ValueError, match="chunksize"):
            pool.map(square, [1], chunksize=0)


def reciprocal(number: int) -> float:
    return 1 / number


def test_two_who_cancel_at_once_both_succeed(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(stay, meeting)
        meeting.arrived()
        waiting = pool.submit(square, 2)
        with waiting._condition:
            cancels = [spawn(waiting.cancel) for _ in range(2)]
            eventually(lambda: pool.statistics().cancelled == 1)
        assert [result(each) for each in cancels] == [True, True]
        assert waiting.cancelled()
        meeting.let_go()
        first.result(DEADLINE)
