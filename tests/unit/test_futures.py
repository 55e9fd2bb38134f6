"""`counterpoint.futures.Future`, and `wait` and `as_completed` over futures of all kinds."""

from __future__ import annotations

import asyncio
import concurrent.futures as stdlib
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import futures
from counterpoint.futures import Future, ThreadPoolExecutor
from tests.support import DEADLINE, eventually, is_collected, loops, result, run_async, spawn
from tests.unit.making import MAKERS, MODULES, finished, is_asleep

STATES = ["PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"]


def failed(error: BaseException, make: Callable[[], Any] = Future) -> Any:
    future = make()
    future.set_exception(error)
    return future


class TestFuture:
    def test_a_callback_that_is_removed_meanwhile_hides_no_other(self) -> None:
        future, told = Future[int](), []

        def first(_: Future[int]) -> None:
            told.append("first")
            future._remove_done_callback(first)

        future.add_done_callback(first)
        future.add_done_callback(lambda _: told.append("second"))
        future.add_done_callback(lambda _: told.append("third"))
        future.set_result(1)
        assert told == ["first", "second", "third"]

    @pytest.mark.parametrize("ends", ["set_result", "set_exception"])
    def test_who_waits_goes_on_before_the_callbacks(self, ends: str) -> None:
        future: Future[Any] = Future()
        went_on = threading.Event()
        seen = []
        future.add_done_callback(lambda _: seen.append(went_on.wait(DEADLINE)))

        def read() -> None:
            begun.set()
            future.exception(DEADLINE)
            went_on.set()

        begun = threading.Event()
        reader = spawn(read)
        assert begun.wait(DEADLINE)
        eventually(lambda: is_asleep(reader.thread))  # type: ignore[attr-defined]
        getattr(future, ends)(OSError())
        result(reader)
        assert seen == [True]

    def test_is_the_stdlib_s(self) -> None:
        assert isinstance(Future(), stdlib.Future)
        assert Future.__name__ == "Future"
        assert Future[int].__origin__ is Future

    @pytest.mark.parametrize("make", MAKERS)
    def test_texts(self, make: Callable[[], Any]) -> None:
        future = make()
        assert repr(future) == f"<Future at {id(future):#x} state=pending>"
        future.set_result(3)
        assert repr(future) == f"<Future at {id(future):#x} state=finished returned int>"
        with pytest.raises(stdlib.InvalidStateError, match=r"^FINISHED: <Future at 0x.* int>$"):
            future.set_result(4)
        assert repr(failed(OSError(), make)).endswith("state=finished raised OSError>")

    @pytest.mark.parametrize("make", MAKERS)
    def test_life(self, make: Callable[[], Any]) -> None:
        future = make()
        assert (future.done(), future.running(), future.cancelled()) == (False, False, False)
        assert future.set_running_or_notify_cancel()
        assert future.running()
        assert not future.cancel()
        future.set_result("x")
        assert future.done()
        assert future.result(timeout=0) == "x"
        assert future.exception() is None
        with pytest.raises(RuntimeError, match=r"^Future in unexpected state$"):
            future.set_running_or_notify_cancel()

    @pytest.mark.parametrize("make", MAKERS)
    def test_cancel(self, make: Callable[[], Any]) -> None:
        future, seen = make(), list[Any]()
        future.add_done_callback(seen.append)
        assert future.cancel()
        assert future.cancel()
        assert seen == [future]
        assert not future.set_running_or_notify_cancel()
        assert future._state == "CANCELLED_AND_NOTIFIED"
        with pytest.raises(stdlib.CancelledError):
            future.result()
        with pytest.raises(stdlib.CancelledError):
            future.exception()

    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("timeout", [0, 0.001, -1])
    def test_timeout(self, make: Callable[[], Any], timeout: float) -> None:
        with pytest.raises(TimeoutError):
            make().result(timeout)
        with pytest.raises(TimeoutError):
            make().exception(timeout=timeout)

    def test_bad_arguments(self) -> None:
        with pytest.raises(TypeError):
            Future(1)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            Future().result(timeout="x")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'fn'"):
            Future().add_done_callback()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected keyword argument 'value'"):
            Future().set_result(value=1)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="no such state"):
            Future()._state = "ELSEWHERE"

    def test_a_raised_exception_keeps_no_cycle(self) -> None:
        class Mine(Exception):
            pass

        def fail() -> None:
            failed(Mine()).result()

        gc.disable()
        try:
            try:
                fail()
            except Mine as error:
                reference = weakref.ref(error)
            assert reference() is None
        finally:
            gc.enable()

    def test_what_is_no_exception_is_refused_when_raised(self) -> None:
        future = Future[None]()
        future.set_exception(LookupError)  # type: ignore[arg-type]
        with pytest.raises(LookupError):
            future.result()
        future = Future()
        future.set_exception("no")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="exceptions must derive from BaseException"):
            future.result()

    def test_callbacks_in_order_and_their_errors_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        future, seen = Future[int](), list[str]()

        def fail(_: object) -> None:
            raise OSError("doh")

        future.add_done_callback(lambda _: seen.append("first"))
        future.add_done_callback(fail)
        future.add_done_callback(lambda f: f.add_done_callback(lambda _: seen.append("within")))
        with caplog.at_level(logging.ERROR, "concurrent.futures"):
            future.set_result(1)
        future.add_done_callback(lambda _: seen.append("late"))
        assert seen == ["first", "within", "late"]
        assert "exception calling callback for <Future" in caplog.text
        assert "OSError: doh" in caplog.text

    @pytest.mark.parametrize("state", STATES)
    def test_private_attributes(self, state: str) -> None:
        ours, theirs = Future[Any](), stdlib.Future[Any]()
        for future in (ours, theirs):
            future._state = state
            future._exception = None
            future._result = 7
        for name in ("_state", "_result", "_exception", "_waiters", "_done_callbacks"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert repr(ours).split("state=")[1] == repr(theirs).split("state=")[1]

    def test_its_condition_is_obeyed_once_touched(self) -> None:
        future = Future[int]()
        condition = future._condition
        assert future._condition is condition
        with condition:
            setter = spawn(future.set_result, 5)
            assert future._state != "FINISHED"
            assert condition.wait(DEADLINE)
            assert future.done()
        result(setter)
        assert future.result() == 5

    def test_a_waiting_thread_sees_a_state_set_by_hand(self) -> None:
        future = Future[int]()
        waiting = spawn(future.exception, DEADLINE)
        with future._condition:
            future._state = "FINISHED"
            future._exception = OSError()
            future._condition.notify_all()
        assert isinstance(result(waiting), OSError)

    def test_subclass_attributes_and_weak_references(self) -> None:
        class Mine(Future[int]):
            def __init__(self, tag: str, *, other: int = 0) -> None:
                super().__init__()
                self.tag = tag

            def _invoke_callbacks(self) -> None:
                self.invoked = True
                super()._invoke_callbacks()

        future = Mine("t", other=2)
        seen = list[Any]()
        future.add_done_callback(seen.append)
        future.set_result(1)
        assert (future.tag, future.invoked, seen) == ("t", True, [future])
        assert repr(future).startswith("<Mine at ")
        seen.clear()
        reference = weakref.ref(future)
        del future
        assert is_collected(reference)

    def test_a_subclass_may_call_the_stdlib_s_init(self) -> None:
        class Mine(stdlib.Future[int]):
            pass

        class Ours(Future[int]):
            def __init__(self) -> None:
                stdlib.Future.__init__(self)

        for future in (Mine(), Ours()):
            waiting = spawn(future.result, DEADLINE)
            future.set_result(1)
            assert result(waiting) == 1

    def test_a_cycle_is_collected(self) -> None:
        def make() -> weakref.ref[Future[Any]]:
            future = Future[Any]()
            future.add_done_callback(lambda _: future)
            return weakref.ref(future)

        assert is_collected(make())
        future = Future()
        future.set_result([future])
        reference = weakref.ref(future)
        del future
        assert is_collected(reference)

    def test_it_is_small(self) -> None:
        theirs = stdlib.Future[None]()
        parts = [theirs, vars(theirs), theirs._condition, theirs._waiters, theirs._done_callbacks]
        assert sys.getsizeof(Future()) < sum(map(sys.getsizeof, parts))

    def test_it_refuses_to_be_pickled(self) -> None:
        import pickle

        future = Future[None]()
        assert future._condition
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(future)


class TestAwait:
    def test_in_several_loops_at_once(self) -> None:
        async def wait(future: Future[int]) -> int:
            return await future

        future = Future[int]()
        with loops(3) as running:
            waiting = [loop.start(wait(future)) for loop in running]
            eventually(lambda: len(future._done_callbacks) == 3)
            future.set_result(9)
            assert [each.result(DEADLINE) for each in waiting] == [9, 9, 9]

    def test_outcomes(self) -> None:
        async def main() -> None:
            assert await finished(1) == 1
            with pytest.raises(OSError, match="x"):
                await failed(OSError("x"))
            cancelled = Future[None]()
            cancelled.cancel()
            with pytest.raises(stdlib.CancelledError):
                await cancelled
            assert await asyncio.wrap_future(finished(2)) == 2

        run_async(main())

    def test_a_cancelled_task_leaves_the_future_alone(self) -> None:
        async def main() -> None:
            future = Future[int]()

            async def wait() -> int:
                return await future

            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            assert len(future._done_callbacks) == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert future._state == "PENDING"
            assert future._done_callbacks == []

        run_async(main())

    def test_a_closed_loop_is_passed_over(self) -> None:
        async def wait(future: Future[int]) -> int:
            return await future

        future = Future[int]()
        loop = asyncio.new_event_loop()
        task = loop.create_task(wait(future))
        loop.call_soon(loop.stop)
        loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        future.set_result(1)
        assert future.result() == 1


class TestWait:
    @pytest.mark.parametrize("module", MODULES, ids=["ours", "stdlib"])
    @pytest.mark.parametrize("when", ["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"])
    def test_mixed(self, module: Any, when: str) -> None:
        pending = [make() for make in MAKERS * 2]
        waiting = spawn(module.wait, pending, DEADLINE, when)
        eventually(lambda: all(f._waiters for f in pending if type(f) is stdlib.Future))
        pending[0].set_result(1)
        if when != "FIRST_COMPLETED":
            pending[1].set_exception(OSError())
        if when == "ALL_COMPLETED":
            for future in pending[2:]:
                future.set_result(2)
        done, not_done = result(waiting)
        counts = {"ALL_COMPLETED": 4, "FIRST_EXCEPTION": 2, "FIRST_COMPLETED": 1}
        assert (len(done), len(not_done)) == (counts[when], 4 - counts[when])
        assert [len(future._waiters) for future in not_done] == [0] * len(not_done)

    def test_times_out(self) -> None:
        pending = [finished(1), Future(), stdlib.Future()]
        done, not_done = futures.wait([*pending, pending[0]], timeout=0.001)
        assert (done, not_done) == ({pending[0]}, set(pending[1:]))
        assert futures.wait(pending, timeout=0).done == done

    def test_what_is_settled_is_not_waited_for(self) -> None:
        error = failed(OSError())
        assert futures.wait([error, Future()], return_when=futures.FIRST_EXCEPTION).done == {error}
        assert futures.wait([], return_when=futures.FIRST_COMPLETED) == (set(), set())

    def test_a_cancelled_one_counts_when_its_executor_knows(self) -> None:
        future = Future[None]()
        future.cancel()
        assert futures.wait([future], timeout=0.001).not_done == {future}
        future.set_running_or_notify_cancel()
        assert futures.wait([future]).done == {future}

    def test_bad_input(self) -> None:
        with pytest.raises(ValueError, match=r"^Invalid return condition: 'SOON'$"):
            futures.wait([Future()], return_when="SOON")
        with pytest.raises(TypeError):
            futures.wait(3)  # type: ignore[arg-type]


def test_the_module_has_all_of_its_namesake() -> None:
    assert set(stdlib.__all__) <= {*futures.__all__, *dir(stdlib)}
    assert issubclass(futures.ProcessPoolExecutor, stdlib.ProcessPoolExecutor)
    assert futures.CancelledError is stdlib.CancelledError
    for name in stdlib.__all__:
        if hasattr(stdlib, name):
            assert hasattr(futures, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        futures.nothing  # noqa: B018


class TestPrivateAttributes:
    """What programs may write to is checked: our own code relies on what it finds there."""

    @pytest.mark.parametrize("name", ["_done_callbacks", "_waiters"])
    def test_lists_are_lists(self, name: str) -> None:
        future: Future[int] = Future()
        setattr(future, name, (len, abs))
        assert getattr(future, name) == [len, abs]
        for value in (1.5, 12345678901234567890):
            with pytest.raises(TypeError):
                setattr(future, name, value)
        mine: list[Any] = []
        setattr(future, name, mine)
        assert getattr(future, name) is mine
        setattr(future, name, None)
        assert getattr(future, name) == []
        future.set_result(1)

    def test_the_memory_has_no_names(self) -> None:
        future: Future[int] = Future()
        assert not [name for name in dir(future) if "native" in name]
        with pytest.raises(AttributeError):
            future._native_callbacks  # type: ignore[attr-defined] # noqa: B018

    def test_what_it_holds_is_collected(self) -> None:
        class Thing:
            pass

        future: Any = Future()
        thing = Thing()
        thing.future = future  # type: ignore[attr-defined]
        future.set_result(thing)
        reference = weakref.ref(thing)
        del thing, future
        assert is_collected(reference)

    def test_an_executor_s_attributes_are_its_own(self) -> None:
        class Mine(ThreadPoolExecutor):
            def __init__(self) -> None:
                super().__init__(1)
                self._pool = [1, 2]

        with Mine() as pool:
            assert pool._pool == [1, 2]
            assert pool.submit(abs, -1).result() == 1
            for value in ([1], None, 7):
                with pytest.raises(TypeError):
                    pool._counterpoint_pool = value  # type: ignore[assignment]
            with pytest.raises(AttributeError):
                del pool._counterpoint_pool
            assert pool.submit(abs, -2).result() == 2

    def test_callbacks_from_many_threads(self) -> None:
        """None is lost, and the list may be touched meanwhile."""
        for _ in range(20):
            future: Future[int] = Future()
            called: list[int] = []
            barrier = threading.Barrier(5)

            def add(
                base: int,
                future: Future[int] = future,
                called: list[int] = called,
                barrier: threading.Barrier = barrier,
            ) -> None:
                barrier.wait(DEADLINE)
                for n in range(50):
                    future.add_done_callback(lambda _, n=n: called.append(base + n))
                    assert len(future._done_callbacks) <= 200

            threads = [spawn(add, 100 * n) for n in range(4)]
            barrier.wait(DEADLINE)
            future.set_result(1)
            for thread in threads:
                result(thread)
            assert sorted(called) == [100 * t + n for t in range(4) for n in range(50)]
