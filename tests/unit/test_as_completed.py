"""`counterpoint.futures.as_completed`, over futures of all kinds, in threads and tasks."""

from __future__ import annotations

import asyncio
import concurrent.futures as stdlib
import gc
import threading
import time
import weakref
from typing import Any

import pytest

from counterpoint import futures
from counterpoint._futures import waiting
from counterpoint.futures import Future
from tests.support import DEADLINE, eventually, loops, result, run_async, spawn
from tests.unit.making import MAKERS, MODULES, finished, is_asleep


class TestAsCompleted:
    @pytest.mark.parametrize("module", MODULES, ids=["ours", "stdlib"])
    def test_in_order_of_completion(self, module: Any) -> None:
        pending = [make() for make in MAKERS * 2]
        iterator = module.as_completed([*pending, pending[0]], timeout=DEADLINE)
        order = [2, 0, 3, 1]
        for at in order:
            following = spawn(next, iterator)
            pending[at].set_result(at)
            assert result(following) is pending[at]
        assert list(iterator) == []

    def test_timeout(self) -> None:
        pending = [finished(), finished(), Future(), stdlib.Future()]
        with pytest.raises(TimeoutError, match=r"^2 \(of 4\) futures unfinished$"):
            list(futures.as_completed(pending, timeout=0))
        assert [future._waiters for future in pending[2:]] == [[], []]

    def test_it_keeps_no_reference_to_what_it_yielded(self) -> None:
        pending = [finished(n) for n in range(5)]
        iterator = futures.as_completed(pending)
        while pending:
            future = next(iterator)
            pending.remove(future)
            reference = weakref.ref(future)
            del future
            assert reference() is None

    def test_a_dropped_iterator_leaves_no_trace(self) -> None:
        pending = [Future(), stdlib.Future()]
        iterator = futures.as_completed(pending)
        assert [len(future._waiters) for future in pending] == [1, 1]
        del iterator
        gc.collect()
        assert [len(future._waiters) for future in pending] == [0, 0]

    def test_async_for(self) -> None:
        async def main() -> None:
            pending = [make() for make in MAKERS * 2]
            seen = []
            setter = spawn(lambda: [f.set_result(n) for n, f in enumerate(pending)])
            async for future in futures.as_completed(pending, timeout=DEADLINE):
                seen.append(future.result())
            assert sorted(seen) == [0, 1, 2, 3]
            result(setter)
            with pytest.raises(TimeoutError):
                async for _ in futures.as_completed([Future()], timeout=0.001):
                    pass

        run_async(main())

    @pytest.mark.parametrize("count", [2, 4])
    def test_consumers_of_one_iterator_all_end(self, count: int) -> None:
        pending = Future[int]()
        iterator = futures.as_completed([pending])
        consumers = [spawn(next, iterator, None) for _ in range(count)]
        eventually(lambda: all(is_asleep(each.thread) for each in consumers))  # type: ignore[attr-defined]
        pending.set_result(1)
        ends = [result(each) for each in consumers]
        assert sorted(end is pending for end in ends) == [False] * (count - 1) + [True]

    def test_a_task_and_a_thread_share_one_iterator(self) -> None:
        async def rest(iterator: Any) -> list[Any]:
            return [future async for future in iterator]

        pending = [Future[int]() for _ in range(20)]
        iterator = futures.as_completed(pending, DEADLINE)
        with loops() as [loop]:
            consumers = [loop.start(rest(iterator)), spawn(list, iterator), spawn(list, iterator)]
            for future in pending:
                future.set_result(1)
            seen = [future for each in consumers for future in result(each)]
        assert len(seen) == len(pending)
        assert set(seen) == set(pending)

    @pytest.mark.parametrize("consumers", ["tasks", "threads"])
    def test_consumers_that_take_one_each_all_get_one(self, consumers: str) -> None:
        pending = [Future[int]() for _ in range(4)]
        iterator = futures.as_completed(pending, DEADLINE)

        async def main() -> list[Any]:
            waiting = [asyncio.ensure_future(anext(iterator)) for _ in pending]
            await asyncio.sleep(0)
            for future in pending:
                future.set_result(1)
            return await asyncio.gather(*waiting)

        if consumers == "tasks":
            seen = run_async(main())
        else:
            waiting = [spawn(next, iterator) for _ in pending]
            eventually(lambda: all(is_asleep(each.thread) for each in waiting))  # type: ignore[attr-defined]
            for future in pending:
                future.set_result(1)
            seen = [result(each) for each in waiting]
        assert set(seen) == set(pending)

    def test_closing_ends_the_other_consumers(self) -> None:
        iterator = futures.as_completed([Future[int]()])
        waiting = spawn(next, iterator, None)
        eventually(lambda: is_asleep(waiting.thread))  # type: ignore[attr-defined]
        iterator.close()
        assert result(waiting) is None

    def test_the_time_is_over_for_every_consumer(self) -> None:
        iterator = futures.as_completed([Future[int](), Future[int]()], timeout=0.05)
        told: list[str] = []
        for consumer in [spawn(next, iterator, None) for _ in range(3)]:
            try:
                assert result(consumer) is None  # it came after the others had heard of it
            except TimeoutError as error:
                told.append(str(error))
        assert set(told) == {"2 (of 2) futures unfinished"}
        assert next(iterator, None) is None

    def test_the_time_is_over_for_every_task_that_waits(self) -> None:
        begun = time.monotonic()
        iterator = futures.as_completed([Future[int](), Future[int]()], timeout=0.5)

        async def main() -> list[Any]:
            consumers = [asyncio.ensure_future(anext(iterator)) for _ in range(3)]
            await asyncio.sleep(0)  # they have begun to wait, unless the time was over by then
            expected = 3 if time.monotonic() < begun + 0.5 else 1
            told = await asyncio.gather(*consumers, return_exceptions=True)
            errors = [str(each) for each in told if isinstance(each, TimeoutError)]
            assert len(errors) >= expected
            return errors

        assert set(run_async(main())) == {"2 (of 2) futures unfinished"}

    def test_the_time_is_over_for_two_consumers_at_once(self, monkeypatch: Any) -> None:
        iterator = futures.as_completed([Future[int](), Future[int]()], timeout=0)
        times = iter((1.0, 2.0))

        class Clock:
            @staticmethod
            def monotonic() -> float:
                now = next(times)
                if now == 1.0:  # and meanwhile
                    with pytest.raises(TimeoutError, match=r"^2 \(of 2\) futures unfinished$"):
                        next(iterator)
                return iterator._end + now  # type: ignore[operator]

        monkeypatch.setattr(waiting, "time", Clock)
        with pytest.raises(TimeoutError, match=r"^2 \(of 2\) futures unfinished$"):
            next(iterator)

    def test_threads_settle_while_it_registers(self) -> None:
        for _ in range(50):
            pending = [Future[int]() for _ in range(20)]
            setter = threading.Thread(target=lambda p=pending: [f.set_result(1) for f in p])
            setter.start()
            assert len(list(futures.as_completed(pending, DEADLINE))) == 20
            setter.join()
