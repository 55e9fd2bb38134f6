"""A loop's life, where CPython's suites are silent: running, stopping, closing, and errors."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import sys
import threading
import warnings
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable

import pytest

from tests import loops
from tests.support import is_collected


async def nothing() -> None:
    pass


def test_a_loop_that_was_never_run_can_be_closed() -> None:
    loop = loops.factory()()
    assert not loop.is_closed()
    loop.close()
    loop.close()
    assert loop.is_closed()
    assert not loop.is_running()


CALLS: dict[str, Callable[[AbstractEventLoop], object]] = {
    "call_soon": lambda loop: loop.call_soon(int),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(int),
    "call_later": lambda loop: loop.call_later(1, int),
    "call_at": lambda loop: loop.call_at(1, int),
    "run_forever": lambda loop: loop.run_forever(),
    "run_in_executor": lambda loop: loop.run_in_executor(None, int),
    "add_signal_handler": lambda loop: loop.add_signal_handler(10, int),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_loop_takes_nothing(call: Callable[[AbstractEventLoop], object]) -> None:
    loop = loops.factory()()
    loop.close()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        call(loop)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_closed_loop_runs_no_task() -> None:
    loop = loops.factory()()
    loop.close()
    for call in (loop.run_until_complete, loop.create_task):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            call(nothing())
    gc.collect()


def test_a_running_loop_cannot_be_closed(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()

    loop.run_until_complete(main())
    assert not loop.is_closed()


def test_a_closed_loop_drops_what_was_to_be_called() -> None:
    class Argument:
        pass

    def closed() -> list[object]:
        loop = loops.factory()()
        arguments = [Argument() for _ in range(3)]
        loop.call_soon(print, arguments[0])
        loop.call_later(60, print, arguments[1])
        loop.call_soon_threadsafe(print, arguments[2])
        loop.close()
        return [weakref.ref(each) for each in arguments]

    assert all(is_collected(each) for each in closed())  # type: ignore[arg-type]


def test_a_loop_that_is_not_closed_says_so() -> None:
    loop = loops.factory()()
    loop.run_until_complete(nothing())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    said = [str(each.message) for each in caught if each.category is ResourceWarning]
    assert any("unclosed event loop" in each for each in said)


def test_run_until_complete_of_what_never_ends(loop: AbstractEventLoop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        loop.run_until_complete(future)
    future.cancel()


@pytest.mark.parametrize("argument", [None, 1, int, "text"])
def test_run_until_complete_of_no_awaitable(loop: AbstractEventLoop, argument: object) -> None:
    with pytest.raises(TypeError):
        loop.run_until_complete(argument)  # type: ignore[arg-type]
    assert loop.run_until_complete(asyncio.sleep(0, "usable")) == "usable"


def test_run_until_complete_of_another_loop_s_future(loop: AbstractEventLoop) -> None:
    with loops.running_in() as other, pytest.raises(ValueError, match="loop"):
        loop.run_until_complete(other.create_future())


def test_a_running_loop_cannot_be_run_again(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_forever()

    loop.run_until_complete(main())


def test_another_loop_cannot_be_run_meanwhile(loop: AbstractEventLoop) -> None:
    async def main(inner: AbstractEventLoop) -> None:
        with pytest.raises(RuntimeError, match="another loop is running"):
            inner.run_forever()

    with loops.running_in("asyncio") as other:
        loop.run_until_complete(main(other))
        other.run_until_complete(main(loop))


def test_a_loop_cannot_be_run_by_two_threads(loop: AbstractEventLoop) -> None:
    errors: list[str] = []

    def run() -> None:
        try:
            loop.run_forever()
        except RuntimeError as error:
            errors.append(str(error))

    async def main() -> None:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    loop.run_until_complete(main())
    assert errors == ["This event loop is already running"]


def test_a_loop_may_change_its_thread(loop: AbstractEventLoop) -> None:
    seen: list[int] = []

    def run() -> None:
        loop.run_until_complete(asyncio.sleep(0.001))
        seen.append(threading.get_ident())

    for _ in range(3):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    run()
    assert len(seen) == 4


def test_stop_before_running_runs_one_turn(loop: AbstractEventLoop) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "second")

    loop.call_soon(first)
    loop.stop()
    loop.run_forever()
    assert seen == ["first"]
    loop.stop()
    loop.run_forever()
    assert seen == ["first", "second"]


def test_the_running_loop_is_known_while_it_runs(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        assert asyncio.get_running_loop() is loop
        assert loop.is_running()

    loop.run_until_complete(main())
    assert not loop.is_running()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_time_is_monotonic(loop: AbstractEventLoop) -> None:
    times = [loop.time() for _ in range(1_000)]
    assert times == sorted(times)
    assert isinstance(times[0], float)


def test_a_loop_tells_its_state(loop: AbstractEventLoop) -> None:
    async def shown() -> str:
        return repr(loop)

    assert "running=True" in loop.run_until_complete(shown())
    for word in ("running=False", "closed=False", "debug=False"):
        assert word in repr(loop)


class TestExceptionHandlers:
    def fail(self, loop: AbstractEventLoop) -> None:
        loop.call_soon(divmod, 1, 0)
        loop.call_soon(loop.stop)
        loop.run_forever()

    def test_there_is_none_at_first(self, loop: AbstractEventLoop) -> None:
        assert loop.get_exception_handler() is None

    def test_a_handler_gets_loop_and_context(self, loop: AbstractEventLoop) -> None:
        seen: list[tuple[AbstractEventLoop, dict[str, object]]] = []
        handler = lambda *args: seen.append(args)  # type: ignore[arg-type] # noqa: E731
        loop.set_exception_handler(handler)
        assert loop.get_exception_handler() is handler
        self.fail(loop)
        ((told, context),) = seen
        assert told is loop
        assert isinstance(context["exception"], ZeroDivisionError)
        assert isinstance(context["handle"], asyncio.Handle)
        assert "divmod" in str(context["message"])

    def test_it_is_called_while_the_exception_is_handled(self, loop: AbstractEventLoop) -> None:
        seen: list[bool] = []

        def handler(_: AbstractEventLoop, context: dict[str, object]) -> None:
            seen.append(sys.exc_info()[1] is context["exception"])

        loop.set_exception_handler(handler)
        self.fail(loop)
        assert (seen, sys.exc_info()) == ([True], (None, None, None))

    def test_none_brings_the_default_back(
        self, loop: AbstractEventLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop.set_exception_handler(lambda *_: None)
        loop.set_exception_handler(None)
        with caplog.at_level(logging.ERROR, "asyncio"):
            self.fail(loop)
        (record,) = caplog.records
        assert record.getMessage().startswith("Exception in callback")
        assert record.exc_info
        assert record.exc_info[0] is ZeroDivisionError

    def test_it_has_to_be_callable(self, loop: AbstractEventLoop) -> None:
        with pytest.raises(TypeError, match="A callable object or None is expected"):
            loop.set_exception_handler(7)  # type: ignore[arg-type]

    def test_an_error_in_the_handler_is_logged(
        self, loop: AbstractEventLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        def handler(*_: object) -> None:
            raise KeyError("in the handler")

        loop.set_exception_handler(handler)
        with caplog.at_level(logging.ERROR, "asyncio"):
            self.fail(loop)
        (record,) = caplog.records
        assert "Unhandled error in exception handler" in record.getMessage()
        assert record.exc_info
        assert isinstance(record.exc_info[1], KeyError)
        assert isinstance(record.exc_info[1].__context__, ZeroDivisionError)

    def test_a_lost_task_reaches_it(self, loop: AbstractEventLoop) -> None:
        messages: list[object] = []
        loop.set_exception_handler(lambda _, context: messages.append(context["message"]))

        async def fail() -> None:
            raise ValueError

        loop.run_until_complete(asyncio.wait([loop.create_task(fail())]))
        gc.collect()
        assert messages == ["Task exception was never retrieved"]


def test_a_regular_file_cannot_be_waited_for(loop: AbstractEventLoop) -> None:
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(io.StringIO(), int)  # type: ignore[arg-type]
