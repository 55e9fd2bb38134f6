"""`counterpoint.futures.ThreadPoolExecutor`: what the stdlib's suites do not cover."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import queue
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor as StdlibPool
from typing import Any

import pytest

from counterpoint import futures
from counterpoint._futures import waiting
from counterpoint.futures import ThreadPoolExecutor
from tests.support import DEADLINE, eventually, loops, result, run_async, spawn
from tests.unit.pools import Busy


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as pool:
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
            ({"max_pending": 0}, ValueError, "^max_pending must be at least 1, not 0$"),
            ({"max_pending": 10**30}, ValueError, "^max_pending must be at most "),
            ({"max_pending": "x"}, TypeError, "^max_pending must be an integer, not 'x'$"),
            ({"max_pending": 1.5}, TypeError, "^max_pending must be an integer, not 1.5$"),
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

    def test_progress_without_its_package_is_refused_at_once(
        self, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        calls: list[int] = []
        with pytest.raises(ImportError, match=r"^progress=True needs .* pip install tqdm$"):
            pool.map(calls.append, [1], progress=True)
        assert calls == []

    def test_a_submit_of_a_subclass_sees_every_call(self) -> None:
        class Mine(ThreadPoolExecutor):
            calls = 0

            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                self.calls += 1
                return super().submit(fn, *args, **kwargs)

        with Mine(1) as pool:
            assert list(pool.map(abs, [-1, 2])) == [1, 2]
            assert pool.calls == 2
