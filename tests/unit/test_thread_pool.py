"""`counterpoint.futures.ThreadPoolExecutor`: what the stdlib's suites do not cover."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import queue
import re
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor as StdlibPool
from typing import Any

import pytest

from counterpoint import futures
from counterpoint._futures import waiting
from counterpoint.futures import ThreadPoolExecutor, cancellation_token
from tests.support import DEADLINE, eventually, loops, result, run_async, spawn
from tests.unit.pools import Busy, spin


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


@pytest.fixture
def one() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


class TestConstruction:
    def test_is_the_stdlib_s(self, pool: ThreadPoolExecutor) -> None:
        assert isinstance(pool, StdlibPool)
        assert isinstance(pool.submit(int), futures.Future)
        asyncio.new_event_loop().close()

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"max_workers": 0}, ValueError, "^max_workers must be greater than 0$"),
            ({"max_workers": -1}, ValueError, "^max_workers must be greater than 0$"),
            ({"max_workers": "2"}, TypeError, "not supported between"),
            ({"initializer": 3}, TypeError, "^initializer must be a callable$"),
            ({"max_pending": 0}, ValueError, "max_pending must be None or greater than 0, not 0"),
            ({"on_full": "wait"}, ValueError, "on_full must be 'block' or 'raise', not 'wait'"),
        ],
    )
    def test_bad_input(self, options: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            ThreadPoolExecutor(**options)

    def test_a_subclass_without_init_says_so(self) -> None:
        class Mine(ThreadPoolExecutor):
            def __init__(self) -> None:
                pass

        with pytest.raises(RuntimeError, match=r"call super\(\).__init__\(\) first"):
            Mine().submit(int)

    def test_what_programs_read(self, one: ThreadPoolExecutor) -> None:
        with Busy(one):
            one.submit(int)
            assert one._work_queue.qsize() == 1
            assert not one._work_queue.empty()
            assert one._max_workers == len(one._threads) == 1
            assert not one._shutdown
            assert one._idle_semaphore.acquire(blocking=False) is False


class TestTasks:
    def test_arguments_of_every_shape(self, pool: ThreadPoolExecutor) -> None:
        def collect(*args: int, **kwargs: int) -> tuple[tuple[int, ...], dict[str, int]]:
            return args, kwargs

        class Bound:
            def method(self, *args: int) -> tuple[int, ...]:
                return args

        for count in range(7):
            args = tuple(range(count))
            assert pool.submit(collect, *args).result() == (args, {})
            assert pool.submit(collect, *args, a=1, b=2).result() == (args, {"a": 1, "b": 2})
            assert pool.submit(Bound().method, *args).result() == args
        assert pool.submit(collect, self=1, fn=2).result() == ((), {"self": 1, "fn": 2})  # type: ignore[call-arg]

    def test_the_submitter_s_context_reaches_the_task(self, pool: ThreadPoolExecutor) -> None:
        variable = contextvars.ContextVar("variable", default=0)
        variable.set(7)

        def change() -> int:
            seen = variable.get()
            variable.set(100)
            return seen

        assert [pool.submit(change).result() for _ in range(3)] == [7, 7, 7]
        assert list(pool.map(lambda _: variable.get(), range(3))) == [7, 7, 7]
        assert pool.options(priority=1).submit(change).result() == 7
        assert variable.get() == 7

    @pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
    def test_whatever_is_raised_ends_the_future_only(
        self, one: ThreadPoolExecutor, error: type[BaseException]
    ) -> None:
        def fail() -> None:
            raise error("x")

        future = one.submit(fail)
        with pytest.raises(error):
            future.result(DEADLINE)
        assert one.submit(abs, -1).result(DEADLINE) == 1

    def test_a_callback_that_raises_ends_no_worker(self, one: ThreadPoolExecutor) -> None:
        with Busy(one):
            future = one.submit(int)

            def fail(_: object) -> None:
                raise SystemExit

            future.add_done_callback(fail)
        assert one.submit(abs, -1).result(DEADLINE) == 1

    def test_nothing_keeps_a_task_that_is_over(self, one: ThreadPoolExecutor) -> None:
        class Thing:
            def method(self) -> None:
                pass

        thing = Thing()
        reference = weakref.ref(thing)
        one.submit(thing.method).result()
        del thing
        eventually(lambda: reference() is None)

    def test_tasks_that_wait_for_tasks_of_their_own_pool(self, one: ThreadPoolExecutor) -> None:
        def sum_to(n: int) -> int:
            return n and n + one.submit(sum_to, n - 1).result()

        assert one.submit(sum_to, 40).result(DEADLINE) == 820
        assert len(one._threads) == 1

        def both() -> list[int]:
            inner = [one.submit(abs, n) for n in (-1, -2)]
            futures.wait(inner)
            return [each.result() for each in inner]

        assert one.submit(both).result(DEADLINE) == [1, 2]
        assert one.submit(lambda: list(one.map(abs, [-1, 2]))).result(DEADLINE) == [1, 2]

    def test_a_worker_submits_while_the_pool_is_shut_down(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            busy = Busy(pool)
            late = pool.submit(lambda: pool.submit(int))
            ending = spawn(pool.shutdown)
            eventually(lambda: pool._shutdown)
            busy.go_on.set()
            result(ending)
            assert isinstance(late.exception(), RuntimeError)


class TestOptions:
    def test_priority(self, one: ThreadPoolExecutor) -> None:
        order: list[str] = []
        with Busy(one):
            pending = [
                one.options(priority=priority).submit(order.append, f"{priority}{name}")
                for priority, name in [(0, "a"), (5, "a"), (-1, "a"), (5, "b"), (0, "b"), (9, "a")]
            ]
        futures.wait(pending)
        assert order == ["9a", "5a", "5b", "0a", "0b", "-1a"]

    def test_timeout_fails_the_future_and_tells_the_task(self, one: ThreadPoolExecutor) -> None:
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

    def test_timeouts_in_time_leave_no_thread(self, pool: ThreadPoolExecutor) -> None:
        quick = [pool.options(timeout=100).submit(abs, n) for n in range(50)]
        assert [each.result(DEADLINE) for each in quick] == list(range(50))
        pool.shutdown()
        eventually(
            lambda: all(thread.name != "counterpoint-timers" for thread in threading.enumerate())
        )

    def test_a_token_of_a_task_without_a_limit(self, one: ThreadPoolExecutor) -> None:
        def task() -> tuple[bool, bool, str | None, str]:
            token = cancellation_token()
            token.raise_if_cancelled()
            return token.is_cancelled, token.wait(0.001), token.reason, repr(token)

        expected = (False, False, None, "<CancellationToken active>")
        assert one.submit(task).result() == task() == expected

    def test_retries(self, one: ThreadPoolExecutor) -> None:
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

    def test_each_attempt_is_time_in_tasks(self) -> None:
        attempts: list[int] = []

        def flaky() -> None:
            attempts.append(1)
            spin(0.02)
            if len(attempts) < 4:
                raise OSError

        with ThreadPoolExecutor(1) as pool:
            pool.options(retries=5).submit(flaky).result(DEADLINE)
        seen = pool.statistics()
        assert (seen.done, seen.failed, seen.run_time.count, seen.queue_delay.count) == (1, 0, 4, 1)
        assert seen.run_time.total >= 0.08
        assert 0 < seen.queue_delay.total < seen.run_time.total
        # What is not in tasks is the start of the thread, and the turns of others.
        assert seen.utilisation > 0.5

    def test_the_delay_of_a_retried_task_is_that_of_its_first_attempt(self) -> None:
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
    def test_a_task_that_is_late_has_failed_once(self, then: str) -> None:
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

    def test_the_last_attempt_that_is_late_has_failed_once(self) -> None:
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
        assert (seen.done, seen.failed, seen.run_time.count) == (0, 1, 2)

    def test_a_task_between_attempts_can_be_cancelled(self, one: ThreadPoolExecutor) -> None:
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

    def test_names_show(self, one: ThreadPoolExecutor) -> None:
        future = one.options(name="parse").submit(abs, -1)
        assert future.name == "parse"
        assert re.fullmatch(r"<Future at 0x\w+ name='parse' state=\w+( returned int)?>", repr(future))
        future.name = 3
        assert "name" not in repr(future)

    def test_an_error_of_time_names_the_task(self, one: ThreadPoolExecutor) -> None:
        limited = one.options(timeout=0.01, name="it's")
        future = limited.submit(lambda: cancellation_token().wait(DEADLINE))
        with pytest.raises(TimeoutError, match='^the task "it\'s" did not end within 0.01 s$'):
            future.result(DEADLINE)
        assert "priority=3" in repr(one.options(priority=3))

    def test_keywords_of_the_call_stay_its_own(self, one: ThreadPoolExecutor) -> None:
        def call(*, timeout: int, name: str) -> tuple[int, str]:
            return timeout, name

        assert one.options(timeout=5).submit(call, timeout=1, name="n").result() == (1, "n")

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"timeout": 0}, ValueError),
            ({"timeout": math.nan}, ValueError),
            ({"retries": -1}, ValueError),
            ({"retry_on": 3}, TypeError),
            ({"retry_on": (OSError, int)}, TypeError),
            ({"retrys": 3}, TypeError),
        ],
    )
    def test_bad_input(self, one: ThreadPoolExecutor, options: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            one.options(**options)


class TestBounds:
    def test_raise(self) -> None:
        with ThreadPoolExecutor(1, max_pending=2, on_full="raise") as pool, Busy(pool):
            pool.submit(int)
            pool.options(priority=1).submit(int)
            for submit in (pool.submit, pool.options(name="x").submit):
                with pytest.raises(queue.Full, match="max_pending"):
                    submit(int)

    def test_block(self) -> None:
        with ThreadPoolExecutor(1, max_pending=1) as pool:
            with Busy(pool):
                pool.submit(int)
                waiting = spawn(pool.submit, abs, -3)
            assert result(waiting).result(DEADLINE) == 3
            assert list(pool.map(abs, range(100))) == list(range(100))

    def test_block_ends_with_the_pool(self) -> None:
        pool = ThreadPoolExecutor(1, max_pending=1)
        with Busy(pool):
            pool.submit(int)
            waiting = spawn(pool.submit, abs, -3)
            eventually(lambda: waiting.thread.is_alive())  # type: ignore[attr-defined]
            pool.shutdown(wait=False)
            with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
                waiting.result(DEADLINE)
        pool.shutdown()

    def test_await_room(self) -> None:
        async def main(pool: ThreadPoolExecutor) -> None:
            with Busy(pool):
                pool.submit(int)
                late = asyncio.create_task(pool.async_submit(abs, -3))
                urgent = asyncio.create_task(pool.options(priority=1).async_submit(abs, -4))
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not late.done()
                assert not urgent.done()
            assert await (await late) == 3
            assert await (await urgent) == 4

        with ThreadPoolExecutor(1, max_pending=1) as pool:
            run_async(main(pool))

    def test_room_that_a_thread_takes_first_is_awaited_again(self) -> None:
        class Overtaken(ThreadPoolExecutor):
            taken = False

            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                if args and not self.taken:
                    self.taken = True
                    super().submit(int)
                return super().submit(fn, *args, **kwargs)

        async def main(pool: ThreadPoolExecutor) -> None:
            with Busy(pool):
                late = asyncio.create_task(pool.async_submit(abs, -3))
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not late.done()
            assert await (await late) == 3

        policies: list[dict[str, Any]] = [{"on_full": "block"}, {"on_full": "raise"}]
        for policy in policies:
            with Overtaken(1, max_pending=1, **policy) as pool:
                run_async(main(pool))

    def test_room_meant_for_a_task_of_a_closed_loop_goes_to_the_next(self) -> None:
        def waiting(pool: ThreadPoolExecutor) -> int:
            return sum(
                isinstance(each, asyncio.Task) for each in gc.get_referents(pool._counterpoint_pool)
            )

        with ThreadPoolExecutor(1, max_pending=1) as pool, loops(2) as (dead, alive):
            with Busy(pool):
                pool.submit(int)
                gone = dead.start(pool.async_submit(abs, -3))
                eventually(lambda: waiting(pool) == 1)
                late = alive.start(pool.async_submit(abs, -4))
                eventually(lambda: waiting(pool) == 2)
                for task in asyncio.all_tasks(dead.loop):
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                dead.close()
            assert late.result(DEADLINE).result(DEADLINE) == 4
            assert not gone.done()

    def test_a_worker_that_waits_for_room_of_its_own_pool(self) -> None:
        with ThreadPoolExecutor(1, max_pending=1) as pool:

            def task() -> int:
                return sum(each.result() for each in [pool.submit(abs, -1) for _ in range(5)])

            assert pool.submit(task).result(DEADLINE) == 5


class TestMap:
    def test_bad_input(self, pool: ThreadPoolExecutor) -> None:
        with pytest.raises(TypeError):
            pool.map(abs, 3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^buffersize must be an integer or None$"):
            pool.map(abs, [1], buffersize="2")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"^buffersize must be None or > 0$"):
            pool.map(abs, [1], buffersize=0)

    @pytest.mark.parametrize("ordered", [True, False])
    @pytest.mark.parametrize("buffersize", [None, 1, 3])
    def test_results(self, pool: ThreadPoolExecutor, ordered: bool, buffersize: int | None) -> None:
        results = list(pool.map(abs, range(-20, 0), buffersize=buffersize, ordered=ordered))
        assert (results if ordered else sorted(results, reverse=True)) == list(range(20, 0, -1))
        assert list(pool.options(priority=2).map(pow, [2, 3], [3, 2])) == [8, 9]

    def test_buffersize_bounds_what_is_read(self, one: ThreadPoolExecutor) -> None:
        read: list[int] = []

        def numbers() -> Iterator[int]:
            for n in range(100):
                read.append(n)
                yield n

        results = one.map(abs, numbers(), buffersize=4)
        assert len(read) == 4
        assert next(results) == 0
        assert len(read) == 5

    def test_unordered_yields_what_is_there(self, pool: ThreadPoolExecutor) -> None:
        go_on = threading.Event()
        results = pool.map(lambda n: n or go_on.wait(DEADLINE), [0, 1, 2], ordered=False)
        assert sorted([next(results), next(results)]) == [1, 2]
        go_on.set()
        assert list(results) == [True]

    @pytest.mark.parametrize("ordered", [True, False])
    def test_closing_cancels_the_rest(self, one: ThreadPoolExecutor, ordered: bool) -> None:
        ran, go_on = list[int](), threading.Event()

        def task(n: int) -> None:
            ran.append(n)
            assert n == 0 or go_on.wait(DEADLINE)

        for end in ("close", "drop"):
            go_on.clear()
            results = one.map(task, range(5), ordered=ordered)
            assert next(results) is None
            eventually(lambda: len(ran) == 2)
            if end == "close":
                results.close()  # type: ignore[attr-defined]
            else:
                del results
                gc.collect()
            go_on.set()
            one.submit(int).result(DEADLINE)
            assert ran == [0, 1]
            ran.clear()

    @pytest.mark.parametrize("ordered", [True, False])
    def test_calls_run_that_nobody_asks_for_results(
        self, one: ThreadPoolExecutor, ordered: bool
    ) -> None:
        # `pool.map(f, items)` as a statement: as in the stdlib, its calls run.
        ran: list[int] = []
        with Busy(one):
            one.map(ran.append, range(5), ordered=ordered)
            gc.collect()
            closed = one.map(ran.append, range(5, 8), ordered=ordered)
            closed.close()  # type: ignore[attr-defined]
        one.shutdown()
        assert ran == list(range(8))

    def test_a_buffer_costs_each_result_the_same(
        self, one: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watched: list[int] = []
        watch = waiting._watch

        def counting(collector: Any, futures: list[Any]) -> Any:
            watched.append(len(futures))
            return watch(collector, futures)

        monkeypatch.setattr(waiting, "_watch", counting)
        results = one.map(abs, range(60), ordered=False, buffersize=20)
        assert sorted(results) == list(range(60))
        assert watched == [20] + [1] * 40

    def test_closing_after_the_first_cancels_the_rest(self, one: ThreadPoolExecutor) -> None:
        ran, go_on = list[int](), threading.Event()

        def task(n: int) -> None:
            ran.append(n)
            assert n == 0 or go_on.wait(DEADLINE)

        results = one.map(task, range(5))
        assert next(results) is None
        eventually(lambda: len(ran) == 2)
        results.close()  # type: ignore[attr-defined]
        go_on.set()
        one.shutdown()
        assert ran == [0, 1]
        assert one.statistics().cancelled == 3

    @pytest.mark.parametrize("ordered", [True, False])
    def test_timeout(self, one: ThreadPoolExecutor, ordered: bool) -> None:
        with Busy(one):
            results = one.map(abs, [1, 2], timeout=0.01, ordered=ordered)
            with pytest.raises(TimeoutError):
                list(results)
        one.shutdown()
        assert one.statistics().done == 1

    def test_progress(self, pool: ThreadPoolExecutor, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("tqdm")
        assert list(pool.map(abs, [-1, 2], progress=True)) == [1, 2]
        assert "2/2" in capsys.readouterr().err

    def test_a_submit_of_a_subclass_sees_every_call(self) -> None:
        class Mine(ThreadPoolExecutor):
            calls = 0

            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                self.calls += 1
                return super().submit(fn, *args, **kwargs)

        with Mine(1) as pool:
            assert list(pool.map(abs, [-1, 2])) == [1, 2]
            assert pool.calls == 2
