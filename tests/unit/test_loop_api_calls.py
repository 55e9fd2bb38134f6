"""Callbacks and their handles, where CPython's suites are silent: as asyncio's own loop has it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import socket
import threading
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import is_collected

number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


def run_once(loop: AbstractEventLoop) -> None:
    """What is ready now is run, and nothing else."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def noop(*_: object) -> None:
    """Named in a repr."""


def test_handles_are_asyncio_s(loop: AbstractEventLoop) -> None:
    soon = loop.call_soon(noop, 1)
    threadsafe = loop.call_soon_threadsafe(noop)
    later, at = loop.call_later(60, noop), loop.call_at(loop.time() + 60, noop)
    for handle in (soon, threadsafe, later, at):
        assert isinstance(handle, asyncio.Handle)
        assert isinstance(handle, asyncio.TimerHandle) is (handle in (later, at))
        assert not handle.cancelled()
        handle.cancel()
        handle.cancel()
        assert handle.cancelled()


def test_a_timer_says_when(loop: AbstractEventLoop) -> None:
    before = loop.time()
    later = loop.call_later(60, noop)
    assert before + 60 <= later.when() <= loop.time() + 60
    at = loop.call_at(123.25, noop)
    assert at.when() == 123.25
    later.cancel()
    at.cancel()
    assert at.when() == 123.25


def test_timers_compare_by_their_time(loop: AbstractEventLoop) -> None:
    first, second = loop.call_at(1e9, noop, 1), loop.call_at(2e9, noop, 2)
    assert first < second
    assert second > first
    assert first <= second
    assert first != second
    assert {first: 1, second: 2}[second] == 2
    assert sorted([second, first]) == [first, second]


def test_a_cancelled_call_is_not_made(loop: AbstractEventLoop) -> None:
    seen: list[int] = []
    handles = [loop.call_soon(seen.append, index) for index in range(4)]
    handles[1].cancel()
    loop.call_soon(handles[3].cancel)
    run_once(loop)
    # The fourth was before the one that cancels it.
    assert seen == [0, 2, 3]


def test_a_callback_cancels_a_later_one_of_its_turn(loop: AbstractEventLoop) -> None:
    seen: list[str] = []
    handles: list[asyncio.Handle] = []
    loop.call_soon(lambda: handles[0].cancel())
    handles.append(loop.call_soon(seen.append, "called"))
    run_once(loop)
    assert seen == []


def test_what_a_callback_adds_waits_for_the_next_turn(loop: AbstractEventLoop) -> None:
    seen: list[str] = []
    loop.call_soon(lambda: loop.call_soon(seen.append, "next"))
    loop.call_soon(seen.append, "this")
    run_once(loop)
    assert seen == ["this"]
    run_once(loop)
    assert seen == ["this", "next"]


@pytest.mark.parametrize("delay", [0, -1, -1e9, 0.0])
def test_a_timer_in_the_past_is_called_soon(loop: AbstractEventLoop, delay: float) -> None:
    async def main() -> None:
        called = asyncio.Event()
        assert isinstance(loop.call_later(delay, called.set), asyncio.TimerHandle)
        await called.wait()

    loop.run_until_complete(asyncio.wait_for(main(), 10))


def test_a_time_is_not_none(loop: AbstractEventLoop) -> None:
    with pytest.raises(TypeError, match="delay must not be None"):
        loop.call_later(None, noop)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="when cannot be None"):
        loop.call_at(None, noop)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        loop.call_later("1", noop)  # type: ignore[arg-type]


def test_many_arguments_and_keywords(loop: AbstractEventLoop) -> None:
    seen: list[tuple[int, ...]] = []
    for count in range(8):
        loop.call_soon(lambda *args: seen.append(args), *range(count))
        loop.call_soon_threadsafe(lambda *args: seen.append(args), *range(count))
    run_once(loop)
    assert seen == [tuple(range(count)) for count in range(8) for _ in range(2)]
    with pytest.raises(TypeError):
        loop.call_soon()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        loop.call_soon(noop, keyword=1)  # type: ignore[call-arg]


Calling = Callable[..., asyncio.Handle]


@pytest.mark.parametrize("how", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_the_context_is_that_of_the_call_or_the_one_given(
    loop: AbstractEventLoop, how: str
) -> None:
    seen: list[int] = []
    call: Calling = getattr(loop, how)
    when: tuple[float, ...] = {"call_later": (0,), "call_at": (loop.time(),)}.get(how, ())

    def note() -> None:
        seen.append(number.get())
        number.set(99)

    given = contextvars.copy_context()
    given.run(number.set, 5)
    token = number.set(7)
    call(*when, note)
    call(*when, note, context=given)
    number.reset(token)
    loop.run_until_complete(asyncio.sleep(0.001))
    assert sorted(seen) == [5, 7]
    assert number.get() == 0
    assert given[number] == 99


def test_a_handle_names_its_callback(loop: AbstractEventLoop) -> None:
    handle = loop.call_soon(noop, 1)
    assert "noop(" in repr(handle)
    assert repr(handle).startswith("<Handle ")
    timer = loop.call_at(1e9, noop, 2)
    assert repr(timer).startswith("<TimerHandle when=1000000000.0 ")
    assert "noop(" in repr(timer)
    for each in (handle, timer):
        each.cancel()
        assert "cancelled" in repr(each)


def test_cancelled_and_called_handles_let_go_of_their_arguments(loop: AbstractEventLoop) -> None:
    class Argument:
        pass

    def reference(call: Callable[[Argument], asyncio.Handle], cancel: bool) -> object:
        argument = Argument()
        handle = call(argument)
        if cancel:
            handle.cancel()
        else:
            run_once(loop)
        return weakref.ref(argument)

    soon = lambda argument: loop.call_soon(noop, argument)  # noqa: E731
    timer = lambda argument: loop.call_later(60, noop, argument)  # noqa: E731
    for call, cancel in ((soon, True), (soon, False), (timer, True)):
        assert is_collected(reference(call, cancel))  # type: ignore[arg-type]


def test_a_handle_can_be_referred_to_weakly(loop: AbstractEventLoop) -> None:
    handle = loop.call_soon(noop)
    kept = weakref.ref(handle)
    assert kept() is handle
    run_once(loop)
    del handle
    assert is_collected(kept)


def test_callbacks_in_a_cycle_are_collected(loop: AbstractEventLoop) -> None:
    class Node:
        pass

    node = Node()
    node.handle = loop.call_later(60, noop, node)  # type: ignore[attr-defined]
    node.handle.cancel()  # type: ignore[attr-defined]
    kept = weakref.ref(node)
    del node
    gc.collect()
    assert is_collected(kept)


class TestDebug:
    @pytest.fixture(autouse=True)
    def _debug(self, loop: AbstractEventLoop) -> None:
        assert loop.get_debug() is False
        loop.set_debug(True)
        assert loop.get_debug() is True

    @pytest.mark.parametrize("how", ["call_soon", "call_later", "call_at"])
    def test_a_call_from_another_thread_raises(self, loop: AbstractEventLoop, how: str) -> None:
        errors: list[BaseException] = []
        arguments: tuple[object, ...] = (noop,) if how == "call_soon" else (1.0, noop)

        def call() -> None:
            try:
                getattr(loop, how)(*arguments)
            except BaseException as error:
                errors.append(error)

        async def main() -> None:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()

        loop.run_until_complete(main())
        assert [str(error) for error in errors] == [
            "Non-thread-safe operation invoked on an event loop other than the current one"
        ]
        assert type(errors[0]) is RuntimeError

    def test_threadsafe_calls_from_another_thread_do_not(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            called = asyncio.Event()
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,))
            thread.start()
            await called.wait()
            thread.join()

        loop.run_until_complete(asyncio.wait_for(main(), 10))

    def test_a_coroutine_is_no_callback(self, loop: AbstractEventLoop) -> None:
        async def function() -> None:
            pass

        with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
            loop.call_soon(function)
        with pytest.raises(TypeError, match="a callable object was expected by call_soon"):
            loop.call_soon(7)  # type: ignore[arg-type]

    def test_slow_callbacks_are_logged(
        self, loop: AbstractEventLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop.slow_callback_duration = 0.0
        with caplog.at_level(logging.WARNING, "asyncio"):
            loop.call_soon(noop)
            run_once(loop)
        said = [record.getMessage() for record in caplog.records]
        assert any("noop()" in each and "took" in each and "seconds" in each for each in said)

    def test_quick_callbacks_are_not(
        self, loop: AbstractEventLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        loop.slow_callback_duration = 60.0
        with caplog.at_level(logging.WARNING, "asyncio"):
            loop.call_soon(noop)
            run_once(loop)
        assert caplog.records == []

    def test_a_handle_says_where_it_was_made(self, loop: AbstractEventLoop) -> None:
        handle = loop.call_soon(noop)
        assert f"created at {__file__}:" in repr(handle)
        run_once(loop)
        loop.set_debug(False)
        assert "created at" not in repr(loop.call_soon(noop))
        run_once(loop)

    def test_a_cancelled_handle_says_so(self, loop: AbstractEventLoop) -> None:
        for handle in (loop.call_soon(noop), loop.call_later(60, noop)):
            handle.cancel()
            assert " cancelled " in repr(handle)
            assert "noop()" in repr(handle)

    def test_a_task_says_where_it_was_made(self, loop: AbstractEventLoop) -> None:
        async def nothing() -> None: ...

        task = loop.create_task(nothing())
        assert f"created at {__file__}:" in repr(task)
        loop.run_until_complete(task)

    def test_a_reader_says_where_it_was_added(self, loop: AbstractEventLoop) -> None:
        contexts: list[dict[str, object]] = []
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        ours, theirs = socket.socketpair()

        def fail() -> None:
            loop.remove_reader(ours)
            loop.stop()
            raise ZeroDivisionError

        with ours, theirs:
            loop.add_reader(ours, fail)
            theirs.send(b"x")
            loop.run_forever()
        (context,) = contexts
        assert any(frame.filename == __file__ for frame in context["source_traceback"])  # type: ignore[attr-defined]

    def test_slow_protocols_are_logged(
        self, loop: AbstractEventLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Stops(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                loop.stop()

        loop.slow_callback_duration = 0.0
        ours, theirs = socket.socketpair()
        with theirs, caplog.at_level(logging.WARNING, "asyncio"):
            connecting = loop.create_connection(Stops, sock=ours)
            transport, _ = loop.run_until_complete(connecting)
            theirs.send(b"x")
            caplog.clear()
            loop.run_forever()
            transport.close()
            run_once(loop)
        said = [record.getMessage() for record in caplog.records]
        assert any("SocketTransport" in each and "took" in each for each in said)

    def test_an_error_says_where_its_callback_was_added(self, loop: AbstractEventLoop) -> None:
        contexts: list[dict[str, object]] = []
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        loop.call_soon(divmod, 1, 0)
        run_once(loop)
        (context,) = contexts
        assert isinstance(context["exception"], ZeroDivisionError)
        assert any(frame.filename == __file__ for frame in context["source_traceback"])  # type: ignore[attr-defined]


def test_nobody_is_woken_for_a_cancelled_timer(loop: AbstractEventLoop) -> None:
    def polls(*delays: float) -> int:
        inside: Any = loop
        before = inside.statistics().polls
        for delay in delays:
            loop.call_later(delay, int).cancel()
        loop.run_until_complete(asyncio.sleep(0.03))
        return int(inside.statistics().polls) - before

    assert polls(*(number / 1000 for number in range(1, 26))) < polls() + 10
